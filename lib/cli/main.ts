#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { printableLines } from "../quoting.js";
import { version } from "../version.js";
import { exitCode, reportFailure } from "./failure.js";
import { tell } from "./terminal.js";

interface CommandEntry {
  readonly name: string;
  readonly arguments?: string;
  readonly description: string;
  /** Adds options and action; loads the command's code. */
  readonly define: (command: Command) => Promise<void>;
}

const commands: readonly CommandEntry[] = [
  {
    name: "train",
    description: "train a model on a budget of steps",
    define: async (command) => (await import("./train.js")).defineTrain(command),
  },
  {
    name: "evaluate",
    description: "loss and accuracy of a trained model, by class; of text, its perplexity",
    define: async (command) => (await import("./evaluate.js")).defineEvaluate(command),
  },
  {
    name: "predict",
    arguments: "[image...]",
    description: "the likeliest classes of images",
    define: async (command) => (await import("./predict.js")).definePredict(command),
  },
  {
    name: "tokenize",
    arguments: "[path...]",
    description: "turn text files into a folder of tokens to train on",
    define: async (command) => (await import("./tokenize.js")).defineTokenize(command),
  },
  {
    name: "generate",
    description: "let a model of text write",
    define: async (command) => (await import("./generate.js")).defineGenerate(command),
  },
  {
    name: "schedule",
    arguments: "[name]",
    description: "draw a learning-rate schedule, or write its values",
    define: async (command) => (await import("./schedule.js")).defineSchedule(command),
  },
  {
    name: "curvature",
    description: "the curvature of a model's loss, and what theory makes of it",
    define: async (command) => (await import("./curvature.js")).defineCurvature(command),
  },
  {
    name: "compare",
    description: "compare schedules: tuned alike, with fresh seeds, resumable",
    define: async (command) => (await import("./compare.js")).defineCompare(command),
  },
  {
    name: "bench",
    arguments: "[what]",
    description: "measure the optimizer step against the memory's limit and PyTorch",
    define: async (command) => (await import("./bench.js")).defineBench(command),
  },
  {
    name: "info",
    description: "what this machine offers: CPU, kernels, addons, devices",
    define: async (command) => (await import("./info.js")).defineInfo(command),
  },
];

async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("stepsize")
    .description("Trains neural networks on a fixed budget of steps.")
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(printableLines(text)) })
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      `
Examples:
  stepsize train --model resnet8 --data mnist --budget 600
  stepsize evaluate --checkpoint runs/1
  stepsize schedule uba --budget 1000 --max-lr 0.1 --phi 5

Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted by a signal, once what can be saved is saved.`,
    );
  for (const entry of commands) {
    const command = program.command(`${entry.name} ${entry.arguments ?? ""}`.trim()).description(entry.description);
    // Only the command that is called: each brings libraries that take a while to load.
    if (argv.slice(0, 2).includes(entry.name)) await entry.define(command);
  }
  try {
    await program.parseAsync(argv, { from: "user" });
    return exitCode.ok;
  } catch (error) {
    // Commander has already written its message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    return reportFailure(error);
  }
}

// Progress that nobody can read any more is dropped: a closed terminal or pipe, or a full disk under a log, ends no run.
process.stderr.on("error", () => {});
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough (`| head`) is no failure.
  if (error.code === "EPIPE") process.exit(exitCode.ok);
  tell(`error: standard output could not be written (${error.message})`);
  process.exit(exitCode.failed);
});

process.exitCode = await main(process.argv.slice(2));
