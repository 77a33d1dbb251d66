// Bundles a module for the browser and runs it without any environment.
import { isBuiltin } from "node:module";
import { relative, resolve } from "node:path";
import { createContext, runInContext } from "node:vm";
import { build, type Plugin, type Rollup } from "vite";
import { expect } from "vitest";

const root = resolve(import.meta.dirname, "../../..");

export interface Bundle {
  readonly code: string;
  /** The files that the bundler read, even if none of their code is left. */
  readonly files: readonly string[];
}

/**
 * Bundles the text of a module for the browser, as a minified script that sets the variable `bundle`. Fails if it uses
 * a module that browsers do not have. Vite itself would replace Node's modules by empty ones.
 */
export async function bundle(text: string): Promise<Bundle> {
  // A path inside the repository, where the package's name resolves to its exports. The file need not exist.
  const id = resolve(root, "test/schedule/entry.js");
  const files = new Set<string>();
  const observe: Plugin = {
    name: "observe",
    enforce: "pre",
    resolveId(source, importer) {
      if (isBuiltin(source) || source.endsWith(".node"))
        throw new Error(`${relative(root, importer ?? "")} imports ${source}, which no browser has`);
      return source === id ? id : undefined;
    },
    load: (module) => (module === id ? text : undefined),
    moduleParsed(module) {
      if (module.id !== id) files.add(relative(root, module.id));
    },
  };
  const output = await build({
    root,
    configFile: false,
    envFile: false,
    publicDir: false,
    logLevel: "silent",
    plugins: [observe],
    build: { write: false, minify: "esbuild", lib: { entry: id, formats: ["iife"], name: "bundle" } },
  });
  const [{ output: chunks }] = output as [Rollup.RollupOutput];
  expect(chunks.map(({ type }) => type)).toEqual(["chunk"]);
  return { code: chunks[0].code, files: [...files].sort() };
}

/** Runs a bundle with the language only: without globals of Node or a web page, and without `eval`. */
export function evaluate<Exports>({ code }: Bundle): Exports {
  const context = createContext({}, { codeGeneration: { strings: false, wasm: false } });
  expect(runInContext("[typeof process, typeof require, typeof window].join()", context)).toBe(
    "undefined,undefined,undefined",
  );
  return runInContext(`${code};bundle`, context);
}
