// A browser for tests of pages: Debian's package `chromium`, without a window.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll } from "vitest";

/** Path of the browser; `undefined` if it is not installed. */
export const chromiumPath = ["chromium", "chromium-browser", "google-chrome"]
  .flatMap((name) => (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, name)))
  .find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** The reason for the names of tests that are skipped; empty if the browser is installed. */
export const withoutChromium = chromiumPath === undefined ? " (skipped: chromium is not installed)" : "";

/** Starts the browser before the tests of a file and closes it after them. */
export function startedChromium(): () => Browser {
  let browser: Browser | undefined;
  beforeAll(async () => {
    if (chromiumPath === undefined) return;
    // Chromium's own sandbox does not work for root and in many containers. The tests load their own pages only.
    browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox", "--disable-gpu"] });
  });
  afterAll(() => browser?.close());
  return () => {
    if (browser === undefined) throw new Error("chromium is not installed");
    return browser;
  };
}
