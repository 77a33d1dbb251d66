// The results of `stepsize check --bench`, and how they relate to each other.
import { atLeastOne, count, finite, object, oneOf, optional, text } from "../schema.js";
import type { Cost } from "./cost.js";
import type { Spread } from "./interleave.js";
import { operationGroups } from "./operation-cases.js";

/** The group of the rows that measure copies. */
export const copyGroup = "copy";

const groupNames = [copyGroup, "optimizer", ...operationGroups, "resnet18", "olmo-36m", "PyTorch"] as const;
/** Parts of the benchmark. Each can be measured in a process of its own. */
export type GroupName = (typeof groupNames)[number];

const contenderNames = ["stepsize", "captured", "PyTorch"] as const;
/** Who did the work of a row. `captured` is a replay of a captured step. */
export type ContenderName = (typeof contenderNames)[number];

/** What a row measures. Rows with the same group and name did the same work. */
export interface RowTitle {
  readonly group: GroupName;
  readonly name: string;
  readonly contender: ContenderName;
}

/** What a row moves and computes. */
export type Work = Pick<Cost, "bytes" | "flops">;

/** A measurement. */
export interface MeasuredRow extends RowTitle {
  readonly milliseconds: Spread;
  /** Number of timed passes. */
  readonly rounds: number;
  /** The work; absent if it is known only from the row of another contender. */
  readonly cost?: Work;
  /** Images or tokens of a training step. */
  readonly items?: number;
  /** Expected time on an H200; absent for PyTorch. */
  readonly predictedMilliseconds?: number;
  /** Time of the host: of the calls of an operation, or in which the event loop was busy during a step. */
  readonly hostMicroseconds?: number;
  /** Implementation that PyTorch selected. */
  readonly kind?: string;
}

/** Checks that a value is a row, as it is in a report. */
export const measuredRow = object<MeasuredRow>({
  group: oneOf(groupNames),
  name: text,
  contender: oneOf(contenderNames),
  milliseconds: object<Spread>({ median: finite, lower: finite, upper: finite }),
  rounds: atLeastOne,
  cost: optional(object<Work>({ bytes: count, flops: count })),
  items: optional(count),
  predictedMilliseconds: optional(finite),
  hostMicroseconds: optional(finite),
  kind: optional(text),
});

/** A rate with its unit. */
export interface Rate {
  readonly value: number;
  readonly unit: "GB/s" | "TFLOP/s";
}

/** A row beside the limits of the same run. */
export interface RelatedRow extends MeasuredRow {
  /** Work per second; absent if the work is not known. */
  readonly rate?: Rate;
  /** Rate divided by the rate of a copy of as many bytes, or by the matrix rate; absent if that was not measured. */
  readonly share?: number;
  /** PyTorch's time divided by this one. Above 1 this one is faster. */
  readonly torch?: number;
}

/**
 * Computes the time of a copy from the copies that were measured: between two sizes the time grows linearly, and
 * outside of them the rate is constant.
 *
 * @returns `undefined` if no copy was measured
 */
export function copyMilliseconds(rows: readonly MeasuredRow[], bytes: number): number | undefined {
  const points = rows
    .flatMap(({ group, cost, milliseconds }) =>
      group === copyGroup && cost ? [{ bytes: cost.bytes, time: milliseconds.median }] : [],
    )
    .sort((a, b) => a.bytes - b.bytes);
  const above = points.find((point) => point.bytes >= bytes);
  const below = points.findLast((point) => point.bytes <= bytes);
  if (above && below) {
    if (above === below) return above.time;
    return below.time + ((above.time - below.time) * (bytes - below.bytes)) / (above.bytes - below.bytes);
  }
  const nearest = above ?? below;
  return nearest && (nearest.time * bytes) / nearest.bytes;
}

function rateOf({ bytes, flops }: Work, milliseconds: number): Rate {
  return flops > 0
    ? { value: flops / milliseconds / 1e9, unit: "TFLOP/s" }
    : { value: bytes / milliseconds / 1e6, unit: "GB/s" };
}

/** Returns the highest rate of a matrix product in TFLOP/s, of any contender; `undefined` if none was measured. */
export function matrixRate(rows: readonly MeasuredRow[]): number | undefined {
  const rates = rows.flatMap(({ group, cost, milliseconds }) =>
    group === "products" && cost ? [rateOf(cost, milliseconds.median).value] : [],
  );
  return rates.length === 0 ? undefined : Math.max(...rates);
}

/** Computes the rate of each row, its share of the limit of the same run, and its relation to PyTorch. */
export function relate(rows: readonly MeasuredRow[]): RelatedRow[] {
  const matrix = matrixRate(rows);
  return rows.map((row) => {
    const { group, name, milliseconds } = row;
    const same = rows.filter((one) => one.group === group && one.name === name);
    const rival = same.find(({ contender }) => contender === "PyTorch");
    const related = rival && rival !== row && { torch: rival.milliseconds.median / milliseconds.median };
    const cost = same.find((one) => one.cost)?.cost;
    if (!cost) return { ...row, ...related };
    const rate = rateOf(cost, milliseconds.median);
    const copy = copyMilliseconds(rows, cost.bytes);
    const limit = rate.unit === "TFLOP/s" ? matrix : copy && cost.bytes / copy / 1e6;
    const share = limit !== undefined && group !== copyGroup && { share: rate.value / limit };
    return { ...row, cost, rate, ...share, ...related };
  });
}
