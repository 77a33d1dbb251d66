// Like the schedules, their theory must stay fit for a web page.
import { resolve } from "node:path";
import { createContext, runInContext } from "node:vm";
import { build, type Rollup } from "vite";
import { expect, test } from "vitest";
import * as theory from "#lib/schedule/theory/index.js";

test("the theory runs where there is nothing but the language", async () => {
  const root = resolve(import.meta.dirname, "../../..");
  const entry = resolve(root, "dist/schedule/theory/index.js");
  const output = await build({
    root,
    configFile: false,
    envFile: false,
    publicDir: false,
    logLevel: "silent",
    build: { write: false, minify: "esbuild", lib: { entry, formats: ["iife"], name: "bundle" } },
  });
  const [{ output: chunks }] = output as [Rollup.RollupOutput];
  expect(chunks).toHaveLength(1);
  const modules = Object.keys(chunks[0].modules).filter((id) => !/dist\/(schedule\/[\w/-]+|errors)\.js$/.test(id));
  expect(modules).toEqual([]);
  // 13 kB when this was written, the schedules' options included.
  expect(chunks[0].code.length).toBeLessThan(20_000);

  const context = createContext({}, { codeGeneration: { strings: false, wasm: false } });
  const inBrowser: typeof theory = runInContext(`${chunks[0].code};bundle`, context);
  expect(Object.keys(inBrowser).sort()).toEqual(Object.keys(theory).sort());
  const problem = { curvature: [1, 50], budget: 8, maxLr: 0.2 } as const;
  const [there, here] = [inBrowser.minimax(problem), theory.minimax(problem)];
  expect([...there.steps]).toEqual([...here.steps]);
  expect(JSON.stringify(inBrowser.suggest(problem))).toBe(JSON.stringify(theory.suggest(problem)));
});
