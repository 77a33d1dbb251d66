// Deterministic numbers for tests and golden values. `stepsize check` uses the same.
export { labelsOf, numbers } from "#lib/check/hashed.js";
