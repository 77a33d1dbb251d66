import { resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { type Curvature, curvature, massBounds } from "../../curvature/index.js";
import { writeAtomically } from "../../files/atomic-file.js";
import * as models from "../../models/index.js";
import {
  addFlags,
  addJson,
  check,
  choiceField,
  type Fields,
  fromFlags,
  numberField,
  switchField,
  withFallback,
} from "../config/fields.js";
import { dataField } from "../config/shared-fields.js";
import { Interrupts } from "../interrupts.js";
import { print, printJson, tell } from "../output/terminal.js";
import { count, flagOf, some } from "../output/text.js";
import { savedFields, withRun } from "../saved.js";
import { CurvatureProgress, curvatureTable, massBars, workLine } from "./curvature-output.js";
import { openSubject, optimizersFor, type Subject, type SubjectOptions } from "./curvature-subject.js";
import { type Suggested, type SuggestionOptions, suggestionFor, suggestionText } from "./curvature-suggestion.js";

const positive = z.int().min(1);
const whole = "a whole number of at least 1";
const above = z.number().gt(0);

const fields = {
  ...savedFields,
  model: choiceField(models.names, "fresh weights of this model instead of a checkpoint"),
  data: withFallback(dataField, "the run's, or mnist for fresh weights"),
  classes: numberField(positive, whole, "number of classes of idx:<dir>", { fallback: "the model's, or 10" }),
  batch: numberField(positive, whole, "training items whose loss is examined", {
    fallback: "512, or 32 windows of text; all if there are fewer",
  }),
  seed: numberField(z.int().min(0), "a whole number of at least 0", "seed of the batch and of fresh weights", {
    fallback: "0",
  }),
  steps: numberField(z.int().min(2), "a whole number of at least 2", "Hessian products to compute", { fallback: "40" }),
  share: numberField(
    above.lt(1),
    "a number above 0 and below 1",
    "share of the mass above λ_q, for κ_eff = λ_max/λ_q",
    {
      placeholder: "<x>",
      fallback: "0.95",
    },
  ),
  adam: switchField("precondition the Hessian as Adam does: divide by √v̂ + ε of the checkpoint"),
  budget: numberField(positive, whole, "number of steps for the suggestion", { fallback: "the run's, or 600" }),
  maxLr: numberField(above, "a number above 0", "highest learning rate for the suggestion", {
    placeholder: "<x>",
    fallback: `the run's if its optimizer is ${optimizersFor(false).join(" or ")}, or ${optimizersFor(true).join(" or ")} with --adam; otherwise none`,
  }),
} satisfies Fields;

interface Options extends SubjectOptions, SuggestionOptions {
  readonly steps?: number | undefined;
  readonly share?: number | undefined;
}

type CurvatureFlags = { readonly figure?: string; readonly json?: boolean };

/** Adds the options and the action of `curvature`. */
export function defineCurvature(command: Command): void {
  addFlags(command, fields);
  command.option("--figure <file>", "draw the spectrum as an SVG file");
  addJson(command)
    .addHelpText(
      "after",
      `
Computes the spectrum of the Hessian of the loss of one batch with the Lanczos
method, starting from the gradient. "Mass" is the share of the squared gradient
norm that lies along directions of a curvature. The suggested UBA parameters are
a heuristic. docs/uba.md explains how to read the result.

Examples:
  stepsize curvature runs/1
  stepsize curvature runs/1/checkpoints/step-450.safetensors --adam \\
    --figure spectrum.svg
  stepsize curvature --model resnet8 --data mnist --seed 1 --budget 600 \\
    --max-lr 0.1
  stepsize curvature runs/1 --batch 2048 --steps 80 --json`,
    )
    .action(curvatureCommand);
}

async function curvatureCommand(run: string | undefined, flags: CurvatureFlags): Promise<void> {
  const given = check(fields, fromFlags(fields, withRun(run, flags)), flagOf);
  const options: Options = { seed: 0, adam: false, ...given };
  const { figure, json = false } = flags;
  const interrupts = new Interrupts(() => process.stderr.write("\nstopping after the current product\n"));
  try {
    const subject = await openSubject(options);
    try {
      interrupts.check("interrupted before the first product");
      const found = await measure(subject, options, interrupts);
      const suggestion = suggestionFor(found, subject, options);
      try {
        // The figure is written before the report is printed, because a closed standard output ends the command.
        if (figure !== undefined) await draw(found, subject, figure);
      } finally {
        report(found, subject, suggestion, json ? tell : print);
        if (json) printJson(jsonResult(found, subject, suggestion, options));
      }
      interrupts.check(`interrupted after ${some(found.steps, "product")}; the result is from these`);
    } finally {
      await subject.close();
    }
  } finally {
    interrupts.close();
  }
}

async function measure(subject: Subject, { steps = 40, share }: Options, interrupts: Interrupts): Promise<Curvature> {
  const { model, batch, prepare, task, preconditioner } = subject;
  const progress = await CurvatureProgress.start(steps);
  try {
    return await curvature(model, batch, {
      loss: task.loss,
      prepare,
      preconditioner,
      steps,
      share,
      onStep: (done, total) => {
        progress.step(done, total);
        return !interrupts.requested;
      },
    });
  } finally {
    progress.close();
  }
}

function report(
  found: Curvature,
  { title, step, task, batch, preconditioner }: Subject,
  suggested: Suggested | undefined,
  write: (text: string) => void,
): void {
  const trained = step > 0 ? ` (after step ${count(step)})` : "";
  const divided = preconditioner ? "; the Hessian divided by √v̂ + ε of Adam" : "";
  const lines = [
    `${title}${trained}, ${some(batch.size, "item")} of ${task.name}${divided}`,
    workLine(found),
    "",
    curvatureTable(found),
    "",
    massBars(found),
    "",
    suggestionText(suggested, found),
  ];
  write(lines.join("\n"));
}

async function draw(found: Curvature, { title }: Subject, file: string): Promise<void> {
  const { spectrumFigure } = await import("../../report/spectrum-figure.js");
  const { ritz, lambdaMax, lambdaMin, lambdaQ, noiseFloor, matrix } = found;
  const grid = Array.from({ length: 400 }, (_, i) => lambdaMin + (i / 399) * (lambdaMax - lambdaMin));
  const points = [...grid, ...ritz.map(({ value }) => value)].sort((a, b) => a - b);
  const svg = spectrumFigure({
    ritz,
    bounds: points.map((x) => ({ x, ...massBounds(matrix, x) })),
    noiseFloor,
    marks: [
      { x: lambdaQ.estimate, label: "λ_q" },
      { x: lambdaMax, label: "λ_max" },
    ],
    subject: title,
  });
  await writeAtomically(resolve(file), [Buffer.from(`${svg}\n`)]);
  tell(`wrote ${file}`);
}

function jsonResult(found: Curvature, subject: Subject, suggested: Suggested | undefined, options: Options): object {
  const { title, task, batch, step } = subject;
  const about = { of: title, step, data: task.name, batch: batch.size, seed: options.seed, adam: options.adam };
  const { matrix, ...rest } = found;
  const rows = {
    diagonal: Array.from(matrix.diagonal),
    offDiagonal: Array.from(matrix.offDiagonal),
    next: matrix.next,
  };
  return { ...about, ...rest, matrix: rows, suggestion: suggested ?? null };
}
