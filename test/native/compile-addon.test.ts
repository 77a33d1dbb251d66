import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import type { Addon } from "#lib/native/addon.js";
import { loadAddon } from "#lib/native/load.js";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();
const root = resolve(import.meta.dirname, "../..");
const headers = join(process.execPath, "../../include/node");
const why = existsSync(join(headers, "node_api.h")) ? "" : " (skipped: the headers of Node are not installed)";

/** The addon built by the script. Set-up has built one if clang is installed. Otherwise this takes half a minute. */
function compiled(): string {
  const ofSetUp = join(root, "build-clang/Release/cpu.node");
  if (existsSync(ofSetUp)) return ofSetUp;
  const output = folder();
  // Built without optimization: the test only checks that all sources, flags and libraries are complete.
  execFileSync(process.execPath, [join(root, "scripts/compile-addon.mjs"), headers, output, "-O0"], { stdio: "pipe" });
  return join(output, "cpu.node");
}

test.skipIf(why)(`the addon builds from binding.gyp with only the compiler${why}`, async () => {
  const built = createRequire(import.meta.url)(compiled()) as Addon;
  expect(built.operations).toEqual(loadAddon("cpu").operations);
  expect(built.describe()).toEqual(loadAddon("cpu").describe());
  const device = new built.NativeDevice();
  const [product] = device.enqueue(built.operations.indexOf("multiply"), [
    device.create("float32", [3], Float32Array.of(1, 2, 3)),
    device.create("float32", [], Float32Array.of(2)),
  ]);
  expect(await device.read(product as never)).toEqual(Float32Array.of(2, 4, 6));
  await device.close();
});
