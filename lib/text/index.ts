export { type GenerateOptions, generate } from "./generate.js";
export { generateTokens, type TextModel, type TokenOptions } from "./generate-tokens.js";
export { type SamplerOptions, sampler } from "./sampler.js";
