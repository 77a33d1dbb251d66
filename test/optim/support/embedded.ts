// Helpers for tests of optimizers over caller-owned arrays.
import { expect } from "vitest";
import { StepsizeError } from "#lib/errors.js";
import { Adam, AdamW, Lion, SGD } from "#lib/optim/index.js";
import type * as schedule from "#lib/schedule/index.js";
import { bits } from "../../support/compare.js";
import { gradientValues } from "./runs.js";

const rules = { SGD, Adam, AdamW, Lion };
export type Rule = keyof typeof rules;
export type Options = { lr: number | schedule.Schedule } & Record<string, unknown>;

/** The members of an optimizer that the tests use, whatever the rule. */
export interface Embedded {
  iteration: number;
  step(gradients?: unknown, options?: { gradientScale: number }): void;
  stats(): Promise<unknown>;
  learningRates(): number[];
  stateDict(): Map<string, { dispose(): void; read(): Promise<ArrayBufferView> }>;
  loadStateDict(state: ReadonlyMap<string, unknown>): void;
  dispose(): void;
}

export function make(rule: Rule, parameters: readonly unknown[], options: Options): Embedded {
  const Made = rules[rule] as unknown as new (parameters: readonly unknown[], options: object) => Embedded;
  return new Made(parameters, options);
}

export const gradientsOf = (sizes: readonly number[], step: number) =>
  sizes.map((size, i) => gradientValues(size, step, 100 * (i + 1)));

/** Returns the code and the message of the error that a call throws. Fails if the call throws no StepsizeError. */
export function refusal(call: () => unknown): { code: string; message: string } {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(StepsizeError);
    return error as StepsizeError;
  }
  return expect.fail("nothing was thrown");
}

export function expectSameBits(views: readonly Float32Array[], expected: readonly Float32Array[], when: string): void {
  for (const [i, view] of views.entries())
    expect(bits(view).equals(bits(expected[i]!)), `parameter ${i} of ${view.length} elements, ${when}`).toBe(true);
}
