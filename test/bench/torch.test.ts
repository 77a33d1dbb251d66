import { describe, expect, test } from "vitest";
import { findTorch, TorchPeer } from "#lib/bench/index.js";
import { expectError } from "../support/errors.js";

const found = findTorch();
const problem = "problem" in found ? ` (skipped: ${found.problem})` : "";
const step = (optimizer: string, dtype = "float32") =>
  JSON.stringify({ optimizer, options: { lr: 1e-6 }, dtype, device: "cpu", shapes: [[10], [3, 4]] });

describe.skipIf(problem !== "")(`PyTorch as a contender${problem}`, () => {
  test.each([
    ["AdamW", "float32"],
    ["Adam", "bfloat16"],
    ["SGD", "float32"],
  ])("measures %s in %s, and another case after it", async (optimizer, dtype) => {
    const peer = TorchPeer.start(1, found)!;
    for (const what of [step(optimizer, dtype), step("SGD", dtype)]) {
      const answer = await peer.ask(what, 2);
      expect(answer).toMatchObject({ kind: expect.stringMatching(/^(fused|default)$/) });
      for (const field of ["milliseconds", "wall"] as const)
        expect((answer as Record<string, number>)[field]).toBeGreaterThan(0);
    }
    await peer.close();
  });

  test("throws an error and does not hang if a measurement fails", async () => {
    const peer = TorchPeer.start(1, found)!;
    // The error contains Python's message, for later calls too.
    for (const optimizer of ["NoSuchOptimizer", "SGD"])
      await expectError(
        () => peer.ask(step(optimizer), 1),
        "device-failed",
        `the PyTorch process ended at ${step(optimizer)}:`,
        "has no attribute 'NoSuchOptimizer'",
      );
    await peer.close();
  });
});

test("without PyTorch there is no contender", () => {
  expect(TorchPeer.start(1, { problem: "none here" })).toBeUndefined();
});
