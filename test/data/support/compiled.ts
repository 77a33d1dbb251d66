import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";

const require = createRequire(import.meta.url);

/** The path of a compiled file, for programs of their own that a test runs. */
export function compiled(name: string): string {
  return require.resolve(`#lib/${name}`);
}

/** The compiled files beside the folders, which data may need; not the entry point, which needs everything. */
export const besideFolders: readonly string[] = readdirSync(dirname(compiled("errors.js"))).filter(
  (name) => name.endsWith(".js") && name !== "index.js",
);
