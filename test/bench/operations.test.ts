// The benchmark of operations: its cases are valid calls, in the library and in PyTorch, and the script prints its
// measurements.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findTorch, TorchPeer } from "#lib/bench/index.js";
import { execute, tensor } from "#lib/tensor/index.js";
import { operationCases } from "../../bench/operation-cases.js";
import { cudaDevices, onEveryDevice } from "../support/devices.js";
import { temporaryFolders } from "../support/folders.js";
import { numbers } from "../support/numbers.js";
import { elements } from "../support/reference.js";

const folder = temporaryFolders();
const cases = operationCases(true);

await onEveryDevice(
  "the cases",
  (device) => {
    it.each(cases)("$name is a valid call of $operation", async ({ operation, inputs, attributes }) => {
      const given = inputs.map(({ shape, dtype, below }, salt) =>
        below === undefined
          ? tensor(device, numbers(elements(shape), salt), shape, { dtype })
          : tensor(
              device,
              Int32Array.from({ length: elements(shape) }, (_, i) => i % below),
              shape,
            ),
      );
      const [result] = execute(operation, given, attributes);
      expect((await result!.read()).length).toBe(result!.size);
    });
  },
  cudaDevices,
);

it("the cases count the same work per element with small and full sizes", () => {
  const large = operationCases(false);
  expect(large.map(({ operation }) => operation)).toEqual(cases.map(({ operation }) => operation));
  for (const { name, work, inputs } of [...large, ...cases]) {
    const read = inputs.reduce((sum, { shape, dtype }) => sum + elements(shape) * (dtype === "bfloat16" ? 2 : 4), 0);
    // The embedding reads only a few rows of its table.
    if (work.unit === "GB/s" && name !== "embedding") expect(work.amount, name).toBeGreaterThan(read);
    expect(Number.isSafeInteger(work.amount), name).toBe(true);
  }
});

const found = findTorch();
const problem = "problem" in found ? ` (skipped: ${found.problem})` : "";
describe.skipIf(problem !== "")(`PyTorch${problem}`, () => {
  it("knows every case with a PyTorch operation", async () => {
    const peer = TorchPeer.start(1, found)!;
    for (const { torch, inputs, attributes } of cases.filter(({ torch }) => torch)) {
      const question = JSON.stringify({ operation: torch, device: "cpu", inputs, attributes });
      expect(await peer.ask(question, 1), torch).toMatchObject({ milliseconds: expect.any(Number) });
    }
    await peer.close();
  });
});

describe("the script", () => {
  const root = join(import.meta.dirname, "../..");
  const run = (...flags: string[]) =>
    spawnSync(
      process.execPath,
      ["--import", "tsx", "bench/operations.ts", "--device", "cpu", "--small", "--no-torch", ...flags],
      { cwd: root, encoding: "utf8" },
    );

  it("prints a line for each case and writes the JSON file", () => {
    const json = join(folder(), "operations.json");
    const { status, stdout, stderr } = run("--rounds", "1", "--only", "add,matmul", "--json", json);
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/^matmul 64³ +\S+ ms +\S+ TFLOP\/s/m);
    expect(stdout).toMatch(/^add +\S+ ms +\S+ GB\/s +\d+ % of copy/m);
    const { rows, command } = JSON.parse(readFileSync(json, "utf8")) as { rows: { name: string }[]; command: string };
    expect(rows.map(({ name }) => name)).toEqual([
      "matmul 64³",
      "matmul 64³ float32",
      expect.stringContaining("linear"),
      "add",
    ]);
    expect(command).toContain("--only add,matmul");
  });

  it("lists the operations if a name is unknown", () => {
    const { status, stderr } = run("--only", "nothing");
    expect(status).toBe(2);
    expect(stderr).toContain("--only: expected some of matmul, conv2d,");
  });
});
