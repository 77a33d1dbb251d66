import { constants, type Stats } from "node:fs";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { isLocked } from "../files/folder-lock.js";
import { readFile } from "../read-file.js";
import { isObject } from "../realms.js";
import { endOf } from "../report/labels.js";
import { EvaluationList, finiteIn, textIn } from "./evaluation-list.js";
import { JsonTail } from "./json-tail.js";
import type { Curve, RunCurves, RunRow, RunState } from "./messages.js";
import { numberIn, StepSeries } from "./step-series.js";

/** Larger files are no settings and no result. */
const maxJsonBytes = 2 ** 20;
/** Largest number of settings of a run that are shown. */
const maxSettings = 80;

/** Names of the splits whose predictions a run may have written. */
export const predictionSplits = ["validation", "test"] as const;

/** A range of steps, `to` excluded. */
export interface StepRange {
  readonly from: number;
  readonly to: number;
}

/** The folder of a run that is being watched: its settings, its records so far and how it stands. */
export class RunView {
  readonly kind = "run";
  readonly id: number;
  readonly name: string;
  readonly path: string;
  /** Whether its records have been read at least once. */
  isRead = false;
  readonly #metrics: JsonTail;
  readonly #evaluationsFile: JsonTail;
  #series = new StepSeries();
  #evaluations = new EvaluationList();
  #lastRecord: Readonly<Record<string, unknown>> = {};
  #settings: Readonly<Record<string, string>> = {};
  #settingsTime = -1;
  #result: Readonly<Record<string, unknown>> | undefined;
  #resultTime = -1;
  #metricsTime = 0;
  #isRunning = false;
  #began = 0;
  #predictions: Readonly<Record<string, number>> = {};
  #samples = 0;
  #hasReport = false;
  #version = 0;
  #generation = 0;
  #shown = "";

  /** @param name path of the folder below the watched one */
  constructor(id: number, path: string, name: string) {
    this.id = id;
    this.path = path;
    this.name = name;
    this.#metrics = new JsonTail(join(path, "metrics.jsonl"));
    this.#evaluationsFile = new JsonTail(join(path, "evaluations.jsonl"));
  }

  /** Whether a process may be writing its files. */
  get isActive(): boolean {
    return this.#isRunning;
  }

  /**
   * Reads what the run has written since the last call.
   * @returns whether its row has changed
   */
  async update(): Promise<boolean> {
    this.#metricsTime = await this.#readFacts();
    const changedSteps = await this.#metrics.read({
      reset: () => {
        [this.#series, this.#lastRecord] = [new StepSeries(), {}];
        this.#generation++;
      },
      line: (value, offset) => {
        this.#series.add(value, offset);
        if (isObject(value)) this.#lastRecord = value;
      },
    });
    const changedEvaluations = await this.#evaluationsFile.read({
      reset: () => {
        this.#evaluations = new EvaluationList();
      },
      line: (value) => this.#evaluations.add(value),
    });
    if (changedSteps || changedEvaluations) this.#version++;
    this.isRead = true;
    const shown = JSON.stringify(this.row);
    const changed = shown !== this.#shown;
    this.#shown = shown;
    return changed;
  }

  /** Reads everything except the records, and returns when the records were last written. */
  async #readFacts(): Promise<number> {
    const at = (name: string) => join(this.path, name);
    const [config, result, metrics, report, samples, ...predictions] = await Promise.all(
      [
        "config.json",
        "result.json",
        "metrics.jsonl",
        "report.html",
        "samples.jsonl",
        ...predictionSplits.map(predictionsFile),
      ].map((name) => timeOf(at(name))),
    );
    this.#isRunning = await isLocked(at("lock"));
    if (config !== undefined && config !== this.#settingsTime) {
      const read = await jsonIn(at("config.json"));
      if (read) [this.#settings, this.#settingsTime] = [settingsIn(read), config];
    }
    this.#began = this.#began || (config ?? 0);
    if (result === undefined) [this.#result, this.#resultTime] = [undefined, -1];
    else if (result !== this.#resultTime) [this.#result, this.#resultTime] = [await jsonIn(at("result.json")), result];
    this.#hasReport = report !== undefined;
    this.#samples = samples ?? 0;
    this.#predictions = Object.fromEntries(
      predictionSplits.flatMap((split, i) => (predictions[i] === undefined ? [] : [[split, predictions[i]]])),
    );
    return metrics ?? 0;
  }

  /** The row of the table. */
  get row(): RunRow {
    const { loss, learningRate, seconds } = this.#lastRecord;
    const result = this.#result ?? {};
    const isOver = !this.#isRunning;
    const { width, count } = this.#series;
    const rates = count > 0 ? this.#series.curve(width, count - 1).fields["itemsPerSecond"]?.mean : undefined;
    return {
      id: this.id,
      name: this.name,
      state: this.#state(),
      error: isOver && typeof result["error"] === "string" ? textIn(result["error"]) : null,
      settings: this.#settings,
      budget: finiteIn(Number(this.#settings["budget"])),
      steps: this.#series.lastStep + 1,
      seconds: finiteIn(seconds),
      loss: finiteIn(loss),
      learningRate: finiteIn(learningRate),
      itemsPerSecond: rates?.at(-1) ?? null,
      evaluation: this.#evaluations.last ?? null,
      testLoss: isOver ? finiteIn(result["testLoss"]) : null,
      testAccuracy: isOver && result["testAccuracy"] !== null ? finiteIn(result["testAccuracy"]) : null,
      began: this.#began,
      version: this.#version,
      predictions: this.#predictions,
      samples: this.#samples,
      hasReport: this.#hasReport,
    };
  }

  #state(): RunState {
    if (this.#isRunning) return "running";
    const { status, code } = this.#result ?? {};
    // A run that was resumed and killed has the result of before.
    const isLater = this.#metricsTime > this.#resultTime + 1000;
    if (this.#result === undefined || isLater) return this.#series.records > 0 ? "stopped" : "new";
    return endOf(status, code);
  }

  /** Steps per bucket of the records in memory. */
  get width(): number {
    return this.#series.width;
  }

  get lastStep(): number {
    return this.#series.lastStep;
  }

  /** Increases with every change of the curves. */
  get version(): number {
    return this.#version;
  }

  get generation(): number {
    return this.#generation;
  }

  /** The steps whose training time is in a range. */
  stepsIn(seconds: { readonly from: number; readonly to: number }): StepRange {
    return {
      from: this.#series.stepAtSeconds(seconds.from) + 1,
      to: this.#series.stepAtSeconds(seconds.to) + 1,
    };
  }

  /**
   * Returns its curves.
   *
   * @param width steps per bucket, a power of two. A smaller one than {@link width} reads the records again from the file.
   * @param range the steps; default all
   */
  async curves(width: number, range: StepRange = { from: 0, to: this.#series.lastStep + 1 }): Promise<RunCurves> {
    const { id, generation, version } = this;
    const curve = await this.#curve(width, range);
    return { id, generation, version, ...curve, evaluations: this.#evaluations.points };
  }

  async #curve(width: number, { from, to }: StepRange): Promise<Curve> {
    const first = Math.max(0, Math.floor(from / width));
    const end = Math.ceil(Math.min(to, this.#series.lastStep + 1) / width);
    if (width >= this.#series.width) return this.#series.curve(width, Math.min(first, end), end);
    return this.#detail(width, first, end);
  }

  /** Reads a part of the records again, because those in memory have fewer points. */
  async #detail(width: number, first: number, end: number): Promise<Curve> {
    // The rate needs records before its bucket.
    const start = this.#series.offsetAt(Math.max(0, first * width - 16)) ?? 0;
    const records: { step: number; record: Readonly<Record<string, unknown>> }[] = [];
    await readLines(this.#metrics.path, start, (value) => {
      if (!isObject(value)) return true;
      const step = numberIn(value["step"]);
      if (step >= first * width - 16) records.push({ step, record: value });
      return step < end * width;
    });
    // The steps are counted from a multiple of the width, so that the series needs no buckets before it.
    const base = Math.max(0, first - Math.ceil(16 / width)) * width;
    const series = new StepSeries(width, { isPart: base > 0 });
    for (const { step, record } of records)
      if (step >= base && step < end * width) series.add({ ...record, step: step - base }, 0);
    const curve = series.curve(series.width, Math.floor((first * width - base) / series.width));
    return { ...curve, from: curve.from + base / series.width, lastStep: this.#series.lastStep };
  }
}

/** Name of the file with the predictions of a split. */
export function predictionsFile(split: (typeof predictionSplits)[number]): string {
  return `predictions-${split}.json`;
}

async function timeOf(path: string): Promise<number | undefined> {
  const found: Stats | undefined = await stat(path).catch(() => undefined);
  return found?.isFile() ? found.mtimeMs : undefined;
}

/** The object in a JSON file; `undefined` if it cannot be read now. It may be half written by another program. */
async function jsonIn(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    const value: unknown = JSON.parse((await readFile(path, maxJsonBytes)).toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function settingsIn(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const entries = Object.entries(config).slice(0, maxSettings);
  return Object.fromEntries(
    entries.map(([name, value]) => [textIn(name), textIn(typeof value === "string" ? value : JSON.stringify(value))]),
  );
}

/** Reads lines of JSON from an offset until `take` returns false. */
async function readLines(path: string, start: number, take: (value: unknown) => boolean): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const chunk = Buffer.allocUnsafe(256 * 1024);
    let rest = "";
    for (let offset = start; ; ) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, offset);
      if (bytesRead === 0) return;
      offset += bytesRead;
      // Records are ASCII. Other bytes cannot hide a line feed.
      const lines = (rest + chunk.toString("latin1", 0, bytesRead)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        let value: unknown;
        try {
          value = JSON.parse(line);
        } catch {
          continue;
        }
        if (!take(value)) return;
      }
    }
  } finally {
    await file.close();
  }
}
