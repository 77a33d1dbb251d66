export { type GenerateOptions, generate, generateDefaults } from "./generate.js";

// For other folders of the library. The published declarations do not contain these names.

/** @internal */
export { continueText } from "./generate.js";
