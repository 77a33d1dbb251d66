// The update rules give the same bits with every compiler, optimized or not, and these bits are close to a float64
// reference. In the other tests both the CPU kernels and the emulator are compiled with g++. Only this test shows
// dependence on what a compiler may choose: the order in which arguments are evaluated, contraction into fma, and
// intermediate precision.
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { loadAddon } from "#lib/native/load.js";
import { type Hyper, hyperRow } from "#lib/optim/hyper-rows.js";
import { bits } from "../support/compare.js";
import { temporaryFolders } from "../support/folders.js";
import { type Kind, Reference, type RuleOptions } from "./support/reference.js";
import { gradientValues, initialValues, relativeError } from "./support/runs.js";

const folder = temporaryFolders();
const source = resolve(import.meta.dirname, "support/update_program.cc");
// The flags with which the library's kernels are compiled (binding.gyp).
const flags = ["-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"];
const compilers = ["g++", "clang++"].filter((name) => spawnSync(name, ["--version"]).status === 0);

const steps = 5;
const elements = 1000;
const kept = 1 + 3; // the parameter and at most three moments

/** The rules, with hyper-parameters as the library's classes pass them and options as the reference takes them. */
const rules: { rule: number; moments: number; kind: Kind; options: RuleOptions; hyper: Hyper }[] = [
  {
    rule: 0,
    moments: 0,
    kind: "SGD",
    options: { lr: 0.05, weightDecay: 0.1 },
    hyper: { learningRate: 0.05, weightDecay: 0.1 },
  },
  {
    rule: 1,
    moments: 1,
    kind: "SGD",
    options: { lr: 0.05, momentum: 0.9, nesterov: true },
    hyper: { learningRate: 0.05, momentum: 0.9, nesterov: true },
  },
  {
    rule: 2,
    moments: 2,
    kind: "AdamW",
    options: { lr: 0.01, weightDecay: 0.1 },
    hyper: {
      ...{ learningRate: 0.01, weightDecay: 0.1, decoupledDecay: true },
      ...{ beta1: 0.9, beta2: 0.999, epsilon: 1e-8, biasCorrection: true },
    },
  },
  {
    rule: 3,
    moments: 3,
    kind: "Adam",
    options: { lr: 0.01, amsgrad: true, betas: [0.9, 0.8] },
    hyper: { learningRate: 0.01, beta1: 0.9, beta2: 0.8, epsilon: 1e-8, biasCorrection: true },
  },
  {
    rule: 4,
    moments: 1,
    kind: "Lion",
    options: { lr: 0.01, weightDecay: 0.1, betas: [0.9, 0.99] },
    hyper: { learningRate: 0.01, weightDecay: 0.1, decoupledDecay: true, beta1: 0.9, beta2: 0.99 },
  },
];

const gradients = Array.from({ length: steps }, (_, step) => gradientValues(elements, step));
const input = Buffer.concat([initialValues(elements), ...gradients].map((values) => Buffer.from(values.buffer)));

/** The output of a program: the parameter and the moments after each step. */
function outcome(program: string, rule: number, hyper: Hyper): Float32Array[] {
  const args = [rule, elements, steps, ...hyperRow(loadAddon("cpu").stepLayout.hyper, hyper)].map(String);
  const { status, stdout } = spawnSync(program, args, { input, maxBuffer: 1 << 26 });
  expect(status).toBe(0);
  const values = new Float32Array(new Uint8Array(stdout).buffer);
  expect(values.length).toBe(steps * kept * elements);
  return Array.from({ length: steps * kept }, (_, i) => values.slice(i * elements, (i + 1) * elements));
}

const builds = compilers.flatMap((compiler) => ["-O0", "-O2"].map((level) => ({ compiler, level })));

describe.skipIf(compilers.length === 0)(
  `native/update compiled by ${compilers.join(" and ") || "no compiler (skipped: there is none)"}`,
  () => {
    const programs = new Map<string, string>();
    function programOf(compiler: string, level: string): string {
      const key = `${compiler} ${level}`;
      const known = programs.get(key);
      if (known) return known;
      const program = join(folder(), "program");
      const { status, stderr } = spawnSync(compiler, [...flags, level, source, "-o", program], { encoding: "utf8" });
      expect(status, stderr).toBe(0);
      programs.set(key, program);
      return program;
    }

    describe.each(rules)("$kind $options", ({ rule, moments, kind, options, hyper }) => {
      test.each(builds)("is close to float64 with $compiler $level", ({ compiler, level }) => {
        const reference = new Reference(kind, options, initialValues(elements));
        const found = outcome(programOf(compiler, level), rule, hyper);
        for (let step = 0; step < steps; step++) {
          const before = reference.parameter.slice();
          reference.step(gradients[step]!);
          const parameter = found[step * kept]!;
          // Compare the change of each step too, not only the resulting parameter.
          const moved = parameter.map((value, i) => value - before[i]!);
          const expected = reference.parameter.map((value, i) => value - before[i]!);
          // A parameter near 2 is rounded by up to 1.2e-7, as it was at each earlier step. A change is 0.01 of it.
          expect(relativeError(moved, expected), `the update of step ${step}`).toBeLessThan(1e-4);
          expect(relativeError(parameter, reference.parameter)).toBeLessThan(1e-6);
          for (let k = moments; k < kept - 1; k++) expect(found[step * kept + 1 + k]!.every((m) => m === 0)).toBe(true);
        }
      });

      test("gives the same bits with every compiler and level", () => {
        const [first, ...others] = builds.map(({ compiler, level }) =>
          outcome(programOf(compiler, level), rule, hyper),
        );
        for (const other of others)
          for (const [i, values] of other.entries())
            expect(bits(values).equals(bits(first![i]!)), `step ${Math.floor(i / kept)}, list ${i % kept}`).toBe(true);
      });
    });
  },
);
