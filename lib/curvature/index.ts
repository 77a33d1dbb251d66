/**
 * The curvature of a model's loss, weighted by its gradient, from the Lanczos process on Hessian-vector products.
 *
 * @module
 */

export { adamPreconditioner, type Preconditioner } from "./adam.js";
export { type Curvature, type CurvatureOptions, curvature } from "./curvature.js";
export type { Product } from "./lanczos.js";
export { type Bracket, type JacobiMatrix, type MassBounds, massBounds } from "./spectral-measure.js";
export { type Condition, type Spectrum, type SpectrumOptions, spectrum } from "./spectrum.js";
