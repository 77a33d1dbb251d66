import {
  type BenchGroup,
  benchGroups,
  type MeasuredRow,
  measuredRow,
  type PlannedRow,
  type RelatedRow,
  relate,
  Stopwatch,
} from "../../bench/index.js";
import { itemAt } from "../../lookup.js";
import { codeOf, messageOf } from "../../realms.js";
import { list, object, Place } from "../../schema.js";
import type { Finding, Json, StageReport } from "../report.js";
import type { CaseContext, CheckCase, Stage } from "../stage.js";

/** Timed passes of a row. */
const rounds = { full: 7, small: 1 };

/** Seconds that a row may take. PyTorch takes many of them to start. */
const limit = 120;

/** The benchmark. Cases have the names of the full sizes; a row has the name of the sizes that were measured. */
export const benchStage: Stage = {
  name: "bench",
  title: "times beside those of a copy, of predictions and of PyTorch",
  optional: true,
  groups: () => {
    const small = benchGroups("small");
    return benchGroups("full").map((full, i) => caseGroup(full, itemAt(small, i)));
  },
};

function caseGroup({ name, rows }: BenchGroup, small: BenchGroup) {
  const cases = rows.map((row, i) => benchCase(name, { full: row, small: itemAt(small.rows, i) }));
  return { name, cases, limit };
}

function benchCase(group: string, row: { readonly full: PlannedRow; readonly small: PlannedRow }): CheckCase {
  const { title } = row.full;
  return {
    // The rows of PyTorch are those of several groups.
    name: title.group === group ? `${title.name}, ${title.contender}` : `${title.group}, ${title.name}`,
    run: (context) => {
      // The full sizes are for a GPU. A CPU would take minutes.
      const size = /^cuda:\d+$/.test(context.device.name) ? "full" : "small";
      return findingOf(row[size], context, rounds[size]);
    },
  };
}

async function findingOf({ title, measure }: PlannedRow, { device }: CaseContext, rounds: number): Promise<Finding> {
  // The tensors of this row have other sizes than those of the one before, so cached memory would not be reused.
  device.trim();
  const stopwatch = new Stopwatch(device);
  try {
    const measured = await measure({ device, stopwatch, rounds, shouldContinue: () => true });
    return { measured: { rows: measured.map(json) } };
  } catch (error) {
    // A row that does not fit into the memory of this device, and an error of PyTorch, are no fault of the library.
    if (codeOf(error) !== "out-of-memory" && title.contender !== "PyTorch") throw error;
    return { message: `not measured: ${messageOf(error)}` };
  } finally {
    stopwatch.dispose();
  }
}

/** Returns a row as it is in the report. */
function json(row: MeasuredRow): Json {
  const { milliseconds, cost, ...rest } = row;
  return { ...rest, milliseconds: { ...milliseconds }, ...(cost && { cost: { ...cost } }) };
}

const figures = object({ rows: list(measuredRow, { words: "an array of rows" }) });

/** Returns the rows of the stage in a report, beside the limits of the same run. */
export function benchRows(stages: readonly StageReport[]): RelatedRow[] {
  const place = new Place("the stage bench");
  const cases = stages.find(({ name }) => name === benchStage.name)?.cases ?? [];
  return relate(cases.flatMap(({ measured }) => (measured ? figures(measured, place).rows : [])));
}
