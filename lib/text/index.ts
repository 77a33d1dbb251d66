export { continueText, type GenerateOptions, generate, generateDefaults } from "./generate.js";
