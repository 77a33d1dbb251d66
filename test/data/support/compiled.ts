import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** The path of a compiled file, for programs of their own that a test runs. */
export function compiled(name: string): string {
  return require.resolve(`#lib/${name}`);
}
