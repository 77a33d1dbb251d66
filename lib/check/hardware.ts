import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import type { GpuState } from "./report.js";

const gpuFields = [
  "index",
  "name",
  "driver_version",
  "memory.total",
  "memory.used",
  "compute_mode",
  "clocks.sm",
  "clocks.mem",
  "clocks.max.sm",
  "clocks.max.mem",
  "temperature.gpu",
  "power.draw",
  "power.limit",
  "clocks_event_reasons.active",
];

/** Milliseconds after which nvidia-smi is given up. */
const patience = 10_000;

/** Returns what nvidia-smi reports of every GPU; empty if the device is no GPU or nvidia-smi does not work. */
export async function gpuStates(device: string): Promise<GpuState[]> {
  if (!/^cuda(:\d+)?$/.test(device)) return [];
  const args = [`--query-gpu=${gpuFields.join(",")}`, "--format=csv,noheader"];
  try {
    const { stdout } = await promisify(execFile)("nvidia-smi", args, { timeout: patience, encoding: "utf8" });
    return parseGpuStates(stdout);
  } catch {
    return [];
  }
}

/** Parses the lines that nvidia-smi prints, one per GPU. */
export function parseGpuStates(text: string): GpuState[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const values = line.split(", ");
    return Object.fromEntries(gpuFields.map((field, i) => [field, values[i]?.trim() ?? ""]));
  });
}

/** Returns the path of a program in the folders of `PATH`; `undefined` if it is in none. */
export function findProgram(name: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter(Boolean);
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
