import { Command } from "commander";
import { nearest } from "../nearest.js";
import { version } from "../package-root.js";
import { printableLines } from "../quoting.js";
import { meantFlag } from "./unknown-option.js";

/** A command of the program. */
export interface CommandEntry {
  readonly name: string;
  readonly arguments?: string;
  readonly description: string;
  /** Loads the command's code and adds its options and action. */
  readonly define: (command: Command) => Promise<void>;
}

/** All commands, in the order of the help. */
export const commands: readonly CommandEntry[] = [
  {
    name: "train",
    description: "train a model for a number of steps",
    define: async (command) => (await import("./commands/train.js")).defineTrain(command),
  },
  {
    name: "find-lr",
    description: "find a start value for the learning rate by a sweep",
    define: async (command) => (await import("./commands/find-lr.js")).defineFindLr(command),
  },
  {
    name: "evaluate",
    arguments: "[run]",
    description: "compute the loss and accuracy of a trained model",
    define: async (command) => (await import("./commands/evaluate.js")).defineEvaluate(command),
  },
  {
    name: "predict",
    arguments: "[file...]",
    description: "print the most likely classes of images, or a table with predictions",
    define: async (command) => (await import("./commands/predict.js")).definePredict(command),
  },
  {
    name: "export",
    description: "write a trained model for other programs",
    define: async (command) => (await import("./commands/export.js")).defineExport(command),
  },
  {
    name: "tokenize",
    arguments: "[path...]",
    description: "convert text files to a folder of tokens for training",
    define: async (command) => (await import("./commands/tokenize.js")).defineTokenize(command),
  },
  {
    name: "generate",
    arguments: "[run]",
    description: "generate text with a trained model",
    define: async (command) => (await import("./commands/generate.js")).defineGenerate(command),
  },
  {
    name: "schedule",
    arguments: "[name]",
    description: "plot a learning-rate schedule or print its values",
    define: async (command) => (await import("./commands/schedule.js")).defineSchedule(command),
  },
  {
    name: "curvature",
    arguments: "[run]",
    description: "measure the curvature of a model's loss and suggest UBA parameters",
    define: async (command) => (await import("./commands/curvature.js")).defineCurvature(command),
  },
  {
    name: "compare",
    description: "compare schedules in a study with equal tuning; resumable",
    define: async (command) => (await import("./commands/compare.js")).defineCompare(command),
  },
  {
    name: "watch",
    arguments: "[folder]",
    description: "show the runs of a folder on a local page, while they train",
    define: async (command) => (await import("./commands/watch.js")).defineWatch(command),
  },
  {
    name: "bench",
    arguments: "[what]",
    description: "measure the optimizer step and compare it with memory bandwidth and PyTorch",
    define: async (command) => (await import("./commands/bench.js")).defineBench(command),
  },
  {
    name: "check",
    description: "check that a device computes correctly, and write a report",
    define: async (command) => (await import("./commands/check.js")).defineCheck(command),
  },
  {
    name: "info",
    description: "show the CPU, kernels, addons and devices of this machine",
    define: async (command) => (await import("./commands/info.js")).defineInfo(command),
  },
];

/** Returns a line that names the flag or command that was probably meant, for an error of Commander. */
function hintFor(error: string, program: Command, argv: readonly string[]): string {
  const [, what, given = ""] = /unknown (option|command) '([^']*)'/.exec(error) ?? [];
  const called = program.commands.find((command) => argv.slice(0, 2).includes(command.name()));
  const flags = (called ?? program).options.flatMap(({ long }) => long ?? []);
  const names = program.commands.map((command) => command.name());
  const meant = what === "option" ? meantFlag(given, flags) : what === "command" ? nearest(given, names) : undefined;
  return meant === undefined ? "" : `Did you mean ${meant}?\n`;
}

/**
 * Creates the program with the command that the arguments call. Only that one is loaded, because each imports libraries
 * that take a while to load. Errors of Commander are thrown after their message is written.
 */
export async function createProgram(argv: readonly string[]): Promise<Command> {
  const program = new Command("stepsize")
    .description("Trains neural networks on a fixed budget of steps.")
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(printableLines(`${text}${hintFor(text, program, argv)}`)) })
    .showSuggestionAfterError(false)
    .addHelpText(
      "after",
      `
Examples:
  stepsize train --model resnet8 --data mnist --budget 600
  stepsize evaluate runs/1
  stepsize schedule uba --budget 1000 --max-lr 0.1 --phi 5

Run any command with --help to see its options.

Exit codes:
  0    success
  1    failure
  2    wrong use: an unknown or missing argument, or a wrong value
  130  interrupted by a signal, after saving`,
    );
  for (const entry of commands) {
    const command = program.command(`${entry.name} ${entry.arguments ?? ""}`.trim()).description(entry.description);
    if (argv.slice(0, 2).includes(entry.name)) await entry.define(command);
  }
  return program;
}
