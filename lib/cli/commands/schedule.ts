import { once } from "node:events";
import { resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { writeAtomically } from "../../files/atomic-file.js";
import { suggestion } from "../../nearest.js";
import { catalog, names, type Schedule } from "../../schedule/index.js";
import { addFlags, addJson, check, type Fields, fromFlags, numberField } from "../config/fields.js";
import { highestRate, makeSchedule, optionsOf, scheduleFields } from "../config/schedule-fields.js";
import { UsageError } from "../failure.js";
import { print, printJson, tell } from "../output/terminal.js";
import { flagOf, short, table } from "../output/text.js";

const fields = {
  budget: numberField(z.int().min(1), "a whole number of at least 1", "number of steps, warm-up included", {
    fallback: "1000",
  }),
  ...scheduleFields,
} satisfies Fields;

type ScheduleFlags = {
  readonly list?: boolean;
  readonly csv?: boolean;
  readonly json?: boolean;
  readonly svg?: string;
};

/** Adds the options and the action of `schedule`. */
export function defineSchedule(command: Command): void {
  addFlags(command, fields);
  command
    .option("--list", "list all schedules with their options")
    .option("--csv", "print all rates as CSV, one row of step,learningRate per step")
    .option("--svg <file>", "write the curve to an SVG file");
  addJson(command)
    .addHelpText(
      "after",
      `
The default of --max-lr is 0.1.

Schedules:
  ${names.join("\n  ")}

Examples:
  stepsize schedule uba --budget 1000 --max-lr 0.1 --phi 5
  stepsize schedule step --milestones 0.3,0.6,0.9 --gamma 0.2
  stepsize schedule cosine --warmup 50 --csv > rates.csv
  stepsize schedule one-cycle --svg one-cycle.svg
  stepsize schedule --list`,
    )
    .action(scheduleCommand);
}

async function scheduleCommand(name: string | undefined, flags: ScheduleFlags): Promise<void> {
  if (flags.csv && flags.json) throw new UsageError("--csv: expected either this flag or --json, got both");
  if (flags.list) {
    if (flags.json) printJson({ schedules: catalog });
    else print(listing());
    return;
  }
  if (name === undefined) throw new UsageError(`name: expected one of ${names.join(", ")}, got none`);
  if (!names.includes(name)) {
    const expected = `one of ${names.join(", ")}`;
    throw new UsageError(`name: expected ${expected}, got "${name}"${suggestion(name, names)}`);
  }
  const values: Readonly<Record<string, unknown>> = check(fields, fromFlags(fields, flags), flagOf);
  // If phases are given, the highest rate is computed from them.
  const maxLr = values["phases"] === undefined ? { maxLr: 0.1 } : {};
  // A joined schedule gets its rates and budget from its parts.
  const defaults = optionsOf(name).includes("maxLr") ? { budget: 1000, ...maxLr } : {};
  const created = makeSchedule(name, { ...defaults, ...values });
  if (flags.svg !== undefined) {
    const { scheduleFigure } = await import("../../report/schedule-figure.js");
    await writeAtomically(resolve(flags.svg), [Buffer.from(`${scheduleFigure(created, { standalone: true })}\n`)]);
    tell(`wrote ${flags.svg}`);
  }
  if (flags.csv) await printRows(created);
  else if (flags.json) await printRates(created);
  else if (flags.svg === undefined) print(await drawing(created));
}

async function printRows(schedule: Schedule): Promise<void> {
  process.stdout.write("step,learningRate\n");
  await printSteps(schedule, (rate, step) => `${step},${rate}\n`);
}

/** Prints the schedule as JSON, with the rates of all steps. */
async function printRates(schedule: Schedule): Promise<void> {
  const about = JSON.stringify({ name: schedule.name, options: schedule.options });
  process.stdout.write(`${about.slice(0, -1)},"learningRates":[`);
  await printSteps(schedule, (rate, step) => `${step === 0 ? "" : ","}${rate}`);
  process.stdout.write("]}\n");
}

/** Prints a text for each step. */
async function printSteps(schedule: Schedule, textOf: (rate: number, step: number) => string): Promise<void> {
  // The texts are written in pieces and wait for the reader, because a budget may be large.
  const piece = 10_000;
  for (let start = 0; start < schedule.budget; start += piece) {
    const length = Math.min(piece, schedule.budget - start);
    const texts = Array.from({ length }, (_, i) => textOf(schedule(start + i), start + i)).join("");
    if (!process.stdout.write(texts)) await once(process.stdout, "drain");
  }
}

async function drawing(schedule: Schedule): Promise<string> {
  const { default: plot } = await import("simple-ascii-chart");
  const maxLr = highestRate(schedule);
  // 14 columns are left for the labels of the vertical axis and a margin.
  const width = Math.max(20, Math.min(process.stdout.columns ?? 80, 120) - 14);
  const last = schedule.budget - 1;
  const columns = Math.min(width, schedule.budget);
  const points = Array.from({ length: columns }, (_, i): [number, number] => {
    const step = columns === 1 ? 0 : Math.round((i * last) / (columns - 1));
    return [step, schedule(step)];
  });
  // A curve of one step cannot be drawn.
  if (points.length === 1) return `step 0: ${short(schedule(0))}`;
  const quarters = [0, 0.25, 0.5, 0.75, 1];
  const chart = plot(points, {
    width,
    height: 15,
    yRange: [0, maxLr],
    customXAxisTicks: [...new Set(quarters.map((share) => Math.round(share * last)))],
    customYAxisTicks: quarters.map((share) => share * maxLr),
    formatter: (value, { axis }) => (axis === "x" ? String(Math.round(value)) : short(value)),
  });
  const options = Object.entries(schedule.options).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  return `${schedule.name}: ${options.join(", ")}\n${chart.replace(/[ \n]+$/, "")}`;
}

function listing(): string {
  return catalog
    .map(({ name, description, source, options }) => {
      const rows = options.map(({ name: option, description: words, default: fallback, required, choices }) => [
        `  ${flagOf(option)}`,
        choices ? `${words}: ${choices.join(", ")}` : words,
        required ? "(required)" : fallback === undefined ? "" : `(default: ${fallback})`,
      ]);
      return `${name}: ${description}${source ? `\n  ${source}` : ""}\n${table(rows)}`;
    })
    .join("\n\n");
}
