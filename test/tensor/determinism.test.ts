// Every operation of the table gives the same bits for any number of threads and in every run.
import { describe, expect, it } from "vitest";
import { findAddon } from "#lib/native/index.js";
import { cpuDevices, cudaDevices, openAll } from "../support/devices.js";
import { recipes, run } from "./support/records.js";

const operations = findAddon("cpu").addon!.operations;
const threadCounts = [1, 2, 3, 5];
const opened = await Promise.all(threadCounts.map((threads) => openAll({ threads }, cpuDevices)));
const gpus = await openAll({}, cudaDevices);

it("recipes exist for every operation", () => {
  expect(Object.keys(recipes).sort()).toEqual([...operations].sort());
});

describe.each(operations)("%s", (operation) => {
  it.each(opened[0]!.map(({ label }, i) => ({ label, devices: opened.map((list) => list[i]!.device) })))(
    "gives the same bits with 1, 2, 3 and 5 threads, and in a second run ($label)",
    async ({ devices }) => {
      const expected = await run(devices[0]!, operation);
      // Equal values would show that nothing was written.
      expect(new Set(expected).size).toBeGreaterThan(1);
      for (const device of [...devices.slice(1), ...devices.toReversed()])
        expect((await run(device, operation)).equals(expected), `${device.describe()["threads"]} threads`).toBe(true);
    },
  );

  it.each(gpus)("gives the same bits in a second run ($label)", async ({ device }) => {
    const expected = await run(device, operation);
    expect(new Set(expected).size).toBeGreaterThan(1);
    expect((await run(device, operation)).equals(expected)).toBe(true);
  });
});
