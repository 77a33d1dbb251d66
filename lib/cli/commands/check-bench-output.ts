import type { RelatedRow } from "../../bench/index.js";
import { table } from "../output/text.js";

/** Formats with three digits, because measurements are not more precise. */
function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

const columns: readonly (readonly [heading: string, cell: (row: RelatedRow) => string])[] = [
  ["measured", ({ name, contender }) => (contender === "stepsize" ? name : `${name}, ${contender}`)],
  ["ms", ({ milliseconds }) => digits(milliseconds.median)],
  ["quartiles", ({ milliseconds: { lower, upper } }) => `${digits(lower)}–${digits(upper)}`],
  ["rate", ({ rate }) => (rate ? `${digits(rate.value)} ${rate.unit}` : "")],
  ["of limit", ({ share }) => (share === undefined ? "" : `${(100 * share).toFixed(0)} %`)],
  ["H200 ms", ({ predictedMilliseconds }) => (predictedMilliseconds ? digits(predictedMilliseconds) : "")],
  ["PyTorch ms", ({ torch, milliseconds }) => (torch === undefined ? "" : digits(torch * milliseconds.median))],
  ["PyTorch", ({ torch }) => (torch === undefined ? "" : `× ${torch.toPrecision(3)}`)],
];

/**
 * Formats the rows of the benchmark, a table for each group. Times of PyTorch are beside those of the library; rows of
 * PyTorch alone are shown if the library has none for the same work.
 */
export function checkBenchTables(rows: readonly RelatedRow[]): string {
  const shown = rows.filter(
    (row) =>
      row.contender !== "PyTorch" ||
      !rows.some((one) => one.contender !== "PyTorch" && one.group === row.group && one.name === row.name),
  );
  const groups = [...new Set(shown.map(({ group }) => group))];
  const body = groups.map((group) => {
    const cells = shown.filter((row) => row.group === group).map((row) => columns.map(([, cell]) => cell(row)));
    return `${group}\n${table([columns.map(([heading]) => heading), ...cells], [1, 2, 3, 4, 5, 6, 7])}`;
  });
  const legend =
    "of limit: of the rate of a copy of as many bytes, or of the fastest product, in this run. H200 ms: the predicted " +
    "time on an H200.";
  return [...body, legend].join("\n\n");
}
