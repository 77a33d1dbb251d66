import { resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { writeAtomically } from "../../files/atomic-file.js";
import { itemAt } from "../../lookup.js";
import { makeOptimizer } from "../../tasks/index.js";
import { findLearningRate, type LearningRateSweep } from "../../train/index.js";
import { addFlags, addJson, check, type Fields, fromFlags, numberField } from "../config/fields.js";
import { scheduleFields } from "../config/schedule-fields.js";
import {
  checkFlags,
  completeConfig,
  type GivenValues,
  readConfig,
  type TrainSettings,
  trainFields,
  trainGroups,
} from "../config/train-config.js";
import { UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { CountProgress } from "../output/count-progress.js";
import { print, printJson, tell } from "../output/terminal.js";
import { flagOf, shellWord, short, some, thisProgram } from "../output/text.js";
import { expectBatch, readData, setUp, startFromWeights } from "../run-setup.js";

/** Settings of a run that a sweep does not have: it sets the rates itself, and neither saves nor evaluates. */
const withoutSweep = [
  "budget",
  "epochs",
  "schedule",
  ...Object.keys(scheduleFields),
  "nonFinite",
  "capture",
  "checkpointEvery",
  "evaluateEvery",
  "evaluationItems",
  "keep",
  "patience",
  "tensorboard",
];

/** The settings of `train` that a sweep takes. */
const runFields: Fields = Object.fromEntries(
  Object.entries(trainFields).filter(([name]) => !withoutSweep.includes(name)),
);

const rate = z.number().gt(0);
const rateInWords = "a number above 0";

const sweepFields = {
  from: numberField(rate, rateInWords, "learning rate of the first step", { placeholder: "<x>", fallback: "1e-6" }),
  to: numberField(rate, rateInWords, "learning rate of the last step", {
    placeholder: "<x>",
    fallback: "10; the sweep ends before if the loss diverges",
  }),
  steps: numberField(z.int().min(20).max(1_000_000), "a whole number from 20 to 1000000", "number of steps", {
    fallback: "100",
  }),
} satisfies Fields;

type FindLrFlags = { readonly config?: string; readonly figure?: string; readonly json?: boolean };

/** Adds the options and the action of `find-lr`. */
export function defineFindLr(command: Command): void {
  addFlags(command, sweepFields, { "Sweep:": Object.keys(sweepFields) });
  addFlags(command, runFields, trainGroups);
  command
    .optionsGroup("Input and output:")
    .option("--config <file>", "settings from a JSON file, such as a run's config.json; flags come before it")
    .option("--figure <file>", "draw the curve as an SVG file");
  addJson(command)
    .addHelpText(
      "after",
      `
Trains with a learning rate that rises exponentially from step to step until the
loss diverges (Smith 2017, arXiv 1506.01186). Suggests the rate with the lowest
loss, or a tenth of the rate at which the loss diverges if that is less. The
weights are thrown away. docs/runs.md explains how to read the curve.

Examples:
  stepsize find-lr --model mlp --data mnist
  stepsize find-lr --model resnet20 --data cifar10:path/to/folder --augment \\
    --optimizer sgd --figure sweep.svg
  stepsize find-lr --config runs/1/config.json --from 1e-4 --to 1 --steps 200`,
    )
    .action(findLr);
}

async function findLr(flags: FindLrFlags): Promise<void> {
  const { from = 1e-6, to = 10, steps = 100 } = check(sweepFields, fromFlags(sweepFields, flags), flagOf);
  if (to <= from) throw new UsageError(`--to: expected a number above --from, which is ${from}, got ${to}`);
  const given = checkFlags(fromFlags(runFields, flags));
  const file = flags.config === undefined ? undefined : await readConfig(flags.config);
  // The schedule is replaced by the sweep.
  const values = { ...given.values, budget: steps, schedule: "constant" as const, maxLr: to, warmup: 0 };
  const complete = (trainItems?: number) => completeConfig({ ...given, values }, file, { trainItems });
  const interrupts = new Interrupts();
  try {
    const task = await readData(complete().settings, interrupts.signal);
    const config = complete(task.lengths.train);
    expectBatch(config.settings.batch, task);
    interrupts.check("interrupted before the first step");
    const parts = await setUp(config, task);
    try {
      const start = await startFromWeights(config.settings, parts);
      if (start !== undefined) tell(start);
      const sweep = await withProgress(steps, (onStep) =>
        findLearningRate({
          model: parts.model,
          optimizer: (lr) => makeOptimizer(parts.model, config.settings, lr),
          loss: task.loss,
          data: parts.batches,
          accumulate: config.settings.accumulate,
          card: parts.card,
          from,
          to,
          steps,
          onStep,
          signal: interrupts.signal,
        }),
      );
      if (flags.figure !== undefined) await draw(sweep, config.settings, flags.figure);
      const write = flags.json ? tell : print;
      write(await report(sweep, config.settings, (maxLr) => trainCommand(given, flags.config, maxLr)));
      if (flags.json) printJson(jsonResult(sweep, config.settings, { from, to, steps }));
      interrupts.check(`interrupted after ${some(sweep.points.length, "step")}; the result is from these`);
    } finally {
      await parts.close();
    }
  } finally {
    interrupts.close();
  }
}

async function withProgress(
  steps: number,
  sweep: (
    onStep: (step: { readonly learningRate: number; readonly loss: number }, done: number) => void,
  ) => Promise<LearningRateSweep>,
): Promise<LearningRateSweep> {
  const progress = await CountProgress.start("step");
  try {
    return await sweep(({ learningRate, loss }, done) =>
      progress.at(done, steps, done / steps, `lr ${short(learningRate)}  loss ${short(loss)}  `),
    );
  } finally {
    progress.close();
  }
}

/** The rates that are marked in the figure and named in the report. */
function marksOf({ steepest, lowest, divergence, suggestion }: LearningRateSweep) {
  const marks = [
    { learningRate: steepest, label: "steepest" },
    { learningRate: lowest, label: "lowest" },
    { learningRate: divergence, label: "diverged" },
    { learningRate: suggestion, label: "suggestion" },
  ];
  return marks.flatMap(({ learningRate, label }) => (learningRate === undefined ? [] : [{ learningRate, label }]));
}

/**
 * Returns the range of losses to show: that of the smoothed curve, without the part that is further above its start than
 * its start is above its lowest point.
 */
function rangeOf({ points }: LearningRateSweep): [number, number] {
  const losses = points.map(({ smoothed }) => smoothed);
  const lowest = losses.reduce((least, loss) => Math.min(least, loss), Number.POSITIVE_INFINITY);
  const highest = losses.reduce((most, loss) => Math.max(most, loss), Number.NEGATIVE_INFINITY);
  const start = losses[0] ?? highest;
  return [lowest, start > lowest ? Math.min(highest, 2 * start - lowest) : highest];
}

async function draw(sweep: LearningRateSweep, { model, data }: TrainSettings, file: string): Promise<void> {
  const { sweepFigure } = await import("../../report/sweep-figure.js");
  const { points } = sweep;
  const svg = sweepFigure({ points, range: rangeOf(sweep), marks: marksOf(sweep), subject: `${model} on ${data}` });
  await writeAtomically(resolve(file), [Buffer.from(`${svg}\n`)]);
  tell(`wrote ${file}`);
}

async function report(
  sweep: LearningRateSweep,
  { model, data, optimizer, batch, accumulate }: TrainSettings,
  commandFor: (maxLr: string) => string,
): Promise<string> {
  const { points, lowest, divergence, suggestion } = sweep;
  const batches = accumulate > 1 ? `${accumulate} × ${batch}` : batch;
  const [first, last] = [points[0], points.at(-1)];
  const lines = [
    `${model} on ${data}, ${optimizer}, batches of ${batches}: ${some(points.length, "step")} at learning rates from ` +
      `${short(first?.learningRate ?? Number.NaN)} to ${short(last?.learningRate ?? Number.NaN)}`,
    ...(points.length > 2 ? ["", await chart(sweep), ""] : []),
    ...(lowest === undefined ? [] : [`lowest loss  at ${short(lowest)}`]),
    ...(divergence === undefined ? [] : [`diverged     at ${short(divergence)}`]),
    `suggestion   ${suggestion === undefined ? `none; ${adviceFor(sweep)}` : `--max-lr ${rounded(suggestion)}`}`,
  ];
  if (suggestion !== undefined) lines.push("", "Train with it:", `  ${commandFor(rounded(suggestion))}`);
  return lines.join("\n");
}

/** Rounds a suggestion to two digits. It is no more precise. */
function rounded(value: number): string {
  return short(Number(value.toPrecision(2)));
}

function adviceFor({ divergence }: LearningRateSweep): string {
  return divergence === undefined
    ? "the loss did not diverge: try a higher --to"
    : "the loss never fell: try a lower --from, or more --steps";
}

/** Returns the command that trains with the same settings and a learning rate. */
function trainCommand({ values }: GivenValues, file: string | undefined, maxLr: string): string {
  const settings = Object.entries({ ...(file !== undefined && { config: file }), ...values, maxLr });
  const flags = settings.flatMap(([name, value]) => {
    if (typeof value === "boolean") return value ? flagOf(name) : `--no-${flagOf(name).slice(2)}`;
    return [flagOf(name), shellWord(String(value))];
  });
  return [thisProgram(), "train", ...flags].join(" ");
}

/** Draws the smoothed loss over the learning rate with characters. */
async function chart(sweep: LearningRateSweep): Promise<string> {
  const { default: plot } = await import("simple-ascii-chart");
  const { points } = sweep;
  const range = rangeOf(sweep);
  // 14 columns are left for the labels of the vertical axis and a margin.
  const width = Math.max(20, Math.min(process.stdout.columns ?? 80, 120) - 14);
  const [first, last] = [itemAt(points, 0), itemAt(points, points.length - 1)];
  const powers = { from: Math.log10(first.learningRate), to: Math.log10(last.learningRate) };
  const decades = Array.from(
    { length: Math.floor(powers.to) - Math.ceil(powers.from) + 1 },
    (_, i) => Math.ceil(powers.from) + i,
  );
  const [low, high] = range;
  const drawn = points.map(({ learningRate, smoothed }): [number, number] => [
    Math.log10(learningRate),
    Math.min(Math.max(smoothed, low), high),
  ]);
  const text = plot(drawn, {
    width,
    height: 15,
    yRange: range,
    customXAxisTicks: decades,
    customYAxisTicks: [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low)),
    formatter: (value, { axis }) => (axis === "x" ? `1e${Math.round(value)}` : short(value)),
  });
  return text.replace(/^\n+|[ \n]+$/g, "");
}

function jsonResult(
  { points, ...marks }: LearningRateSweep,
  { model, data, optimizer, batch, accumulate, seed }: TrainSettings,
  sweep: { readonly from: number; readonly to: number; readonly steps: number },
): object {
  const { lowest = null, steepest = null, divergence = null, suggestion = null } = marks;
  return {
    model,
    data,
    optimizer,
    batch,
    accumulate,
    seed,
    ...sweep,
    suggestion,
    lowest,
    steepest,
    divergence,
    points,
  };
}
