// Lets Node import the tests as they are: "vitest" from this folder, and files of TypeScript by their name in imports,
// which ends in .js. Node itself removes the types.
import { existsSync } from "node:fs";
import { registerHooks } from "node:module";

const vitest = new URL("./vitest.mjs", import.meta.url).href;

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === "vitest") return { url: vitest, shortCircuit: true };
    if (specifier.startsWith(".") && specifier.endsWith(".js")) {
      const typed = new URL(specifier.replace(/\.js$/, ".ts"), context.parentURL);
      if (existsSync(typed)) return { url: typed.href, shortCircuit: true };
    }
    return next(specifier, context);
  },
});
