/**
 * `npx tsx bench/checkpoint.ts [--out <file>]`: the speed of writing, verifying and loading checkpoints of two sizes,
 * the memory that it takes in addition to the state, and the speed of the checksums alone. Prints a row for each size
 * and writes bench/results/checkpoint-<machine>.json. Takes 5 GB of memory and 1.3 GB of disk.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { crc32 } from "node:zlib";
import { fromArrays } from "#lib/data/index.js";
import { openDevice } from "#lib/native/index.js";
import * as nn from "#lib/nn/index.js";
import { AdamW } from "#lib/optim/index.js";
import { Trainer } from "#lib/train/index.js";
import { verifyCheckpoint } from "#lib/weights/checkpoint-file.js";

const { values } = parseArgs({ options: { out: { type: "string" } } });
const rounds = 3;

const rows: Record<string, number | string>[] = [];
function add(row: Record<string, number | string>): void {
  rows.push(row);
  console.log(
    Object.entries(row)
      .map(([name, value]) => `${name} ${value}`)
      .join(", "),
  );
}

const block = new Uint8Array(2 ** 24).fill(7);
let sum = 0;
const checksum = await fastest(() => {
  for (let i = 0; i < 16; i++) sum = crc32(block, sum);
});
add({ what: "CRC-32 in memory", gigabytesPerSecond: rate(16 * block.length, checksum) });
const digest = await fastest(() => {
  const hash = createHash("sha256");
  for (let i = 0; i < 16; i++) hash.update(block);
});
add({ what: "SHA-256 in memory", gigabytesPerSecond: rate(16 * block.length, digest) });

const folder = mkdtempSync(join(tmpdir(), "stepsize-"));
// 3 · 4 bytes for each of layers · 2000² weights.
for (const layers of [5, 25]) await measure(layers, join(folder, "one.safetensors"));
rmSync(folder, { recursive: true });

async function measure(layers: number, path: string): Promise<void> {
  const device = await openDevice("cpu");
  const place = { device, seeds: 1, bias: false };
  const model = new nn.Sequential(...Array.from({ length: layers }, () => new nn.Linear(2000, 2000, place)));
  const optimizer = new AdamW(model.parameters(), { lr: 0.1 });
  // This creates the moments before the first step.
  optimizer.tabulate();
  const data = fromArrays({ inputs: new Float32Array(2000), labels: Int32Array.of(0), shape: [2000] });
  const options = { model, optimizer, loss: nn.crossEntropy, data: data.batches({ size: 1 }), budget: 1 };
  const trainer = new Trainer(options);
  await device.synchronize();
  for (const [what, work] of [
    ["write", () => trainer.save(path)],
    ["verify", () => verifyCheckpoint(path)],
    ["verify and load", () => trainer.load(path)],
  ] as const) {
    const before = process.memoryUsage.rss();
    let peak = before;
    const timer = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage.rss());
    }, 2);
    const seconds = await fastest(work);
    clearInterval(timer);
    const { size } = statSync(path);
    const [megabytes, memory] = [Math.round(size / 1e6), Math.round((peak - before) / 1e6)];
    add({ what, megabytes, gigabytesPerSecond: rate(size, seconds), moreMemoryMegabytes: memory });
  }
  model.dispose();
  optimizer.dispose();
  await device.close();
}

async function fastest(work: () => unknown): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await work();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

function rate(bytes: number, seconds: number): number {
  return Number((bytes / 1e9 / seconds).toPrecision(3));
}

const cpu = cpus()[0]?.model.trim() ?? "unknown";
const slug = `${cpu} ${availableParallelism()} cores`.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
const about = { cpu, node: process.version, commit, date: new Date().toISOString().slice(0, 10), fastestOf: rounds };
const file = values.out ?? join(import.meta.dirname, "results", `checkpoint-${slug}.json`);
writeFileSync(file, `${JSON.stringify({ command: "npx tsx bench/checkpoint.ts", ...about, rows }, undefined, 1)}\n`);
console.log(`written to ${file}`);
