import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { FolderView, isLoopback, WatchServer } from "../../watch/index.js";
import { addFlags, check, type Fields, fromFlags, help, numberField } from "../config/fields.js";
import { UsageError } from "../failure.js";
import { Interrupts } from "../interrupts.js";
import { print, tell } from "../output/terminal.js";
import { flagOf, some, thisProgram } from "../output/text.js";

const defaultPort = 7070;

const fields = {
  port: numberField(
    z.int().min(0).max(65_535),
    "a whole number from 0 to 65535",
    "port of the page; 0 for any that is free",
    {
      fallback: String(defaultPort),
    },
  ),
  host: z.string().min(1).register(help, {
    kind: "text",
    placeholder: "<address>",
    expected: "an address of this machine",
    description: "address to listen on; 0.0.0.0 for all. The URL then has a token, without which nothing is shown",
    fallback: "127.0.0.1, this machine only",
  }),
} satisfies Fields;

/** Adds the options and the action of `watch`. */
export function defineWatch(command: Command): void {
  addFlags(command, fields);
  command
    .addHelpText(
      "after",
      `
The folder is one of runs and studies (default: runs), or that of one run.

Examples:
  stepsize watch
  stepsize watch runs/1 --port 8000
  stepsize watch path/to/runs --host 0.0.0.0`,
    )
    .action(watch);
}

async function watch(folder: string | undefined, flags: Record<string, unknown>): Promise<void> {
  const { port = defaultPort, host = "127.0.0.1" } = check(fields, fromFlags(fields, flags), flagOf);
  const path = folder ?? "runs";
  const found = await stat(path).catch(() => undefined);
  // The default folder may be made by a run that starts later.
  if (!found && folder !== undefined)
    throw new UsageError(`folder: expected a folder of runs, ${path} does not exist; train writes runs into runs/`);
  if (found && !found.isDirectory()) throw new UsageError(`folder: expected a folder of runs, ${path} is a file`);
  const interrupts = new Interrupts();
  const view = new FolderView(resolve(path));
  try {
    const { runs, studies } = await view.scan();
    const server = await WatchServer.start({ folder: view, host, port });
    try {
      print(`${contents(path, runs, studies)}\n${server.url}`);
      if (!isLoopback(host))
        tell(
          "Whoever has this URL can read the runs. The connection is not encrypted; use it in a network that you trust.",
        );
      tell("Ctrl-C ends it.");
      await untilAborted(interrupts.signal);
    } finally {
      await server.close();
    }
    interrupts.checkStray();
  } finally {
    view.close();
    interrupts.close();
  }
}

function contents(path: string, runs: number, studies: number): string {
  if (runs + studies === 0)
    return `${path}: no runs yet. They appear on the page as soon as one is started, for example with ${thisProgram()} train`;
  const parts = [
    ...(runs > 0 ? [some(runs, "run")] : []),
    ...(studies > 0 ? [studies === 1 ? "1 study" : `${studies} studies`] : []),
  ];
  return `${path}: ${parts.join(" and ")}`;
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
