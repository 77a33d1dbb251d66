// The help of every command, made in this process: it fits a terminal, and `--json` means one thing.
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { commands, createProgram } from "#lib/cli/program.js";

const names = commands.map(({ name }) => name);

/** A command with all its options. */
async function defined(name: string): Promise<Command> {
  const program = await createProgram([name]);
  const command = program.commands.find((one) => one.name() === name);
  if (command === undefined) throw new Error(`there is no command ${name}`);
  return command;
}

async function helpOf(command: Command): Promise<string> {
  let text = "";
  command.configureOutput({ getOutHelpWidth: () => 80, writeOut: (more) => (text += more) });
  command.outputHelp();
  return text;
}

describe.each(names)("%s --help", (name) => {
  test("fits 80 columns", async () => {
    const lines = (await helpOf(await defined(name))).split("\n");
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.filter((line) => [...line].length > 80)).toEqual([]);
  });

  // The page of `watch` is for people.
  test.skipIf(name === "watch")("has --json, which means the same for every command", async () => {
    const json = (await defined(name)).options.find(({ long }) => long === "--json");
    expect({ flags: json?.flags, description: json?.description }).toEqual({
      flags: "--json",
      description: "print one JSON document and nothing else; text for people goes to standard error",
    });
  });

  test("describes every flag and argument", async () => {
    const command = await defined(name);
    for (const option of command.options.filter(({ hidden }) => !hidden)) expect(option.description).not.toBe("");
  });
});

test.each(["train", "find-lr", "compare"])("%s has its many options under headings", async (name) => {
  const text = await helpOf(await defined(name));
  const headings = text.match(/^\S.*:$/gm) ?? [];
  expect(headings.length).toBeGreaterThan(4);
  expect(new Set(headings).size).toBe(headings.length);
  // An option without a heading would be here.
  expect(headings).not.toContain("Options:");
  expect(headings.at(-1)).toBe("Examples:");
});
