import { availableParallelism } from "node:os";
import { basename, resolve } from "node:path";
import { type Command, Option } from "commander";
import { z } from "zod";
import {
  benchStage,
  type CheckReport,
  groupsOf,
  runCheck,
  type Stage,
  stages,
  writeBundle,
} from "../../check/index.js";
import { StepsizeError } from "../../errors.js";
import { writeAtomically } from "../../files/atomic-file.js";
import { listDevices } from "../../native/index.js";
import { suggestion } from "../../nearest.js";
import { messageOf } from "../../realms.js";
import {
  addFlags,
  addJson,
  check as checkFields,
  type Fields,
  fromFlags,
  help,
  numberField,
} from "../config/fields.js";
import { UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { print, printJson, tell } from "../output/terminal.js";
import { count, flagOf, shellWord, some, wrap } from "../output/text.js";
import { checkBenchTables } from "./check-bench-output.js";
import { CheckProgress, checkSummary } from "./check-output.js";

const words = (placeholder: string, description: string, fallback: string) =>
  z
    .array(z.string().min(1))
    .register(help, { kind: "words", placeholder, expected: "names, separated by commas", description, fallback });

const deviceField = z.string().regex(/^(auto|cpu|cuda(:(\d+|emulated|ptx))?)$/);
deviceField.register(help, {
  kind: "text",
  placeholder: "<name>",
  expected: "auto, cpu, cuda or cuda:<number>",
  description: "device: auto, cpu, cuda, cuda:1, …",
  fallback: "auto: the first GPU, or the CPU if there is none",
});

const defaultJobs = Math.min(4, availableParallelism());
const seconds = z.number().positive().max(1e6);
const optional = stages.filter((stage) => stage.optional).map(({ name }) => name);

const fields = {
  device: deviceField,
  stage: words("<name,…>", `stages to run: ${stages.map(({ name }) => name).join(", ")}`, stagesInWords()),
  only: words("<name,…>", "groups of cases to run, such as the name of an operation", "all"),
  seconds: numberField(seconds, "a number of seconds above 0", "time for the whole check", { fallback: "no limit" }),
  limit: numberField(seconds, "a number of seconds above 0", "time for a case, after which it counts as hung", {
    fallback: "120, and more for long cases and emulated devices",
  }),
  jobs: numberField(z.int().min(1).max(64), "a whole number from 1 to 64", "processes at the same time", {
    fallback: String(defaultJobs),
  }),
} satisfies Fields;

function stagesInWords(): string {
  return optional.length > 0 ? `all but ${optional.join(", ")}` : "all";
}

/** Adds the options and the action of `check`. */
export function defineCheck(command: Command): void {
  addFlags(command, fields);
  command
    .addOption(new Option("--bench", "also measure times: the stage bench"))
    .addOption(
      new Option(
        "--bundle <file>",
        "do not check, but pack what a machine without Node and network needs for it: a .tar.xz or .tar.gz file",
      ),
    )
    .addOption(
      new Option("--report <file>", "file of the report (default: stepsize-check-<device>-<date>.json in this folder)"),
    );
  addJson(command)
    .addHelpText(
      "after",
      `
Stages:
${stages.map(({ name, title }) => `  ${wrap(`${name.padEnd(10)}  ${title}`, { width: 78, indent: 14 })}`).join("\n")}

Every group of cases runs in a process of its own, so that one that crashes or
hangs does not end the check. On a GPU a failed case is run again with
CUDA_LAUNCH_BLOCKING=1, and under compute-sanitizer if that is on the PATH. Exit
code 0 if every case passed, 1 otherwise. docs/on-a-gpu.md describes the report.

Examples:
  stepsize check --device cuda:0
  stepsize check --device cuda:0 --stage operations --only matmul,attention
  stepsize check --device cuda:0 --seconds 300 --report report.json
  stepsize check --device cuda:0 --bench
  stepsize check --bundle stepsize-check.tar.xz`,
    )
    .action(check);
}

type CheckFlags = {
  readonly report?: string;
  readonly bench?: true;
  readonly bundle?: string;
  readonly json?: boolean;
};

async function check(flags: CheckFlags): Promise<void> {
  if (flags.bundle !== undefined) return await bundle(flags.bundle, flags);
  const given = checkFields(fields, fromFlags(fields, flags), flagOf);
  const device = deviceNamed(given.device ?? "auto");
  const chosen = chosenStages(given.stage, flags.bench === true);
  if (given.only) expectGroups(chosen, given.only);
  const wanted = chosen.filter((stage) => groupsOf(stage, given.only).length > 0);
  const file = resolve(flags.report ?? defaultName(device));

  const interrupts = new Interrupts(() => process.stderr.write("\nstopping; the report has the results so far\n"));
  const progress = new CheckProgress(wanted.map((stage) => ({ stage, groups: groupsOf(stage, given.only) })));
  const writer = new ReportWriter(file);
  let report: CheckReport;
  try {
    // A folder that is not writable or a full disk should be found before the check, not after it.
    await writer.write({});
    report = await runCheck(
      {
        ...given,
        device,
        stages: wanted,
        jobs: given.jobs ?? defaultJobs,
        command: ["npx stepsize", ...process.argv.slice(2).map(shellWord)].join(" "),
        signal: interrupts.signal,
      },
      {
        caseStarted: (stage, group, name) => progress.caseStarted(stage, group, name),
        groupEnded: (stage, group, cases, soFar) => {
          progress.groupEnded(stage, group, cases);
          writer.writeSoon(soFar);
        },
        stageEnded: (stage) => progress.stageEnded(stage),
      },
    );
    await writer.write(report);
  } finally {
    progress.close();
    interrupts.close();
  }
  const write = flags.json ? tell : print;
  if (report.bench) write(`${checkBenchTables(report.bench)}\n`);
  write(`${checkSummary(report)}\n\nreport: ${flags.report ?? defaultName(device)}`);
  if (flags.json) printJson(report);
  interrupts.check("interrupted; the report has the results so far");
  if (!report.passed) throw new StepsizeError("device-failed", notPassed(report));
}

async function bundle(file: string, flags: CheckFlags): Promise<void> {
  const other = Object.keys(flags).find((name) => name !== "bundle");
  if (other !== undefined)
    throw new UsageError(`--bundle: expected no other option, got ${flagOf(other)}; give it where the check runs`);
  const bytes = await writeBundle(resolve(file), { step: tell, note: tell });
  tell(`wrote ${file}, ${(bytes / 1e6).toFixed(1)} MB`);
  print(`On the other machine: tar -xf ${shellWord(basename(file))} && cd stepsize-check && ./stepsize check --bench`);
}

function notPassed({ stages }: CheckReport): string {
  const cases = stages.flatMap((stage) => stage.cases);
  const failed = cases.filter(({ status }) => status === "failed").length;
  const notRun = cases.filter(({ status }) => status === "not run").length;
  return `of ${some(cases.length, "case")}, ${count(failed)} failed and ${count(notRun)} were not run`;
}

/** Writes the report again and again, so that a command that is killed leaves what it found. */
class ReportWriter {
  readonly #file: string;
  #waiting: CheckReport | undefined;
  #writing: Promise<void> | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** @throws StepsizeError `invalid-file` if the file cannot be written */
  async write(report: object): Promise<void> {
    this.#waiting = undefined;
    await this.#writing;
    await writeAtomically(this.#file, [Buffer.from(`${JSON.stringify(report, undefined, 2)}\n`)]);
  }

  /** Writes the latest report once earlier ones are written. An error is told; the check continues. */
  writeSoon(report: CheckReport): void {
    this.#waiting = report;
    this.#writing ??= this.#writeWaiting()
      .catch((error: unknown) => tell(messageOf(error)))
      .finally(() => {
        this.#writing = undefined;
      });
  }

  async #writeWaiting(): Promise<void> {
    for (let next = this.#waiting; next; next = this.#waiting) {
      this.#waiting = undefined;
      await writeAtomically(this.#file, [Buffer.from(`${JSON.stringify(next, undefined, 2)}\n`)]);
    }
  }
}

function deviceNamed(name: string): string {
  if (name === "cuda") return "cuda:0";
  if (name !== "auto") return name;
  return listDevices().find((one) => /^cuda:\d/.test(one.name) && one.problem === undefined)?.name ?? "cpu";
}

function chosenStages(named: readonly string[] | undefined, withBench: boolean): Stage[] {
  const chosen = named === undefined ? stages.filter((stage) => !stage.optional) : named.map(stageNamed);
  return withBench && !chosen.includes(benchStage) ? [...chosen, benchStage] : chosen;
}

function stageNamed(name: string): Stage {
  const found = stages.find((stage) => stage.name === name);
  if (found) return found;
  const names = stages.map((stage) => stage.name);
  throw new UsageError(`--stage: expected names among ${names.join(", ")}, got "${name}"${suggestion(name, names)}`);
}

/** @throws UsageError if a name is that of no group of the chosen stages */
function expectGroups(chosen: readonly Stage[], only: readonly string[]): void {
  const names = chosen.flatMap((stage) => stage.groups().map(({ name }) => name));
  for (const name of only)
    if (!names.includes(name))
      throw new UsageError(`--only: expected names among ${names.join(", ")}, got "${name}"${suggestion(name, names)}`);
}

function defaultName(device: string): string {
  const date = new Date().toISOString().slice(0, 10);
  return `stepsize-check-${device.replaceAll(":", "-")}-${date}.json`;
}
