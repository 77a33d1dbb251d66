import { isNotFound } from "../errors.js";
import { writeAtomically } from "../files/atomic-file.js";
import { anyNumber, JsonLinesFile, jsonLine } from "../files/json-lines-file.js";
import { optimizerNames } from "../optim/by-name.js";
import { readFile } from "../read-file.js";
import { count, finite, flag, list, name, nullable, object, oneOf, optional, Place, text } from "../schema.js";
import type { RunSpec } from "./plan.js";

/** Loss and accuracy over a split. */
export interface SplitResult {
  readonly loss: number;
  readonly accuracy?: number;
}

/** One finished run: a line of `runs.jsonl`. */
export interface RunRecord {
  /** Of {@link run}: see `runId`. */
  readonly id: string;
  readonly run: RunSpec;
  readonly status: "completed" | "diverged";
  /** Steps made; of a run that diverged, before the one that was not finite. */
  readonly steps: number;
  /** Mean over the last twentieth of the steps; `null` where it diverged. */
  readonly trainLoss: number | null;
  /** After the last step. Absent where it diverged. */
  readonly validation?: SplitResult;
  /** Of final runs, read once. */
  readonly test?: SplitResult;
  /** On the validation split on the way: steps done, loss, accuracy. */
  readonly onTheWay?: readonly (readonly number[])[];
  /** At most 50 steps with their learning rate and the loss around them. */
  readonly curve: {
    readonly step: readonly number[];
    readonly learningRate: readonly number[];
    readonly loss: readonly number[];
  };
  /** Of wall time, evaluations included. */
  readonly seconds: number;
  /** Of the data: see `Task.fingerprint`. */
  readonly fingerprint: string;
  /** Bits are the same for one device, instruction set and version. */
  readonly device: string;
  readonly version: string;
}

/** The records of a file, and the lines that hold none. */
export interface ReadRecords {
  readonly records: ReadonlyMap<string, RunRecord>;
  readonly damaged: readonly string[];
  /** Whether the file ends in the middle of a line. */
  readonly torn: boolean;
}

/** A record takes a few kilobytes: this is more runs than any study has. */
const maxBytes = 256 * 2 ** 20;

/** Reads `runs.jsonl`; a file that is not there has none. Of two records of one run the first counts. */
export async function readRecords(path: string): Promise<ReadRecords> {
  const text = await readFile(path, maxBytes).then(String, (error: unknown) => {
    if (isNotFound(error)) return "";
    throw error;
  });
  const records = new Map<string, RunRecord>();
  const damaged: string[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const record = parse(line);
    if (record === undefined) damaged.push(line);
    else if (!records.has(record.id)) records.set(record.id, record);
  }
  return { records, damaged, torn: text !== "" && !text.endsWith("\n") };
}

/** A study's records, for the one process that adds to them. */
export class RunRecords {
  readonly #file: JsonLinesFile<RunRecord>;
  readonly #records: Map<string, RunRecord>;

  private constructor(path: string, records: ReadonlyMap<string, RunRecord>) {
    this.#file = new JsonLinesFile(path);
    this.#records = new Map(records);
  }

  /**
   * Opens the file. Lines that hold no record are moved into a file beside it, and their runs are made again.
   * @param note called with a message about such lines
   */
  static async open(path: string, note: (message: string) => void): Promise<RunRecords> {
    const { records, damaged, torn } = await readRecords(path);
    if (damaged.length > 0) {
      const aside = `${path}.damaged-${Date.now()}`;
      await writeAtomically(aside, [Buffer.from(damaged.map((line) => `${line}\n`).join(""))]);
      const lines = damaged.length === 1 ? "1 line holds" : `${damaged.length} lines hold`;
      note(`${path}: ${lines} no finished run; set aside in ${aside}, and made again`);
    }
    // A whole record without its line's end would run into the next one.
    if (damaged.length > 0 || torn)
      await writeAtomically(path, [Buffer.from([...records.values()].map(lineOf).join(""))]);
    return new RunRecords(path, records);
  }

  get all(): ReadonlyMap<string, RunRecord> {
    return this.#records;
  }

  /** @throws StepsizeError `invalid-file` where it cannot be written (a full disk); the run is not counted then */
  add(record: RunRecord): void {
    this.#file.add(record);
    this.#records.set(record.id, record);
  }

  close(): void {
    this.#file.close();
  }
}

function lineOf(record: RunRecord): string {
  return `${jsonLine(record)}\n`;
}

const splitResult = object<SplitResult>({ loss: anyNumber, accuracy: optional(anyNumber) });
const numbers = list(anyNumber, { words: "a list of numbers" });
const natural = optional(count);
const texts = optional(list(text, { words: "a list of texts" }));

const fields = object<RunRecord>({
  id: name,
  run: object<RunSpec>({
    purpose: oneOf(["tuning", "final"]),
    model: text,
    data: object<RunSpec["data"]>({
      name: text,
      classes: natural,
      context: natural,
      size: optional(text),
      fit: optional(oneOf(["crop", "letterbox"])),
      channels: natural,
      target: optional(text),
      task: optional(oneOf(["regression", "classification"])),
      categories: texts,
      ignore: texts,
      missing: texts,
      test: optional(finite),
      separator: optional(text),
      decimal: optional(oneOf([".", ","])),
      thousands: optional(text),
    }),
    validation: optional(object<NonNullable<RunSpec["validation"]>>({ share: finite, seed: count })),
    evaluationItems: natural,
    batch: count,
    accumulate: count,
    augment: flag,
    optimizer: object<RunSpec["optimizer"]>({
      name: oneOf(optimizerNames),
      weightDecay: finite,
      momentum: optional(finite),
      clipNorm: optional(finite),
    }),
    schedule: object<RunSpec["schedule"]>({ name: text }),
    seed: count,
  }),
  status: oneOf(["completed", "diverged"]),
  steps: count,
  trainLoss: nullable(anyNumber),
  validation: optional(splitResult),
  test: optional(splitResult),
  onTheWay: optional(list(numbers, { words: "a list of evaluations" })),
  curve: object<RunRecord["curve"]>({ step: numbers, learningRate: numbers, loss: numbers }),
  seconds: finite,
  fingerprint: text,
  device: text,
  version: text,
});

function parse(line: string): RunRecord | undefined {
  try {
    const record = fields(JSON.parse(line), new Place("line"));
    const { run, status, validation, test } = record;
    // A run whose results are not finite has diverged, and did not complete.
    const isWhole =
      status === "diverged" ||
      (Number.isFinite(validation?.loss) && (run.purpose === "tuning" || Number.isFinite(test?.loss)));
    return isWhole ? record : undefined;
  } catch {
    return undefined;
  }
}
