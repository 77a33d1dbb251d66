// What a browser would get of a module, and what it does where there is nothing but the language.
import { isBuiltin } from "node:module";
import { relative, resolve } from "node:path";
import { createContext, runInContext } from "node:vm";
import { build, type Plugin, type Rollup } from "vite";
import { expect } from "vitest";

const root = resolve(import.meta.dirname, "../../..");

export interface Bundle {
  readonly code: string;
  /** The files that the bundler read, whether or not anything of them is left in the code. */
  readonly files: readonly string[];
}

/**
 * Bundles the text of a module for the browser, as a minified script that sets the variable `bundle`. Fails for
 * whatever a browser does not have: Vite itself would put an empty module in the place of one of Node's.
 */
export async function bundle(text: string): Promise<Bundle> {
  // Inside the clone, where the package's own name leads to its exports. The file need not be there.
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

/** Runs a bundle where there is nothing but the language: neither Node's globals nor a page's, and no `eval`. */
export function evaluate<Exports>({ code }: Bundle): Exports {
  const context = createContext({}, { codeGeneration: { strings: false, wasm: false } });
  expect(runInContext("[typeof process, typeof require, typeof window].join()", context)).toBe(
    "undefined,undefined,undefined",
  );
  return runInContext(`${code};bundle`, context);
}
