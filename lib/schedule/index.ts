export { type CosineRestartsOptions, type CyclicalOptions, cosineRestarts, cyclical } from "./cycle.js";
export {
  constant,
  cosine,
  type ExponentialOptions,
  exponential,
  linear,
  oneMinusSqrt,
  type PolynomialOptions,
  polynomial,
  rex,
  type StepDecayOptions,
  step,
} from "./decay.js";
export type { CommonOptions, Convention, RateOptions } from "./definition.js";
export { type InverseSqrtOptions, inverseSqrt } from "./inverse-sqrt.js";
export { type JoinOptions, joinSchedules, type SchedulePart } from "./joined.js";
export { type OneCycleOptions, oneCycle, oneCycleMomentum } from "./one-cycle.js";
export type { OptionKind } from "./option.js";
export { catalog, create, fromJSON, names, type OptionDescription, type ScheduleDescription } from "./registry.js";
export { type Schedule, type ScheduleJSON, tabulate } from "./schedule.js";
export { type UbaOptions, type UbaPhase, uba, ubaFactor } from "./uba.js";
export { type WarmupStableDecayOptions, warmupStableDecay } from "./warmup-stable-decay.js";
