// Runs `stepsize check` and reads its report.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { CaseReport, CheckReport } from "#lib/check/index.js";
import { type Outcome, run } from "../cli/support/cli.js";

/** The end of a check. */
export interface Checked extends Outcome {
  readonly report: CheckReport;
  /** Every case by the names of its stage, group and case. */
  readonly cases: Readonly<Record<string, CaseReport>>;
}

/** Runs a check that writes its report into a folder. `before` are shell commands that run first. */
export async function check(
  folder: string,
  args: readonly string[],
  { before, ...more }: NonNullable<Parameters<typeof run>[1]> = {},
): Promise<Checked> {
  const file = join(folder, "report.json");
  const outcome = await run(["check", ...args, "--report", file], { ...more, ...(before && { before }) });
  const report = JSON.parse(readFileSync(file, "utf8")) as CheckReport;
  const named = (report.stages ?? []).flatMap(({ name, cases }) =>
    cases.map((one) => [`${name} ${one.name}`, one] as const),
  );
  return { ...outcome, report, cases: Object.fromEntries(named) };
}
