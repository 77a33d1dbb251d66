import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { describe, expect, test } from "vitest";
import { crc32c, maskedCrc32c } from "#lib/tensorboard/crc32c.js";
import { EventFile } from "#lib/tensorboard/event-file.js";
import { metricsOf, run } from "../cli/support/cli.js";
import { tinyData, trainTiny } from "../cli/support/tiny-data.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";

const folder = temporaryFolders();

interface ReadEvent {
  time: number;
  step: number;
  version?: string;
  /** Status of a session log. */
  session?: number;
  values: Record<string, number>;
}

/** Calls `read` for each field of a message. It returns false for a field that it does not know. */
function fields(reader: BinaryReader, length: number, read: (field: number) => boolean): void {
  const end = reader.pos + length;
  while (reader.pos < end) {
    const [field] = reader.tag();
    if (!read(field)) throw new Error(`field ${field} is not expected`);
  }
}

/** Decodes an Event by event.proto. */
function decode(bytes: Uint8Array): ReadEvent {
  const reader = new BinaryReader(bytes);
  const event: ReadEvent = { time: 0, step: 0, values: {} };
  fields(reader, bytes.length, (field) => {
    if (field === 1) event.time = reader.double();
    else if (field === 2) event.step = Number(reader.int64());
    else if (field === 3) event.version = reader.string();
    else if (field === 7)
      fields(reader, reader.uint32(), () => {
        event.session = reader.int32();
        return true;
      });
    else if (field === 5)
      fields(reader, reader.uint32(), () => {
        let tag = "";
        let value = Number.NaN;
        fields(reader, reader.uint32(), (part) => {
          if (part === 1) tag = reader.string();
          else if (part === 2) value = reader.float();
          return part < 3;
        });
        event.values[tag] = value;
        return true;
      });
    return [1, 2, 3, 5, 7].includes(field);
  });
  return event;
}

/** Reads the records of a TFRecord file and checks their checksums. */
function read(path: string): ReadEvent[] {
  const bytes = readFileSync(path);
  const events: ReadEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(maskedCrc32c(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(maskedCrc32c(data));
    events.push(decode(data));
    at += 16 + length;
  }
  return events;
}

describe("checksums", () => {
  test.each([
    ["the check value", Buffer.from("123456789"), 0xe3069283],
    ["32 zeros (RFC 3720)", Buffer.alloc(32), 0x8a9136aa],
    ["32 ones (RFC 3720)", Buffer.alloc(32, 0xff), 0x62a8ab43],
    ["0 to 31 (RFC 3720)", Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
  ])("of %s", (_, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
  });

  test("are masked as in the header of a record of 24 bytes, which TensorFlow writes at the start of its files", () => {
    expect(maskedCrc32c(Buffer.from([24, 0, 0, 0, 0, 0, 0, 0]))).toBe(0x224b7fa3);
  });
});

describe("an event file", () => {
  test("begins with its version and has the values of each step as float32", () => {
    const file = new EventFile(folder(), 0);
    file.add(0, { "train/loss": 0.1, "train/rate": undefined });
    file.add(2 ** 40, { ü: Number.NaN, "train/loss": 1e300 });
    file.close();
    expect(file.path).toMatch(/\/events\.out\.tfevents\.\d{10}\.\S+\.\d+\.\d+$/);
    const [first, second, third, ...more] = read(file.path);
    expect(first).toMatchObject({ step: 0, version: "brain.Event:2", values: {} });
    expect(second).toMatchObject({ step: 0, values: { "train/loss": Math.fround(0.1) } });
    expect(third).toMatchObject({ step: 2 ** 40, values: { ü: Number.NaN, "train/loss": Number.POSITIVE_INFINITY } });
    expect(more).toEqual([]);
    expect(Math.abs((second?.time ?? 0) - Date.now() / 1000)).toBeLessThan(3600);
  });

  test("of a resumed run says from which step on earlier files do not count", () => {
    const file = new EventFile(folder(), 30);
    file.close();
    expect(read(file.path)).toMatchObject([{ version: "brain.Event:2" }, { step: 30, session: 1 }]);
  });

  test("that cannot be written is an error", async () => {
    await expectError(() => new EventFile(join(folder(), "missing"), 0), "invalid-file", "could not be written");
  });
});

test("train --tensorboard writes the records and evaluations of a run, and another file when it is resumed", async () => {
  const [cwd, data] = [folder(), tinyData(folder())];
  const plain = await run(trainTiny(data, "--budget", "2", "--run", "plain"), { cwd });
  expect(plain.code).toBe(0);
  const events = (name: string) => readdirSync(join(cwd, name)).filter((file) => file.includes("tfevents"));
  expect(events("plain")).toEqual([]);
  const more = ["--budget", "12", "--evaluate-every", "5", "--checkpoint-every", "5", "--tensorboard", "--run", "a"];
  expect((await run(trainTiny(data, ...more), { cwd })).code).toBe(0);
  const [name = ""] = events("a");
  const found = read(join(cwd, "a", name)).slice(1);
  const losses = found.flatMap(({ step, values }) => ("train/loss" in values ? [[step, values["train/loss"]]] : []));
  expect(losses).toEqual(metricsOf(join(cwd, "a")).map(({ step, loss }) => [step, Math.fround(loss)]));
  const evaluations = readFileSync(join(cwd, "a/evaluations.jsonl"), "utf8").trimEnd().split("\n");
  const validations = found.filter(({ values }) => "validation/loss" in values);
  expect(validations.map(({ step }) => step)).toEqual([4, 9, 11]);
  expect(validations.slice(0, 2).map(({ values }) => values["validation/loss"])).toEqual(
    evaluations.map((line) => Math.fround(JSON.parse(line).loss)),
  );
  // As if it had been killed after its second checkpoint.
  rmSync(join(cwd, "a/checkpoints/step-12.safetensors"));
  expect((await run(["train", "--resume", "a"], { cwd })).code).toBe(0);
  const second = events("a").find((file) => file !== name) ?? expect.unreachable();
  expect(read(join(cwd, "a", second)).slice(1, 3)).toMatchObject([{ step: 10, session: 1 }, { step: 10 }]);
  expect(existsSync(join(cwd, "a", name))).toBe(true);
});
