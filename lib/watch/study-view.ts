import { join } from "node:path";
import { isLocked } from "../files/folder-lock.js";
import { isObject } from "../realms.js";
import { finiteIn, textIn } from "./evaluation-list.js";
import { JsonTail } from "./json-tail.js";
import type { StudyCurve, StudyRow } from "./messages.js";

/** Largest number of runs of a study that are kept. */
const maxRuns = 5000;
/** Largest number of points of a curve. A study writes at most 50. */
const maxPoints = 200;

/** The folder of a study that is being watched. */
export class StudyView {
  readonly kind = "study";
  readonly id: number;
  readonly name: string;
  readonly path: string;
  isRead = false;
  readonly #file: JsonTail;
  #curves: StudyCurve[] = [];
  #isRunning = false;
  #version = 0;

  constructor(id: number, path: string, name: string) {
    this.id = id;
    this.path = path;
    this.name = name;
    this.#file = new JsonTail(join(path, "runs.jsonl"));
  }

  get isActive(): boolean {
    return this.#isRunning;
  }

  /** Reads the runs that were finished since the last call, and returns whether its row has changed. */
  async update(): Promise<boolean> {
    const changed = await this.#file.read({
      reset: () => {
        this.#curves = [];
      },
      line: (value) => {
        const curve = curveIn(value);
        if (curve && this.#curves.length < maxRuns) this.#curves.push(curve);
      },
    });
    if (changed) this.#version++;
    const isRunning = await isLocked(join(this.path, "lock"));
    const hasStarted = isRunning !== this.#isRunning;
    this.#isRunning = isRunning;
    const isFirst = !this.isRead;
    this.isRead = true;
    return changed || hasStarted || isFirst;
  }

  get row(): StudyRow {
    return {
      id: this.id,
      name: this.name,
      isRunning: this.#isRunning,
      runs: this.#curves.length,
      version: this.#version,
    };
  }

  get curves(): readonly StudyCurve[] {
    return this.#curves;
  }
}

/** Reads a line of `runs.jsonl`. Its fields are those of `RunRecord` in lib/study/records.ts. */
function curveIn(value: unknown): StudyCurve | undefined {
  if (!isObject(value) || !isObject(value["run"]) || !isObject(value["curve"])) return undefined;
  const { run, curve, status, validation, onTheWay } = value;
  const { model, data, optimizer, schedule, purpose, seed } = run;
  if (!isObject(data) || !isObject(optimizer) || !isObject(schedule)) return undefined;
  const score = isObject(validation) ? validation : {};
  return {
    group: [model, data["name"], optimizer["name"], `${finiteIn(schedule["budget"]) ?? "?"} steps`]
      .map(textIn)
      .join(", "),
    schedule: textIn(schedule["name"]),
    purpose: purpose === "final" ? "final" : "tuning",
    seed: finiteIn(seed) ?? 0,
    status: textIn(status),
    validationLoss: finiteIn(score["loss"]),
    validationAccuracy: finiteIn(score["accuracy"]),
    step: numbersIn(curve["step"]).map((step) => step ?? 0),
    loss: numbersIn(curve["loss"]),
    learningRate: numbersIn(curve["learningRate"]),
    onTheWay: pairsIn(onTheWay),
  };
}

function numbersIn(value: unknown): (number | null)[] {
  return Array.isArray(value) ? value.slice(0, maxPoints).map(finiteIn) : [];
}

function pairsIn(value: unknown): (readonly [number, number])[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, maxPoints).flatMap((pair) => {
    const [step, loss] = numbersIn(pair);
    return typeof step === "number" && typeof loss === "number" ? [[step, loss] as const] : [];
  });
}
