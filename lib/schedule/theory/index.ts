/**
 * The theory of learning rate schedules on quadratics: how a schedule contracts the error for a range of curvatures,
 * and which steps are best. docs/uba.md has the derivations. Like the schedules, this module uses no API of Node.js.
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
