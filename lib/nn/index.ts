export type { PreprocessingOptions } from "../preprocessing-options.js";
export { fanInUniform, kaimingNormal, Seeds } from "./initialize.js";
export * from "./layers.js";
export * from "./losses.js";
export { Module, type Precision } from "./module.js";
export { Buffer, Parameter } from "./parameter.js";
export { Preparation } from "./preparation.js";
export { Preprocessing } from "./preprocessing.js";
export * from "./sequence-layers.js";
