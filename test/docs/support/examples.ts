import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";

export const root = resolve(import.meta.dirname, "../../..");

/** The TypeScript blocks of a page. */
export function examplesIn(page: string): string[] {
  return [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, text]) => text as string);
}

/** A folder to run examples in. It is removed after the tests. */
export function exampleFolder(): { path: () => string; output: (text: string) => string } {
  let folder: string;
  beforeAll(() => {
    // Inside the repository, because examples import the package by its name.
    folder = mkdtempSync(join(root, "dist", "examples-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return {
    path: () => folder,
    /** Runs TypeScript and returns its output. */
    output: (text) => {
      const file = join(folder, "example.ts");
      writeFileSync(file, text);
      const run = spawnSync(process.execPath, [join(root, "node_modules/tsx/dist/cli.mjs"), file], {
        cwd: folder,
        encoding: "utf8",
      });
      expect(run.status, run.stderr).toBe(0);
      return run.stdout;
    },
  };
}
