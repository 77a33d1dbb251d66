import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type DatasetBatches, INLINE_BYTES } from "#lib/data/dataset-batches.js";
import type { GatherPlan, Slot } from "#lib/data/gather.js";
import { GatherThread, IDLE_MS } from "#lib/data/gather-thread.js";
import type { BatchOptions } from "#lib/data/index.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { fingerprint, takeFingerprints } from "./support/collect.js";
import { compiled } from "./support/compiled.js";
import { data } from "./support/data.js";

const folder = temporaryFolders();
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const close of closers.splice(0)) await close();
});

const side = 64;
const set = data.fromArrays({
  inputs: Uint8Array.from({ length: 100 * side * side }, (_, i) => (i * 7919) % 251),
  labels: Int32Array.from({ length: 100 }, (_, i) => i % 10),
  shape: [side, side, 1],
});

function batches(options: Partial<BatchOptions> = {}, from = set): DatasetBatches {
  const source = from.batches({ size: 32, ...options });
  closers.push(() => source.close());
  return source as DatasetBatches;
}

/** A script for the thread, instead of the one that gathers. */
function script(text: string): URL {
  const path = join(folder(), "thread.mjs");
  writeFileSync(path, `import { parentPort } from "node:worker_threads";\n${text}`);
  return pathToFileURL(path);
}

function threadWith(text: string): GatherThread {
  const thread = new GatherThread({} as GatherPlan, script(text));
  closers.push(() => thread.close(new Error("closed by the test")));
  return thread;
}

const place = { epoch: 0, index: 0, plain: false };
const slot: Slot = { inputs: new Uint8Array(1), labels: new Int32Array(1) };

describe("batches gathered on a thread", () => {
  it("equal those that the calling thread gathers", async () => {
    const view = set.split({ validation: 0.3 }).train;
    for (const from of [set, view])
      for (const options of [
        {},
        { augment: { pad: 3, flip: true }, dropLast: false },
        { shuffle: false, prefetch: 5 },
      ]) {
        const there = batches(options, from);
        const here = batches({ ...options, prefetch: 0 }, from);
        expect([there.offThread, here.offThread]).toEqual([true, false]);
        expect(await takeFingerprints(there.from(1), 9)).toEqual(await takeFingerprints(here.from(1), 9));
        expect(fingerprint(await there.at(7))).toEqual(fingerprint(await here.at(7)));
        expect(await takeFingerprints(there.once())).toEqual(await takeFingerprints(here.once()));
      }
  });

  it("equal those with float inputs and targets too", async () => {
    const length = 40;
    const floats = data.fromArrays({
      inputs: Float32Array.from({ length: length * 2000 }, (_, i) => Math.sin(i)),
      labels: { data: Float32Array.from({ length: length * 3 }, (_, i) => i / 8), shape: [3] },
    });
    const there = batches({ size: 16 }, floats);
    expect(there.offThread).toBe(true);
    expect(await takeFingerprints(there.from(0), 6)).toEqual(
      await takeFingerprints(batches({ size: 16, prefetch: 0 }, floats).from(0), 6),
    );
  });

  it("are gathered ahead, exactly as many as requested", async () => {
    const inputs = new Uint8Array(new SharedArrayBuffer(10 * 80_000));
    const source = batches(
      { size: 1, prefetch: 3, shuffle: false },
      data.fromArrays({ inputs, labels: new Int32Array(10) }),
    );
    const loop = source.from(0);
    await loop.next();
    // Answered after the three that the loop asked for: the thread takes turns.
    await source.at(0);
    inputs.fill(1);
    const seen: number[] = [];
    for (let step = 1; step < 6; step++) seen.push((await loop.next()).value!.inputs.data[0]!);
    expect(seen).toEqual([0, 0, 0, 1, 1]);
  });

  it("of less than 64 KiB are left to the calling thread", () => {
    expect(INLINE_BYTES).toBe(64 * 1024);
    expect(batches({ size: 15 }).offThread).toBe(false);
    expect(batches({ size: 16 }).offThread).toBe(true);
    expect(batches({ size: 16, prefetch: 0 }).offThread).toBe(false);
  });

  it("are rejected by close if they are not finished", async () => {
    const source = batches();
    const pending = source.at(0);
    const loop = source.from(0);
    const drawn = loop.next();
    const refused = [expectError(() => pending, "invalid-state", "closed"), expectError(() => drawn, "invalid-state")];
    await source.close();
    await Promise.all(refused);
  });
});

describe("the thread", () => {
  /** Counts up in the slot's label for as long as it lives. */
  const ticking = `parentPort.on("message", ({ id, slot }) => {
    setInterval(() => slot.labels[0]++, 1);
    parentPort.postMessage(id);
  });`;

  async function ticks(counter: Slot): Promise<number> {
    const before = counter.labels[0]!;
    await sleep(50);
    return counter.labels[0]! - before;
  }

  /** How fast a thread begins and ends is the machine's matter: what must come is waited for, up to the test's end. */
  async function counts(counter: Slot): Promise<void> {
    while ((await ticks(counter)) === 0);
  }
  async function ends(counter: Slot): Promise<void> {
    while ((await ticks(counter)) > 0);
  }

  it("starts with the first request and ends after a while without requests", async () => {
    // By a clock of the test's: a busy machine would make other pauses of real ones.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const thread = threadWith(ticking);
    const counter = { ...slot, labels: new Int32Array(new SharedArrayBuffer(4)) };
    expect(thread.running).toBe(false);
    for (let request = 0; request < 2; request++) {
      await thread.gather(place, counter);
      vi.advanceTimersByTime(IDLE_MS - 1);
      expect(thread.running).toBe(true);
    }
    await counts(counter);
    vi.advanceTimersByTime(1);
    expect(thread.running).toBe(false);
    await ends(counter);
    await thread.gather(place, counter);
    expect(thread.running).toBe(true);
  });

  it("ends when closed", async () => {
    const thread = threadWith(ticking);
    const counter = { ...slot, labels: new Int32Array(new SharedArrayBuffer(4)) };
    await thread.gather(place, counter);
    await counts(counter);
    await thread.close(new Error("closed"));
    expect(thread.running).toBe(false);
    expect(await ticks(counter)).toBe(0);
  });

  it("rejects all pending requests if it fails, and starts again", async () => {
    const thread = threadWith(`let requests = 0;
      parentPort.on("message", ({ id, place }) => {
        if (place.index === 13) throw new RangeError("unlucky");
        if (place.index < 13) parentPort.postMessage(id);
      });`);
    await thread.gather(place, slot);
    const waiting = [thread.gather({ ...place, index: 14 }, slot), thread.gather({ ...place, index: 13 }, slot)];
    for (const batch of waiting) {
      await expectError(() => batch, "device-failed", "the thread that gathers batches failed: unlucky");
    }
    expect(thread.running).toBe(false);
    await thread.gather(place, slot);
  });

  it("reports a failure to the next request if none was pending", async () => {
    const thread = threadWith(`parentPort.on("message", ({ id }) => {
      parentPort.postMessage(id);
      setTimeout(() => { throw new Error("afterwards"); }, 20);
    });`);
    await thread.gather(place, slot);
    while (thread.running) await sleep(10);
    await expectError(() => thread.gather(place, slot), "device-failed", "afterwards");
    await thread.gather(place, slot);
  });

  it("reports that it ended by itself or could not start", async () => {
    const leaving = threadWith('parentPort.on("message", () => process.exit(3));');
    await expectError(() => leaving.gather(place, slot), "device-failed", "it ended with code 3");
    const missing = new GatherThread({} as GatherPlan, pathToFileURL(join(folder(), "none.mjs")));
    await expectError(() => missing.gather(place, slot), "device-failed", "none.mjs");
  });
});

describe("a process that uses batches", () => {
  const main = JSON.stringify(compiled("data/index.js"));
  // A thread ends by itself when it was idle for 2 s. Here that timer never fires: only the process itself can end it,
  // and a process that waits for its thread hangs.
  const preamble = `const wait = globalThis.setTimeout;
    globalThis.setTimeout = (call, ms, ...rest) => wait(call, ms === ${IDLE_MS} ? 2 ** 31 - 1 : ms, ...rest);
    const { fromArrays } = await import(${main});
    const set = fromArrays({ inputs: new Uint8Array(400_000), labels: new Int32Array(40), shape: [100, 100, 1] });
    const source = set.batches({ size: 10 });
    if (!source.offThread) throw new Error("this would test nothing");`;

  function run(text: string) {
    // Through -e: the flag that makes it a module must not reach the thread.
    const program = `${preamble}\n${text}`;
    const options = { encoding: "utf8", timeout: 600_000 } as const;
    return spawnSync(process.execPath, ["--input-type=module", "-e", program], options);
  }

  it.each([
    {
      how: "leaves the loop",
      text: "let n = 0; for await (const batch of source.from(0)) { n += batch.size; if (n === 50) break; } console.log(n);",
      out: "50\n",
    },
    {
      how: "drops the loop without leaving it",
      text: "const loop = source.from(0); console.log((await loop.next()).value.size);",
      out: "10\n",
    },
    {
      how: "throws out of the loop",
      text: "try { for await (const batch of source.from(0)) throw batch.size; } catch (size) { console.log(size); }",
      out: "10\n",
    },
    {
      how: "evaluates once",
      text: "let n = 0; for await (const { size } of source.once()) n += size; console.log(n);",
      out: "40\n",
    },
    { how: "waits for one batch", text: "console.log((await source.at(3)).epoch);", out: "0\n" },
    {
      how: "waits for one batch after another",
      text: "await source.at(0); console.log((await source.at(9)).index);",
      out: "1\n",
    },
    { how: "closes", text: "await source.at(0); await source.close(); console.log('closed');", out: "closed\n" },
  ])("ends when it $how", ({ text, out }) => {
    const { status, stdout, stderr } = run(text);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: out, stderr: "" });
  });
});
