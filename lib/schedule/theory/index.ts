/**
 * The theory of the schedules, executable: what a schedule does to a quadratic whose curvatures lie in a range, and
 * which steps do best. Derivations in docs/uba.md. Like the schedules it needs nothing of Node's.
 *
 * @module
 */

export { contraction, worstCase } from "./contraction.js";
export type { CurvatureRange, ProblemOptions, Steps } from "./input.js";
export type { Peak } from "./log-product.js";
export { type Certificate, type ExcludedFace, type Minimax, minimax } from "./minimax.js";
export { decreasing, lebedevFinogenov, leja, roundingGrowth } from "./order.js";
export { type Suggestion, suggest } from "./suggest.js";
export type { UbaFit } from "./uba-fit.js";
