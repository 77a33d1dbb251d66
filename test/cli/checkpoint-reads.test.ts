// How often the commands read what a checkpoint holds.
import { copyFileSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { temporaryFolders } from "../support/folders.js";
import { run } from "./support/cli.js";
import { tinyData, trainTiny } from "./support/tiny-data.js";

const folder = temporaryFolders();
const cwd = realpathSync(folder());
const data = tinyData(folder());
const newest = join(cwd, "run/checkpoints/step-4.safetensors");
const counting = fileURLToPath(new URL("support/count-reads.mjs", import.meta.url));

beforeAll(async () => {
  const { code, stderr } = await run(trainTiny(data, "--budget", "4", "--run", "run"), { cwd });
  expect(code, stderr).toBe(0);
});

/** How often a command reads each byte of a checkpoint's tensors, by the tensors' names: the most and the least. */
async function timesRead(args: readonly string[], path = newest): Promise<Map<string, { max: number; min: number }>> {
  const out = join(folder(), "reads.json");
  const before = `export NODE_OPTIONS='--import ${counting}' COUNT_READS='${out}'`;
  const { code, stderr } = await run(args, { cwd, before });
  expect(code, stderr).toBe(0);
  const reads = (JSON.parse(readFileSync(out, "utf8")) as Record<string, [number, number][]>)[path] ?? [];
  const times = new Uint8Array(readFileSync(path).length);
  for (const [from, length] of reads) for (let at = from; at < from + length; at++) times[at]!++;
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...header } = JSON.parse(bytes.toString("utf8", 8, start)) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header).map(
      ([
        name,
        {
          data_offsets: [from, to],
        },
      ]) => {
        const counts = times.subarray(start + from, start + to);
        const [max, min] = [counts.reduce((a, b) => Math.max(a, b)), counts.reduce((a, b) => Math.min(a, b))];
        return [name, { max, min }];
      },
    ),
  );
}

test("train --resume reads every tensor twice: to compare it with its checksum, and to load it", async () => {
  const times = await timesRead(["train", "--resume", "run"]);
  expect([...times.keys()].some((name) => name.startsWith("optimizer.") && name.endsWith(".expAvg"))).toBe(true);
  for (const [name, { max, min }] of times) expect([name, min, max]).toEqual([name, 2, 2]);
});

test.each([
  ["evaluate", ["--data", `idx:${data}`]],
  ["predict", ["--index", "0", join(data, "t10k-images-idx3-ubyte")]],
])(
  "%s reads the weights of a run twice, those of a file once, and of the optimizer only the counters",
  async (command, more) => {
    const alone = join(cwd, `${command}.safetensors`);
    copyFileSync(newest, alone);
    for (const [checkpoint, path, expected] of [
      ["run", newest, 2],
      [alone, alone, 1],
    ] as const)
      for (const [name, { max, min }] of await timesRead([command, "--checkpoint", checkpoint, ...more], path)) {
        const times = name.startsWith("model.") ? expected : name === "optimizer.state" ? 1 : 0;
        expect([name, min, max]).toEqual([name, times, times]);
      }
  },
);
