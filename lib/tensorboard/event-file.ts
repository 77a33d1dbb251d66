import { closeSync, openSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { StepsizeError } from "../errors.js";
import { messageOf } from "../realms.js";
import { maskedCrc32c } from "./crc32c.js";

// The numbers of fields are those of event.proto and summary.proto
// (https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto).

/** Time between two writes, in milliseconds. TensorBoard looks for new events every few seconds. */
const flushEvery = 1000;
let opened = 0;

/**
 * A file of scalars for TensorBoard: an event file of version 2 with TFRecord framing. Events are written about once per
 * second.
 */
export class EventFile {
  /** Path of the file. */
  readonly path: string;
  readonly #file: number;
  #pending: Uint8Array[] = [];
  #flushedAt = performance.now();

  /**
   * Creates a file in a folder, beside those of earlier processes of the run.
   *
   * @param firstStep the first step that follows. TensorBoard drops the steps from there on that earlier files have,
   * because a resumed run makes them again.
   * @throws StepsizeError `invalid-file` if it cannot be written
   */
  constructor(folder: string, firstStep: number) {
    const seconds = Date.now() / 1000;
    const unique = `${String(Math.floor(seconds)).padStart(10, "0")}.${hostname()}.${process.pid}.${opened++}`;
    this.path = join(folder, `events.out.tfevents.${unique}`);
    this.#file = this.#attempt(() => openSync(this.path, "wx"));
    this.#add(event(seconds, 0, (writer) => writer.tag(3, WireType.LengthDelimited).string("brain.Event:2")));
    const start = 1;
    if (firstStep > 0)
      this.#add(
        event(seconds, firstStep, (writer) => {
          writer.tag(7, WireType.LengthDelimited).fork();
          writer.tag(1, WireType.Varint).int32(start);
          writer.join();
        }),
      );
    this.flush();
  }

  /**
   * Adds the values of a step.
   *
   * @param values numbers by tag, such as `train/loss`; `undefined` is left out
   * @throws StepsizeError `invalid-file` if the file cannot be written
   */
  add(step: number, values: Readonly<Record<string, number | undefined>>): void {
    this.#add(
      event(Date.now() / 1000, step, (writer) => {
        writer.tag(5, WireType.LengthDelimited).fork();
        for (const [tag, value] of Object.entries(values)) {
          if (value === undefined) continue;
          writer.tag(1, WireType.LengthDelimited).fork();
          writer.tag(1, WireType.LengthDelimited).string(tag);
          writer.tag(2, WireType.Bit32).float(inRange(value));
          writer.join();
        }
        writer.join();
      }),
    );
    if (performance.now() - this.#flushedAt > flushEvery) this.flush();
  }

  /**
   * Writes the events that were added.
   * @throws StepsizeError `invalid-file` if the file cannot be written
   */
  flush(): void {
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#flushedAt = performance.now();
    this.#attempt(() => {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
    });
  }

  /** Writes the rest, if that is possible, and closes the file. */
  close(): void {
    try {
      this.flush();
    } catch {
      // The run ends with its own error. Its records are in another file.
    }
    closeSync(this.#file);
  }

  #add(bytes: Uint8Array): void {
    this.#pending.push(framed(bytes));
  }

  #attempt<R>(action: () => R): R {
    try {
      return action();
    } catch (error) {
      const message = `${this.path}: could not be written (${messageOf(error)})`;
      throw new StepsizeError("invalid-file", message, { cause: error });
    }
  }
}

/** Returns the bytes of an Event with a time, a step and one of its contents. */
function event(seconds: number, step: number, write: (writer: BinaryWriter) => void): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Bit64).double(seconds);
  writer.tag(2, WireType.Varint).int64(step);
  write(writer);
  return writer.finish();
}

/** Returns a record of a TFRecord file: the length and the data, each with its checksum. */
function framed(data: Uint8Array): Buffer {
  const record = Buffer.alloc(12 + data.length + 4);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  record.set(data, 12);
  record.writeUInt32LE(maskedCrc32c(data), 12 + data.length);
  return record;
}

/** A number that float32 can represent. The library refuses larger ones, and TensorBoard shows infinity as such. */
function inRange(value: number): number {
  return Math.fround(value);
}
