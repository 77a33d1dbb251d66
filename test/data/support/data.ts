// As the package exposes it: `import { data } from "stepsize"`.
export * as data from "#lib/data/index.js";
