import { readFile } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import type { Command } from "commander";
import { type AddonReport, findAddon, listDevices } from "../../native/index.js";
import { version } from "../../package-root.js";
import { addJson } from "../config/fields.js";
import { print, printJson } from "../output/terminal.js";
import { count } from "../output/text.js";

/** Vector extensions that a kernel may use, as Linux names them. */
const vectorExtensions = /^(sse2|sse4_2|avx|avx2|fma|f16c|avx512\w*|avx_vnni|amx_\w+|asimd|sve\d?)$/;
const addons = ["cpu", "cuda"];

/** Adds the options and the action of `info`. */
export function defineInfo(command: Command): void {
  addJson(command).addHelpText("after", "\nExamples:\n  stepsize info\n  stepsize info --json").action(info);
}

async function info({ json }: { json?: boolean }): Promise<void> {
  const facts = await gather();
  if (json) printJson(facts);
  else print(inWords(facts));
}

interface Facts {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly vectorExtensions: readonly string[];
  /** The kernels that are used by default; `null` without the addon. */
  readonly kernels: string | null;
  /** Kernels that this CPU can run, fastest first. */
  readonly usableKernels: readonly string[];
  /** Number of threads that kernels use by default, within the container's quota. */
  readonly threads: number;
  readonly addons: readonly {
    name: string;
    lookedAt: readonly string[];
    loaded: string | null;
    problem: string | null;
    advice: string | null;
  }[];
  readonly devices: readonly { name: string; problem: string | null }[];
}

async function gather(): Promise<Facts> {
  const devices = listDevices();
  const facts = devices.find(({ name }) => name === "cpu")?.facts ?? {};
  return {
    version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cpus: cpus().length,
    memoryBytes: totalmem(),
    vectorExtensions: await extensions(),
    kernels: facts["kernels"] ?? null,
    usableKernels: facts["instructionSets"]?.split(" ") ?? [],
    threads: Number(facts["threads"] ?? availableParallelism()),
    addons: addons.map((name) => describeAddon(findAddon(name))),
    devices: devices.map(({ name, problem = null }) => ({ name, problem })),
  };
}

/** Reads the vector extensions of the first CPU; empty if `/proc/cpuinfo` cannot be read. */
async function extensions(): Promise<string[]> {
  const text = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1] ?? "";
  return flags.split(" ").filter((flag) => vectorExtensions.test(flag));
}

function describeAddon({ name, lookedAt, file, problem, advice, addon }: AddonReport): Facts["addons"][number] {
  return { name, lookedAt, loaded: addon ? (file ?? null) : null, problem: problem ?? null, advice: advice ?? null };
}

function inWords(facts: Facts): string {
  const lines = [
    `stepsize   ${facts.version}`,
    `node       ${facts.node} on ${facts.platform}`,
    `cpu        ${facts.cpu}, ${count(facts.cpus)} logical, ${count(Math.round(facts.memoryBytes / 2 ** 20))} MiB of memory`,
    `vectors    ${facts.vectorExtensions.join(" ") || "unknown"}`,
    `kernels    ${facts.kernels ?? "none"}${facts.usableKernels.length > 0 ? ` (this CPU can run ${facts.usableKernels.join(", ")})` : ""}`,
    `threads    ${facts.threads}`,
  ];
  for (const { name, lookedAt, loaded, problem, advice } of facts.addons) {
    lines.push(`addon      ${name}: ${loaded ? `loaded from ${loaded}` : (problem ?? "not loaded")}`);
    if (!loaded) lines.push(...lookedAt.map((path) => `             looked at ${path}`));
    if (advice) lines.push(`             ${advice}`);
  }
  for (const { name, problem } of facts.devices) lines.push(`device     ${name}${problem ? `: ${problem}` : ""}`);
  return lines.join("\n");
}
