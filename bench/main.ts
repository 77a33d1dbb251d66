/**
 * `npm run bench -- [gemm] [optimizer] [step] [--threads 1,2] [--save]`: prints the measurements. With --save it writes
 * them to bench/results/<machine>.json.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gemm } from "./gemm.js";
import { type Result, show } from "./harness.js";
import { optimizer } from "./optimizer.js";
import { step } from "./step.js";

const benchmarks = { gemm, optimizer, step };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { save: { type: "boolean", default: false }, threads: { type: "string" }, machine: { type: "string" } },
});
const chosen = positionals.length > 0 ? positionals : Object.keys(benchmarks);
const unknown = chosen.filter((name) => !(name in benchmarks));
if (unknown.length > 0) {
  console.error(`unknown benchmark ${unknown.join(", ")}; expected ${Object.keys(benchmarks).join(", ")}`);
  process.exit(2);
}
const maxThreads = availableParallelism();
const threadCounts = values.threads?.split(",").map(Number) ?? [...new Set([1, Math.min(2, maxThreads)])];

const results: Result[] = [];
for (const name of chosen)
  for (const threads of threadCounts)
    for (const result of await benchmarks[name as keyof typeof benchmarks](threads)) {
      console.log(`${show(result)}\n`);
      results.push(result);
    }

if (values.save) {
  const cpu = cpus()[0]?.model ?? "unknown CPU";
  const slug = `${cpu} ${maxThreads} cores`.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  const folder = join(import.meta.dirname, "results");
  const file = join(folder, `${values.machine ?? slug}.json`);
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const about = { cpu, cores: maxThreads, node: process.version, commit, date: new Date().toISOString().slice(0, 10) };
  const command = `npm run bench -- ${process.argv.slice(2).join(" ")}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, `${JSON.stringify({ command, ...about, results }, null, 2)}\n`);
  console.log(`written to ${file}`);
}
