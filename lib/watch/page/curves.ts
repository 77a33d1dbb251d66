import { centeredMean } from "../../report/smooth.js";
import type { CurveField, EvaluationPoint, RunCurves } from "../messages.js";
import type { Line, Zoom } from "./chart.js";
import type { Look } from "./palette.js";

/** The curves of one run as the page has them. */
interface Loaded {
  readonly generation: number;
  readonly version: number;
  readonly width: number;
  readonly from: number;
  lastStep: number;
  readonly seconds: (number | null)[];
  readonly fields: Record<string, { mean: (number | null)[]; min: (number | null)[]; max: (number | null)[] }>;
  readonly evaluations: readonly EvaluationPoint[];
}

/** The curves of all shown runs, which are requested in pieces. */
export class CurveStore {
  #whole = new Map<number, Loaded>();
  #part: { readonly key: string; readonly curves: Map<number, Loaded> } | undefined;

  /**
   * Requests what is new of some runs.
   * @param zoom the part of the axis; the whole without it
   */
  async load(ids: readonly number[], { axis, zoom }: { axis: "step" | "time"; zoom: Zoom | undefined }): Promise<void> {
    if (ids.length === 0) return;
    if (zoom) {
      const query = new URLSearchParams({
        runs: ids.join(","),
        by: axis,
        from: String(zoom.from),
        to: String(zoom.to),
      });
      const answer = await request(query);
      this.#part = { key: keyOf(axis, zoom), curves: new Map(answer.map((curve) => [curve.id, taken(curve)])) };
      return;
    }
    this.#part = undefined;
    const known = ids.map((id) => {
      const loaded = this.#whole.get(id);
      if (!loaded) return String(id);
      return [id, loaded.generation, loaded.width, loaded.seconds.length, loaded.version].join(":");
    });
    for (const curve of await request(new URLSearchParams({ runs: known.join(",") }))) {
      const loaded = this.#whole.get(curve.id);
      const continues =
        loaded && curve.from > 0 && loaded.generation === curve.generation && loaded.width === curve.width;
      this.#whole.set(curve.id, continues ? joined(loaded, curve) : taken(curve));
    }
  }

  /** Forgets the runs that are not shown. */
  keep(ids: ReadonlySet<number>): void {
    for (const id of this.#whole.keys()) if (!ids.has(id)) this.#whole.delete(id);
  }

  /** Returns the curves of a run for a view, if they are there. The whole stands in for a part that is not loaded yet. */
  get(id: number, axis: "step" | "time", zoom: Zoom | undefined): Loaded | undefined {
    const part = zoom && this.#part?.key === keyOf(axis, zoom) ? this.#part.curves.get(id) : undefined;
    return part ?? this.#whole.get(id);
  }

  /** Names of all fields of some runs, in order. */
  fields(ids: readonly number[]): string[] {
    return [...new Set(ids.flatMap((id) => Object.keys(this.#whole.get(id)?.fields ?? {})))];
  }

  /** Whether any of the runs has evaluations, and with accuracy. */
  evaluations(ids: readonly number[]): { readonly loss: boolean; readonly accuracy: boolean } {
    const points = ids.flatMap((id) => this.#whole.get(id)?.evaluations ?? []);
    return { loss: points.length > 0, accuracy: points.some(({ accuracy }) => accuracy !== null) };
  }
}

async function request(query: URLSearchParams): Promise<readonly RunCurves[]> {
  const response = await fetch(`/curves?${query}`);
  if (!response.ok) throw new Error(`${response.status}`);
  const curves: readonly RunCurves[] = await response.json();
  return curves;
}

function keyOf(axis: string, { from, to }: Zoom): string {
  return `${axis} ${from} ${to}`;
}

function taken({ generation, version, width, from, lastStep, seconds, fields, evaluations }: RunCurves): Loaded {
  const copies = Object.entries(fields).map(([name, { mean, min = [], max = [] }]) => [
    name,
    { mean: [...mean], min: [...min], max: [...max] },
  ]);
  return {
    generation,
    version,
    width,
    from,
    lastStep,
    seconds: [...seconds],
    fields: Object.fromEntries(copies),
    evaluations,
  };
}

/** Replaces the last bucket, which has grown, and appends those after it. */
function joined(loaded: Loaded, curve: RunCurves): Loaded {
  const { fields, seconds } = loaded;
  seconds.splice(curve.from, seconds.length, ...curve.seconds);
  for (const [name, { mean, min = [], max = [] }] of Object.entries(curve.fields)) {
    const known = fields[name] ?? { mean: [], min: [], max: [] };
    fields[name] = known;
    // A field that a run began to record later has no values before.
    while (known.mean.length < curve.from) known.mean.push(null);
    known.mean.splice(curve.from, known.mean.length, ...mean);
    known.min.splice(curve.from, known.min.length, ...min);
    known.max.splice(curve.from, known.max.length, ...max);
  }
  return { ...loaded, version: curve.version, lastStep: curve.lastStep, evaluations: curve.evaluations };
}

/** How the lines of a run are made. */
export interface LineOptions {
  readonly label: string;
  readonly look: Look;
  readonly axis: "step" | "time";
  /** Share of the points over which values are averaged; 0 for none. */
  readonly smoothing: number;
}

/** Returns the line of a field; `undefined` if the run has no values of it. */
export function lineOf(loaded: Loaded, name: string, { label, look, axis, smoothing }: LineOptions): Line | undefined {
  const field: CurveField | undefined = loaded.fields[name];
  if (!field) return undefined;
  const positions = positionsOf(loaded, axis);
  const kept = field.mean.flatMap((value, i) => (value === null || positions[i] === null ? [] : [i]));
  if (kept.length === 0) return undefined;
  const pick = (values: readonly (number | null)[]) => kept.map((i) => values[i] ?? Number.NaN);
  const raw = pick(field.mean);
  const span = Math.round(smoothing * raw.length);
  const isSmoothed = span > 2;
  const hasRange = loaded.width > 1 && field.min !== undefined && field.min.length > 0 && field.max !== undefined;
  return {
    label,
    look,
    x: pick(positions),
    y: isSmoothed ? centeredMean(raw, span) : raw,
    raw: isSmoothed ? raw : undefined,
    range: hasRange ? { min: pick(field.min ?? []), max: pick(field.max ?? []) } : undefined,
  };
}

/** Returns the line of the evaluations; `undefined` if there are none. */
export function evaluationLine(
  loaded: Loaded,
  name: "loss" | "accuracy",
  { label, look, axis }: LineOptions,
): Line | undefined {
  const points = loaded.evaluations.flatMap((point) => {
    const x = axis === "step" ? point.step : secondsAt(loaded, point.step);
    const y = point[name];
    return x === undefined || y === null ? [] : [{ x, y }];
  });
  return points.length === 0 ? undefined : { label, look, x: points.map(({ x }) => x), y: points.map(({ y }) => y) };
}

/** The middle of each bucket, or the training time at its end. */
function positionsOf({ width, from, lastStep, seconds }: Loaded, axis: "step" | "time"): readonly (number | null)[] {
  if (axis === "time") return seconds;
  return seconds.map((_, i) => {
    const first = (from + i) * width;
    return (first + Math.min(lastStep, first + width - 1)) / 2;
  });
}

/** Training time after a number of steps. */
function secondsAt({ width, from, seconds }: Loaded, steps: number): number | undefined {
  const bucket = Math.floor(Math.max(0, steps - 1) / width) - from;
  return seconds[Math.min(bucket, seconds.length - 1)] ?? undefined;
}
