// The records of runs, as the page's server keeps them.
import { appendFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { JsonTail } from "#lib/watch/json-tail.js";
import { RunView } from "#lib/watch/run-view.js";
import { StepSeries } from "#lib/watch/step-series.js";
import { temporaryFolders } from "../support/folders.js";
import { lines, makeRun } from "./support/runs.js";

const folder = temporaryFolders();

/** A sink that keeps what it receives. */
function collector() {
  const values: unknown[] = [];
  const offsets: number[] = [];
  let resets = 0;
  return {
    values,
    offsets,
    get resets() {
      return resets;
    },
    reset() {
      resets++;
      values.length = 0;
      offsets.length = 0;
    },
    line(value: unknown, offset: number) {
      values.push(value);
      offsets.push(offset);
    },
  };
}

describe("a file that grows", () => {
  const step = (value: unknown) => (value as { step: number }).step;

  test("is read once, and a half-written last line only when it is complete", async () => {
    const path = join(folder(), "a.jsonl");
    const [tail, sink] = [new JsonTail(path), collector()];
    expect(await tail.read(sink)).toBe(false);
    writeFileSync(path, '{"step":0}\n{"st');
    expect(await tail.read(sink)).toBe(true);
    expect(sink.values).toEqual([{ step: 0 }]);
    expect(await tail.read(sink)).toBe(false);
    appendFileSync(path, 'ep":1}\n\nnonsense\n{"step":2}\n');
    expect(await tail.read(sink)).toBe(true);
    expect(sink.values.map(step)).toEqual([0, 1, 2]);
    expect(sink.offsets).toEqual([0, 11, 32]);
    expect(sink.resets).toBe(0);
  });

  test("is read again after it was cut, cut and written beyond its old end, replaced, or removed", async () => {
    const path = join(folder(), "a.jsonl");
    const [tail, sink] = [new JsonTail(path), collector()];
    writeFileSync(path, lines(0, 20));
    await tail.read(sink);
    truncateSync(path, Buffer.byteLength(lines(0, 10)));
    await tail.read(sink);
    expect([sink.values.length, sink.resets]).toEqual([10, 1]);
    truncateSync(path, Buffer.byteLength(lines(0, 5)));
    appendFileSync(
      path,
      lines(5, 30, (at) => at / 7),
    );
    await tail.read(sink);
    expect([sink.values.length, sink.resets]).toEqual([30, 2]);
    expect(sink.values[7]).toMatchObject({ step: 7, loss: 1 });
    writeFileSync(
      `${path}.new`,
      lines(0, 30, () => 3),
    );
    renameSync(`${path}.new`, path);
    await tail.read(sink);
    expect([sink.values.length, sink.resets]).toEqual([30, 3]);
    rmSync(path);
    await tail.read(sink);
    expect([sink.values.length, sink.resets]).toEqual([0, 4]);
  });

  test("may have lines across the ends of what is read at once, and lines that are too long", async () => {
    const path = join(folder(), "a.jsonl");
    const [tail, sink] = [new JsonTail(path), collector()];
    // The characters have several bytes each.
    const wide = `${JSON.stringify({ step: 1, text: "ü€".repeat(100_000) })}\n`;
    writeFileSync(path, `{"step":0}\n${wide}"${"x".repeat(3_000_000)}"\n{"step":2}\n`);
    await tail.read(sink);
    expect(sink.values.map(step)).toEqual([0, 1, 2]);
    expect(sink.values[1]).toEqual(JSON.parse(wide));
  });
});

describe("a series", () => {
  const seriesOf = (count: number, loss: (step: number) => number) => {
    const series = new StepSeries();
    for (let step = 0; step < count; step++) series.add({ step, loss: loss(step), seconds: step + 1 }, 100 * step);
    return series;
  };

  test("has every value while there are few", () => {
    const curve = seriesOf(300, (step) => step ** 2).curve(1);
    expect(curve).toMatchObject({ width: 1, from: 0, lastStep: 299 });
    expect(curve.fields["loss"]?.mean).toEqual(Array.from({ length: 300 }, (_, step) => step ** 2));
  });

  test("has the exact mean, minimum and maximum of each bucket of 100,000 steps, and their offsets", () => {
    const loss = (step: number) => ((step * 7919) % 1009) / 1024;
    const series = seriesOf(100_000, loss);
    expect(series.width).toBe(64);
    const curve = series.curve(128);
    const buckets = Array.from({ length: Math.ceil(100_000 / 128) }, (_, i) =>
      Array.from({ length: Math.min(128, 100_000 - 128 * i) }, (_, j) => loss(128 * i + j)),
    );
    const { mean = [], min = [], max = [] } = curve.fields["loss"] ?? {};
    expect(mean).toHaveLength(buckets.length);
    for (const [i, values] of buckets.entries()) {
      expect(mean[i]).toBeCloseTo(values.reduce((a, b) => a + b) / values.length, 5);
      expect(min[i]).toBeCloseTo(Math.min(...values), 5);
      expect(max[i]).toBeCloseTo(Math.max(...values), 5);
    }
    expect(curve.seconds.slice(0, 2)).toEqual([128, 256]);
    expect(series.offsetAt(6400)).toBe(640_000);
    expect(series.stepAtSeconds(6400)).toBe(6399);
  });

  test("takes its buckets by step, also with gaps, and ignores what is no record", () => {
    const series = new StepSeries();
    for (const value of [null, 1, [], {}, { step: -1 }, { step: 0.5 }, { step: 1e300 }, { step: "1" }, { loss: 1 }])
      series.add(value, 0);
    expect(series.count).toBe(0);
    series.add({ step: 5000, loss: 3 }, 0);
    series.add({ step: 5001, loss: "NaN" }, 0);
    expect(series.curve(series.width).fields["loss"]?.mean.filter((value) => value !== null)).toEqual([3]);
  });

  test("has items per second and the share of waiting of the steps before each bucket", () => {
    const series = new StepSeries();
    for (let step = 0; step < 100; step++)
      series.add({ step, items: 32, seconds: (step + 1) / 2, dataWait: step < 50 ? 0 : (step - 49) / 8 }, 0);
    const { itemsPerSecond, dataWaitShare } = series.curve(1).fields;
    expect(itemsPerSecond?.mean.every((rate) => rate === 64)).toBe(true);
    expect([dataWaitShare?.mean[40], dataWaitShare?.mean[99]]).toEqual([0, 0.25]);
  });
});

describe("a run", () => {
  test("has the state that its files say", async () => {
    const parent = folder();
    const stateOf = async (name: string, result?: Record<string, unknown>, records = 3) => {
      const view = new RunView(1, makeRun(parent, name, { records, ...(result && { result }) }), name);
      await view.update();
      return view.row.state;
    };
    expect(await stateOf("a", { status: "completed" })).toBe("finished");
    expect(await stateOf("b", { status: "interrupted" })).toBe("interrupted");
    expect(await stateOf("c", { status: "failed", error: "disk full", code: "invalid-file" })).toBe("failed");
    expect(await stateOf("d", { status: "failed", error: "the loss is NaN", code: "non-finite" })).toBe("diverged");
    expect(await stateOf("e")).toBe("stopped");
    expect(await stateOf("f", undefined, 0)).toBe("new");
  });

  test("gives a part of its curves with all records, which it reads again", async () => {
    const view = new RunView(1, makeRun(folder(), "1", { records: 5000, loss: (step) => step }), "1");
    await view.update();
    expect(view.width).toBe(4);
    const part = await view.curves(1, { from: 2001, to: 2101 });
    expect(part).toMatchObject({ width: 1, from: 2001, lastStep: 4999 });
    expect(part.fields["loss"]?.mean).toEqual(Array.from({ length: 100 }, (_, i) => 2001 + i));
    expect(part.fields["itemsPerSecond"]?.mean.every((rate) => rate === 64)).toBe(true);
    expect(part.seconds[0]).toBe(1001);
    const first = await view.curves(2, { from: 0, to: 10 });
    expect(first.fields["loss"]?.mean).toEqual([0.5, 2.5, 4.5, 6.5, 8.5]);
  });
});
