import { access, constants } from "node:fs/promises";
import { cpus } from "node:os";
import { dirname, resolve } from "node:path";
import { type Command, Option } from "commander";
import { z } from "zod";
import {
  type Bench,
  baselineNames,
  findTorch,
  machineFacts,
  measure,
  momentNames,
  namedShapes,
  type OptimizerName,
  optimizerNames,
  type Row,
  type Setting,
  storageNames,
  TorchPeer,
  type Workload,
  workloadOfShapes,
  workloadOfSize,
} from "../bench/index.js";
import { writeAtomically } from "../files/atomic-file.js";
import { type Device, openDevice } from "../native/index.js";
import { nearest } from "../nearest.js";
import { BenchProgress } from "./bench-progress.js";
import { bandwidthPoints, benchTable } from "./bench-table.js";
import { UsageError } from "./failure.js";
import { addFlags, check, choiceField, type Fields, fromFlags, numberField } from "./fields.js";
import { Interrupts } from "./interrupts.js";
import { print, tell } from "./terminal.js";
import { flagOf, shellWord } from "./text.js";

const fields: Fields = {
  optimizer: choiceField(optimizerNames, "the update rule", { fallback: "adamw" }),
  rounds: numberField(z.int().min(1).max(1000), "a whole number from 1 to 1000", "passes of each contender", {
    fallback: "11",
  }),
};

const what = ["optimizer"];
const defaultSizes = "1e6,1e7,1000x1e4";

interface BenchFlags {
  readonly device: string;
  readonly threads?: string;
  readonly dtype: string;
  readonly moments: string;
  readonly sizes?: string;
  readonly shapes?: string;
  readonly baseline?: string;
  readonly json?: string;
  readonly svg?: string;
}

/** Adds the options and the action of `bench`. */
export function defineBench(command: Command): void {
  addFlags(command, fields);
  command
    .addOption(new Option("--device <name>", "auto, cpu, cuda, cuda:1, …").default("auto", "auto"))
    .option("--threads <n,…>", "threads of the CPU (default: all there are)")
    .addOption(new Option("--dtype <name,…>", `storage: ${storageNames.join(", ")}`).default("float32", "float32"))
    .addOption(
      new Option("--moments <name,…>", `type of the moments: ${momentNames.join(", ")}`).default("float32", "float32"),
    )
    .option("--sizes <n,…>", `elements, or tensors x elements (default: ${defaultSizes}, unless --shapes is given)`)
    .option(
      "--shapes <name,…>",
      `tensors of a model: ${Object.keys(namedShapes).join(", ")}, or a .json file of shapes`,
    )
    .option("--baseline <name,…>", `compare with: ${baselineNames.join(", ")} (default: all that are at hand)`)
    .option("--json <file>", "write all that was measured")
    .option("--svg <file>", "draw bytes per second over the number of elements")
    .addHelpText(
      "after",
      `
The baselines: loop, a plain loop with the same reads and writes and no arithmetic; copy, a device's own copy of as many
bytes; per-tensor, one optimizer for each tensor; torch, PyTorch's optimizer. They take turns with the update.

Examples:
  stepsize bench optimizer
  stepsize bench optimizer --threads 1,2 --sizes 1e6,1e7,1e8 --svg bandwidth.svg
  stepsize bench optimizer --shapes resnet50,olmo-36m --dtype bfloat16-master
  stepsize bench optimizer --sizes 1000x1e4 --dtype bfloat16 --moments bfloat16 --json result.json`,
    )
    .action(bench);
}

async function bench(name: string | undefined, flags: BenchFlags): Promise<void> {
  if (name === undefined || !what.includes(name))
    throw new UsageError(`what: expected ${what.join(", ")}, got ${name === undefined ? "none" : `"${name}"`}`);
  const given = check(fields, fromFlags(fields, flags as unknown as Record<string, unknown>), flagOf);
  const { optimizer = "adamw", rounds = 11 } = given as { optimizer?: OptimizerName; rounds?: number };
  const settings = wordsOf("--dtype", flags.dtype, storageNames).flatMap((dtype) =>
    wordsOf("--moments", flags.moments, momentNames).map((moments): Setting => ({ optimizer, dtype, moments })),
  );
  const baselines = flags.baseline === undefined ? undefined : wordsOf("--baseline", flags.baseline, baselineNames);
  const threads = flags.threads?.split(",").map(threadsOf) ?? [undefined];
  const workloads = await workloadsOf(flags);
  await expectFolders({ "--json": flags.json, "--svg": flags.svg });

  const wantsTorch = baselines === undefined || baselines.includes("torch");
  const foundTorch = wantsTorch ? findTorch() : { problem: "not asked for" };
  const interrupts = new Interrupts(() => process.stderr.write("\nstopping after this pass\n"));
  const progress = await BenchProgress.start(threads.length * settings.length * workloads.length * (rounds + 1));
  const plan: Plan = { device: flags.device, threads, settings, workloads, baselines, rounds, foundTorch };
  const rows: Row[] = [];
  let facts: Record<string, string> = {};
  let failure: unknown;
  try {
    for await (const { row, device } of measureAll(plan, interrupts, progress)) {
      rows.push(row);
      facts = device;
      progress.rowDone(row);
    }
  } catch (error) {
    // First what was measured before.
    failure = error;
  } finally {
    progress.close();
    interrupts.close();
  }
  if (rows.length > 0) {
    const torch = "problem" in foundTorch ? null : foundTorch.version;
    const about = { command: commandLine(), ...machineFacts(), device: facts, torch, notes: progress.notes, rows };
    try {
      // Before the table: a reader of standard output that has gone away ends the command.
      await write(flags, rows, optimizer, `${JSON.stringify(about, sixDigits, 2)}\n`);
    } finally {
      print(`${optimizer} on ${facts["name"]}${hardwareOf(facts)}\n${benchTable(rows)}`);
    }
  }
  interrupts.check(rows.length > 0 ? "interrupted; this is what was measured" : "interrupted before the first result");
  if (failure) throw failure;
}

/** All that is to be measured. */
interface Plan extends Pick<Bench, "foundTorch" | "baselines" | "rounds"> {
  readonly device: string;
  /** Undefined: as many as there are. */
  readonly threads: readonly (number | undefined)[];
  readonly settings: readonly Setting[];
  readonly workloads: readonly Workload[];
}

/** Measures row by row, until somebody asks to stop; tells of each on which device it was. */
async function* measureAll(plan: Plan, interrupts: Interrupts, progress: BenchProgress) {
  const { foundTorch, baselines, rounds } = plan;
  let done = 0;
  for (const threads of plan.threads) {
    const device = await openDevice(plan.device, threads === undefined ? {} : { threads });
    const torch = TorchPeer.start(threads ?? Number(device.describe()["threads"] ?? 1), foundTorch);
    try {
      for (const setting of plan.settings)
        for (const workload of plan.workloads) {
          const goesOn = (round: number) => {
            progress.at(done * (rounds + 1) + round, `${workload.name}, ${setting.dtype}`);
            return !interrupts.requested;
          };
          const note = (text: string) => progress.noteOnce(text);
          const bench: Bench = { device, torch, foundTorch, baselines, rounds, goesOn, note };
          const row = await measure(bench, workload, setting);
          done++;
          if (row) yield { row, device: { name: device.name, ...factsOf(device) } };
          if (interrupts.requested) return;
        }
    } finally {
      await torch?.close();
      await device.close();
    }
  }
}

async function write({ json, svg }: BenchFlags, rows: readonly Row[], optimizer: string, about: string): Promise<void> {
  if (json !== undefined) await writeAtomically(resolve(json), [Buffer.from(about)]);
  if (svg !== undefined) {
    const { bandwidthFigure } = await import("../report/bandwidth-figure.js");
    await writeAtomically(resolve(svg), [Buffer.from(`${bandwidthFigure(bandwidthPoints(rows), optimizer)}\n`)]);
  }
  for (const file of [json, svg]) if (file !== undefined) tell(`wrote ${file}`);
}

/** Before the measurement, which takes a while. */
async function expectFolders(files: Readonly<Record<string, string | undefined>>): Promise<void> {
  for (const [flag, file] of Object.entries(files)) {
    const folder = dirname(resolve(file ?? "."));
    await access(folder, constants.W_OK).catch(() => {
      throw new UsageError(`${flag}: expected a file in a folder that can be written, got "${file}"`);
    });
  }
}

/** Words of a list, each one of those that there are. */
function wordsOf<const T extends string>(flag: string, text: string, choices: readonly T[]): T[] {
  return text.split(",").map((word) => {
    if ((choices as readonly string[]).includes(word)) return word as T;
    const hint = nearest(word, choices);
    throw new UsageError(`${flag}: expected one of ${choices.join(", ")}, got "${word}"; did you mean ${hint}?`);
  });
}

function threadsOf(text: string): number {
  const threads = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(threads) || threads < 1 || threads > 1024)
    throw new UsageError(`--threads: expected whole numbers from 1 to 1024, got "${text}"`);
  return threads;
}

async function workloadsOf({ sizes, shapes }: BenchFlags): Promise<Workload[]> {
  const given = sizes ?? (shapes === undefined ? defaultSizes : undefined);
  const equal = given?.split(",").map(workloadOfSize) ?? [];
  const named = await Promise.all(shapes?.split(",").map(workloadOfShapes) ?? []);
  return [...equal, ...named];
}

/** What a device says of itself, without what every row says. */
function factsOf(device: Device): Record<string, string> {
  const { name: hardware, threads: _, ...facts } = device.describe();
  return { ...(hardware && { hardware }), ...facts };
}

function hardwareOf({ hardware, kernels }: Record<string, string>): string {
  const words = hardware ?? `${cpus()[0]?.model.trim() ?? "unknown CPU"}, ${kernels}`;
  return ` (${words})`;
}

/** More digits are noise. */
function sixDigits(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

function commandLine(): string {
  return ["npx stepsize", ...process.argv.slice(2).map(shellWord)].join(" ");
}
