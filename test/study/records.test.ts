import { appendFileSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { completeStudy, type TrainingStudy } from "#lib/study/index.js";
import { type PlannedRun, planOf } from "#lib/study/plan.js";
import { type RunRecord, RunRecords, readRecords } from "#lib/study/records.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { divergedRecord, recordOf } from "./support/records.js";

const folders = temporaryFolders();
const runs = planOf(completeStudy({}) as TrainingStudy, new Map()).flatMap(({ outstanding }) => outstanding);
const records = runs.slice(0, 4).map((run, i) => (i === 2 ? divergedRecord(run) : recordOf(run, i)));
const lines = records.map((record) => `${JSON.stringify(record)}\n`);

let path: string;
let messages: string[];
const open = () => RunRecords.open(path, (message) => messages.push(message));
const aside = (folder: string) => readdirSync(folder).filter((name) => name.includes("damaged"));

beforeEach(() => {
  path = join(folders(), "runs.jsonl");
  messages = [];
});

test("a record is a line of the file once it is added, and is read back", async () => {
  const file = await open();
  for (const [i, record] of records.entries()) {
    file.add(record);
    expect(readFileSync(path, "utf8")).toBe(lines.slice(0, i + 1).join(""));
  }
  file.close();
  expect([...(await readRecords(path)).records.values()]).toEqual(records);
  expect([...(await open()).all.values()]).toEqual(records);
  expect(messages).toEqual([]);
});

test("non-finite numbers are read back unchanged, also from a file that was cleaned", async () => {
  const wild = (run: PlannedRun): RunRecord => ({
    ...divergedRecord(run),
    trainLoss: Number.NaN,
    validation: { loss: Number.POSITIVE_INFINITY, accuracy: 0.1 },
    onTheWay: [[1, Number.NaN, 0.5]],
    curve: { step: [0, 1], learningRate: [0.1, Number.NEGATIVE_INFINITY], loss: [1, Number.NaN] },
  });
  const expected = [...runs.slice(0, 2).map(wild), { ...recordOf(runs[2] as PlannedRun, 1), trainLoss: Number.NaN }];
  const file = await open();
  for (const record of expected) file.add(record);
  file.close();
  expect([...(await readRecords(path)).records.values()]).toEqual(expected);
  appendFileSync(path, "no record\n");
  expect([...(await open()).all.values()]).toEqual(expected);
  expect(messages).toHaveLength(1);
  expect(await readRecords(path)).toMatchObject({
    records: new Map(expected.map((one) => [one.id, one])),
    damaged: [],
  });
});

test("null in a curve, as older versions wrote it, is read as NaN", async () => {
  const [first] = records as [RunRecord];
  writeFileSync(path, `${JSON.stringify({ ...first, curve: { ...first.curve, loss: [Number.NaN] } })}\n`);
  expect(readFileSync(path, "utf8")).toContain('"loss":[null]');
  expect((await readRecords(path)).records.get(first.id)?.curve.loss).toEqual([Number.NaN]);
});

test("a missing file has no records, and reading does not create it", async () => {
  expect((await readRecords(path)).records.size).toBe(0);
  await open();
  expect(existsSync(path)).toBe(false);
});

describe("a file with lines that are not records", () => {
  const half = (lines[3] as string).slice(0, 200);
  test.each([
    ["torn at its end", [...lines.slice(0, 3), half], [half]],
    [
      "torn in the middle, as by two simultaneous writers",
      [lines[0], half, lines[1]?.slice(50), lines[2]],
      [`${half}${lines[1]?.slice(50, -1)}`],
    ],
    ["JSON that is not a record", [...lines, '{"step":3}\n', "null\n", "[]\n"], ['{"step":3}', "null", "[]"]],
    [
      "a final run without its test result",
      [...lines, lines[0]?.replace('"tuning"', '"final"')],
      [lines[0]?.replace('"tuning"', '"final"').trimEnd()],
    ],
    [
      "a completed run with a non-finite result",
      [...lines, lines[0]?.replace(/"validation":\{"loss":[^,]*/, '"validation":{"loss":"NaN"')],
      [lines[0]?.replace(/"validation":\{"loss":[^,]*/, '"validation":{"loss":"NaN"').trimEnd()],
    ],
    ["invalid UTF-8", [...lines, "\0\u{fffd}\n"], ["\0\u{fffd}"]],
  ])("%s: is cleaned without a loss", async (_, content, damaged) => {
    writeFileSync(path, content.join(""));
    const readable = (await readRecords(path)).records;
    const file = await open();
    const folder = join(path, "..");
    expect(aside(folder)).toHaveLength(1);
    expect(readFileSync(join(folder, aside(folder)[0] as string), "utf8")).toBe(
      damaged.map((line) => `${line}\n`).join(""),
    );
    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain("set aside");
    expect(messages[0]).toContain(aside(folder)[0]);
    expect(readFileSync(path, "utf8")).toBe(
      [...readable.values()].map((record) => `${JSON.stringify(record)}\n`).join(""),
    );
    expect([...file.all.keys()]).toEqual([...readable.keys()]);
    // What comes next is a line of its own.
    const next = recordOf(runs[7] as (typeof runs)[number], 7);
    file.add(next);
    file.close();
    expect((await readRecords(path)).records.get(next.id)).toEqual(next);
    expect((await readRecords(path)).damaged).toEqual([]);
  });
});

test("a last record without a line break is kept, and the next one begins a new line", async () => {
  writeFileSync(path, lines.slice(0, 2).join("").trimEnd());
  const file = await open();
  expect(messages).toEqual([]);
  file.add(records[2] as (typeof records)[number]);
  expect(readFileSync(path, "utf8")).toBe(lines.slice(0, 3).join(""));
});

test("the first of two records of one run counts", async () => {
  const [first] = records as [(typeof records)[number]];
  writeFileSync(path, lines[0] + JSON.stringify({ ...first, seconds: 99 }));
  expect((await readRecords(path)).records.get(first.id)?.seconds).toBe(1);
});

test("a file that cannot be read is an error, not an empty study", async () => {
  await expectError(() => readRecords(join(path, "..")), "invalid-file", "is a folder");
});

test("a record that could not be written is not counted", async () => {
  const file = await open();
  // A disk without room.
  symlinkSync("/dev/full", path);
  await expectError(
    () => file.add(records[0] as (typeof records)[number]),
    "invalid-file",
    path,
    "could not be written",
  );
  expect(file.all.size).toBe(0);
});
