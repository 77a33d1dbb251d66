import { setImmediate } from "node:timers/promises";
import { create, tabulate } from "../schedule/index.js";
import { minimax, worstCase } from "../schedule/theory/index.js";
import { lowestOver } from "../schedule/theory/line-search.js";
import type { QuadraticsStudy, StudySchedule } from "./config.js";

/** A problem: curvatures from 1/κ to 1, so that rates are in units of 1/λ_u, and bounds on the rates. */
export interface QuadraticProblem {
  /** κ. */
  readonly conditionNumber: number;
  /** Steps. */
  readonly budget: number;
  /** No rate is above it. */
  readonly stabilityLimit: number;
  /** The lowest rate of every schedule. */
  readonly floor: number;
}

/** What one schedule leaves of an error at worst, with the parameters for which that is least. */
export interface QuadraticResult {
  readonly schedule: string;
  /** The natural logarithm of the largest |Π (1 − η_s λ)| over the curvatures; below 0 errors shrink. */
  readonly worst: number;
  readonly maxLr: number;
  readonly phi?: number;
}

/** A problem with what the best steps there are leave, and what every schedule does. */
export interface QuadraticCell extends QuadraticProblem {
  /** The natural logarithm of the best worst case. */
  readonly optimum: number;
  readonly schedules: readonly QuadraticResult[];
}

/** All problems of a study, in the order they are solved. */
export function quadraticProblems(study: QuadraticsStudy): QuadraticProblem[] {
  const { conditionNumbers, budgets, stabilityLimits, floors } = study;
  return floors.flatMap((floor) =>
    stabilityLimits
      .filter((limit) => limit > floor)
      .flatMap((stabilityLimit) =>
        conditionNumbers.flatMap((conditionNumber) =>
          budgets.map((budget) => ({ conditionNumber, budget, stabilityLimit, floor })),
        ),
      ),
  );
}

/** Finds the optimum, and tunes every schedule on its exact worst case. */
export function solveQuadratic(problem: QuadraticProblem, schedules: readonly StudySchedule[]): QuadraticCell {
  const { conditionNumber, budget, stabilityLimit: maxLr, floor: minLr } = problem;
  const { value: optimum } = minimax({ curvature: [1 / conditionNumber, 1], budget, maxLr, minLr });
  return { ...problem, optimum, schedules: schedules.map((schedule) => tuned(problem, schedule)) };
}

/** What {@link solveQuadratics} tells and asks on the way. */
export interface SolveOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, problems: number) => void;
}

/**
 * Solves all problems of a study. Some ten seconds for the usual ones: nothing is kept on the way.
 * @throws the signal's reason
 */
export async function solveQuadratics(study: QuadraticsStudy, { signal, onProgress }: SolveOptions) {
  const problems = quadraticProblems(study);
  const cells: QuadraticCell[] = [];
  for (const problem of problems) {
    // Lets signals come through.
    await setImmediate();
    signal.throwIfAborted();
    cells.push(solveQuadratic(problem, study.schedules));
    onProgress(cells.length, problems.length);
  }
  return cells;
}

/**
 * Points of the first look and golden sections around the best of them. Over UBA's φ the worst case has several minima,
 * some of them narrow; two parameters cost the product of both looks, but UBA's closed form is quick.
 */
const search = { pointsPerDecade: 24, phis: 200, peaks: 80, rounds: 40 };

function tuned({ conditionNumber, budget, stabilityLimit, floor }: QuadraticProblem, schedule: StudySchedule) {
  const curvature = [1 / conditionNumber, 1] as const;
  const make = (maxLr: number, phi?: number) =>
    create(schedule.name, { ...schedule.options, budget, maxLr, minLr: floor, ...(phi !== undefined && { phi }) });
  let best: QuadraticResult = { schedule: schedule.name, worst: Number.POSITIVE_INFINITY, maxLr: Number.NaN };
  const attempt = (maxLr: number, phi?: number): number => {
    const worst = worstCase(make(maxLr, phi), curvature).value;
    if (worst < best.worst) best = { schedule: schedule.name, worst, maxLr, ...(phi !== undefined && { phi }) };
    return worst;
  };
  // Below 1 a higher rate is better at every curvature, so no peak below that can be the best one.
  const peaks = [Math.max(floor, Math.min(1, stabilityLimit) / 2), stabilityLimit] as const;
  if (schedule.name === "uba")
    lowestOver([1e-6, 20 * conditionNumber], { grid: search.phis, rounds: search.rounds }, (phi) =>
      lowestOver(peaks, { grid: search.peaks, rounds: search.rounds }, (peak) => attempt(peak, phi)),
    );
  else {
    const grid = Math.ceil(search.pointsPerDecade * Math.log10(peaks[1] / peaks[0])) + 1;
    lowestOver(peaks, { grid, rounds: search.rounds }, attempt);
  }
  // Multiplied out step by step, also where the search went by a closed form.
  return { ...best, worst: worstCase(tabulate(make(best.maxLr, best.phi)), curvature).value };
}
