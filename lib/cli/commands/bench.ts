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
  measuredOptimizerNames,
  momentNames,
  namedShapes,
  type Row,
  type Setting,
  storageNames,
  TorchPeer,
  type Workload,
  workloadOfShapes,
  workloadOfSize,
} from "../../bench/index.js";
import { writeAtomically } from "../../files/atomic-file.js";
import { type Device, openDevice } from "../../native/index.js";
import { suggestion } from "../../nearest.js";
import { defaultOptimizer } from "../../optim/by-name.js";
import { addFlags, addJson, check, choiceField, type Fields, fromFlags, numberField } from "../config/fields.js";
import { UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { print, printJson, tell } from "../output/terminal.js";
import { flagOf, shellWord } from "../output/text.js";
import { BenchProgress, bandwidthPoints, benchTable } from "./bench-output.js";

const fields = {
  optimizer: choiceField(measuredOptimizerNames, "the update rule", { fallback: defaultOptimizer }),
  rounds: numberField(z.int().min(1).max(1000), "a whole number from 1 to 1000", "timed passes per contender", {
    fallback: "11",
  }),
} satisfies Fields;

const subjects = ["optimizer"];
const defaultSizes = "1e6,1e7,1000x1e4";

type BenchFlags = {
  readonly device: string;
  readonly threads?: string;
  readonly dtype: string;
  readonly moments: string;
  readonly sizes?: string;
  readonly shapes?: string;
  readonly baseline?: string;
  readonly out?: string;
  readonly json?: boolean;
  readonly svg?: string;
};

/** Adds the options and the action of `bench`. */
export function defineBench(command: Command): void {
  addFlags(command, fields);
  command
    .addOption(new Option("--device <name>", "device: auto, cpu, cuda, cuda:1, …").default("auto", "auto"))
    .option("--threads <n,…>", "numbers of CPU threads to measure with (default: all available CPUs)")
    .addOption(
      new Option("--dtype <name,…>", `storage types to measure: ${storageNames.join(", ")}`).default(
        "float32",
        "float32",
      ),
    )
    .addOption(
      new Option("--moments <name,…>", `types of the moments: ${momentNames.join(", ")}`).default("float32", "float32"),
    )
    .option(
      "--sizes <n,…>",
      `numbers of elements, or tensors x elements (default: ${defaultSizes}, unless --shapes is given)`,
    )
    .option(
      "--shapes <name,…>",
      `tensor shapes of a model: ${Object.keys(namedShapes).join(", ")}, or a .json file of shapes`,
    )
    .option("--baseline <name,…>", `baselines: ${baselineNames.join(", ")} (default: all available)`)
    .option("--out <file>", "write all measurements to a JSON file")
    .option("--svg <file>", "write a figure of bandwidth over the number of elements to an SVG file");
  addJson(command)
    .addHelpText(
      "after",
      `
Baselines:
  loop        a plain loop with the same reads and writes and no arithmetic
  copy        the device's own copy of the same number of bytes
  per-tensor  one optimizer per tensor
  torch       PyTorch's optimizer
The update and the baselines are timed in turns.

Examples:
  stepsize bench optimizer
  stepsize bench optimizer --threads 1,2 --sizes 1e6,1e7,1e8 --svg bandwidth.svg
  stepsize bench optimizer --shapes resnet50,olmo-36m --dtype bfloat16-master
  stepsize bench optimizer --sizes 1000x1e4 --dtype bfloat16 \\
    --moments bfloat16 --out result.json`,
    )
    .action(bench);
}

async function bench(name: string | undefined, flags: BenchFlags): Promise<void> {
  if (name === undefined || !subjects.includes(name))
    throw new UsageError(`what: expected ${subjects.join(", ")}, got ${name === undefined ? "none" : `"${name}"`}`);
  const { optimizer = defaultOptimizer, rounds = 11 } = check(fields, fromFlags(fields, flags), flagOf);
  const settings = wordsOf("--dtype", flags.dtype, storageNames).flatMap((dtype) =>
    wordsOf("--moments", flags.moments, momentNames).map((moments): Setting => ({ optimizer, dtype, moments })),
  );
  const baselines = flags.baseline === undefined ? undefined : wordsOf("--baseline", flags.baseline, baselineNames);
  const threads = flags.threads?.split(",").map(threadsOf) ?? [undefined];
  const workloads = await workloadsOf(flags);
  await expectFolders({ "--out": flags.out, "--svg": flags.svg });

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
    // The rows measured before the error are printed first.
    failure = error;
  } finally {
    progress.close();
    interrupts.close();
  }
  if (rows.length > 0) {
    const torch = "problem" in foundTorch ? null : foundTorch.version;
    const about = { command: commandLine(), ...machineFacts(), device: facts, torch, notes: progress.notes, rows };
    const measured = JSON.stringify(about, sixDigits, 2);
    try {
      // Files are written before the table is printed, because a closed standard output ends the command.
      await write(flags, rows, optimizer, `${measured}\n`);
    } finally {
      const table = `${optimizer} on ${facts["name"]}${hardwareOf(facts)}\n${benchTable(rows)}`;
      (flags.json ? tell : print)(table);
      if (flags.json) printJson(JSON.parse(measured));
    }
  }
  interrupts.check(
    rows.length > 0 ? "interrupted; the table has the results so far" : "interrupted before the first result",
  );
  if (failure) throw failure;
}

/** What to measure: every combination of threads, settings and workloads. */
interface Plan extends Pick<Bench, "foundTorch" | "baselines" | "rounds"> {
  readonly device: string;
  /** Numbers of CPU threads; `undefined` for all available CPUs. */
  readonly threads: readonly (number | undefined)[];
  readonly settings: readonly Setting[];
  readonly workloads: readonly Workload[];
}

/** Measures row by row until interrupted. Yields each row with the facts of its device. */
async function* measureAll(plan: Plan, interrupts: Interrupts, progress: BenchProgress) {
  const { foundTorch, baselines, rounds } = plan;
  let done = 0;
  for (const threads of plan.threads) {
    const device = await openDevice(plan.device, { threads });
    const torch = TorchPeer.start(threads ?? Number(device.describe()["threads"] ?? 1), foundTorch);
    try {
      for (const setting of plan.settings)
        for (const workload of plan.workloads) {
          const shouldContinue = (round: number) => {
            progress.at(done * (rounds + 1) + round, `${workload.name}, ${setting.dtype}`);
            return !interrupts.requested;
          };
          const note = (text: string) => progress.noteOnce(text);
          const bench: Bench = { device, torch, foundTorch, baselines, rounds, shouldContinue, note };
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

async function write({ out, svg }: BenchFlags, rows: readonly Row[], optimizer: string, about: string): Promise<void> {
  if (out !== undefined) await writeAtomically(resolve(out), [Buffer.from(about)]);
  if (svg !== undefined) {
    const { bandwidthFigure } = await import("../../report/bandwidth-figure.js");
    await writeAtomically(resolve(svg), [Buffer.from(`${bandwidthFigure(bandwidthPoints(rows), optimizer)}\n`)]);
  }
  for (const file of [out, svg]) if (file !== undefined) tell(`wrote ${file}`);
}

/**
 * Checks that the output files can be written, before the measurement begins.
 * @throws UsageError naming the flag of a file whose folder does not exist or is not writable
 */
async function expectFolders(files: Readonly<Record<string, string | undefined>>): Promise<void> {
  for (const [flag, file] of Object.entries(files)) {
    const folder = dirname(resolve(file ?? "."));
    await access(folder, constants.W_OK).catch(() => {
      throw new UsageError(`${flag}: expected a file in a writable folder, got "${file}"`);
    });
  }
}

/**
 * Splits a comma-separated list and checks each word against the choices.
 * @throws UsageError naming the flag, the choices and the nearest one
 */
function wordsOf<const T extends string>(flag: string, text: string, choices: readonly T[]): T[] {
  return text.split(",").map((word) => {
    const choice = choices.find((name) => name === word);
    if (choice !== undefined) return choice;
    throw new UsageError(`${flag}: expected one of ${choices.join(", ")}, got "${word}"${suggestion(word, choices)}`);
  });
}

function threadsOf(text: string): number {
  const threads = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(threads) || threads < 1 || threads > 1024)
    throw new UsageError(`--threads: expected whole numbers from 1 to 1024, got "${text}"`);
  return threads;
}

async function workloadsOf({ sizes, shapes }: BenchFlags): Promise<Workload[]> {
  const listed = sizes ?? (shapes === undefined ? defaultSizes : undefined);
  const equal = listed?.split(",").map(workloadOfSize) ?? [];
  const named = await Promise.all(shapes?.split(",").map(workloadOfShapes) ?? []);
  return [...equal, ...named];
}

/** Returns the facts about a device, without the number of threads, which each row has. */
function factsOf(device: Device): Record<string, string> {
  const { name: hardware, threads: _, ...facts } = device.describe();
  return { ...(hardware && { hardware }), ...facts };
}

function hardwareOf({ hardware, kernels }: Record<string, string>): string {
  const words = hardware ?? `${cpus()[0]?.model.trim() ?? "unknown CPU"}, ${kernels}`;
  return ` (${words})`;
}

/** Rounds numbers to six digits, as a replacer of `JSON.stringify`. Measurements are not more precise. */
function sixDigits(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

function commandLine(): string {
  return ["npx stepsize", ...process.argv.slice(2).map(shellWord)].join(" ");
}
