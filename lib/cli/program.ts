import { Command } from "commander";
import { describe, StepsizeError } from "../errors.js";
import { nearest } from "../nearest.js";
import { version } from "../package-root.js";
import { printableLines } from "../quoting.js";
import { flagOf, some } from "./output/text.js";
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
    arguments: "[run]",
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

/** The command that the arguments call; `undefined` if there is none. */
function calledIn(program: Command, argv: readonly string[]): Command | undefined {
  return program.commands.find((command) => argv.slice(0, 2).includes(command.name()));
}

/** Returns a line that names the flag or command that was probably meant, for an error of Commander. */
function hintFor(error: string, program: Command, argv: readonly string[]): string {
  const [, what, given = ""] = /unknown (option|command) '([^']*)'/.exec(error) ?? [];
  const flags = (calledIn(program, argv) ?? program).options.flatMap(({ long }) => long ?? []);
  const names = program.commands.map((command) => command.name());
  const meant =
    what === "option" ? meantFlag(given, [...flags, "--help"]) : what === "command" ? nearest(given, names) : undefined;
  return meant === undefined ? "" : `Did you mean ${meant}?\n`;
}

/** Returns an error of Commander with what was expected and what came, as in the errors of the commands. */
function inOurWords(error: string, program: Command, argv: readonly string[]): string {
  const missing = /^error: option '(?:-\w, )?(--[\w-]+) ([^']*)' argument missing/.exec(error);
  if (missing) return `error: ${missing[1]}: expected a value after it, ${missing[2]}, got none\n`;
  const called = calledIn(program, argv);
  if (called === undefined || !error.startsWith("error: too many arguments")) return error;
  const taken = called.registeredArguments.length;
  const expected = taken === 0 ? "none beside flags" : `at most ${some(taken, "argument")} beside flags`;
  const given = called.args.map((word) => describe(word)).join(" and ");
  return `error: argument: expected ${expected}, got ${given}; stepsize ${called.name()} --help lists the flags\n`;
}

/**
 * Returns an error of the library that begins with the name of an option, such as `threads: expected …`, with the flag in
 * its place. Other errors are returned as they are.
 */
export function namedByFlag(error: unknown, program: Command, argv: readonly string[]): unknown {
  if (!(error instanceof StepsizeError) || error.code !== "invalid-argument") return error;
  const fields = calledIn(program, argv)?.options.map((option) => option.attributeName()) ?? [];
  const named = (word: string) => (fields.includes(word) ? flagOf(word) : word);
  const message = error.message.replace(/^\w+( and \w+)?(?=: )/, (names) => names.split(" ").map(named).join(" "));
  return message === error.message ? error : new StepsizeError(error.code, message, { cause: error });
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
    .configureOutput({
      outputError: (text, write) =>
        write(printableLines(`${inOurWords(text, program, argv)}${hintFor(text, program, argv)}`)),
    })
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
