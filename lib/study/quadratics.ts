import { setImmediate } from "node:timers/promises";
import { create, tabulate } from "../schedule/index.js";
import { minimax, worstCase } from "../schedule/theory/index.js";
import { lowestOver } from "../schedule/theory/line-search.js";
import type { QuadraticsStudy, StudySchedule } from "./config.js";

/** A quadratic problem with curvatures from 1/κ to 1 and bounds on the rates. Rates are in units of 1/λ_u. */
export interface QuadraticProblem {
  /** Condition number κ. */
  readonly conditionNumber: number;
  /** Number of steps. */
  readonly budget: number;
  /** Highest allowed rate. */
  readonly stabilityLimit: number;
  /** Lowest rate of every schedule. */
  readonly floor: number;
}

/** The smallest worst-case error factor of a schedule, and the parameters that reach it. */
export interface QuadraticResult {
  readonly schedule: string;
  /** Natural logarithm of the largest |Π (1 − η_s λ)| over the curvatures; below 0, errors shrink. */
  readonly worst: number;
  readonly maxLr: number;
  readonly phi?: number;
}

/** A problem with its optimum and the result of every schedule. */
export interface QuadraticCell extends QuadraticProblem {
  /** Natural logarithm of the worst-case error factor of the optimal steps. */
  readonly optimum: number;
  readonly schedules: readonly QuadraticResult[];
}

/** Lists all problems of a study in the order in which they are solved. */
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

/** Computes the optimum of a problem and tunes every schedule on its exact worst case. */
export function solveQuadratic(problem: QuadraticProblem, schedules: readonly StudySchedule[]): QuadraticCell {
  const { conditionNumber, budget, stabilityLimit: maxLr, floor: minLr } = problem;
  const { value: optimum } = minimax({ curvature: [1 / conditionNumber, 1], budget, maxLr, minLr });
  return { ...problem, optimum, schedules: schedules.map((schedule) => tuneSchedule(problem, schedule)) };
}

/** Options of {@link solveQuadratics}. */
export interface SolveOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, problems: number) => void;
}

/**
 * Solves all problems of a study, which takes about ten seconds with default settings. Intermediate results are not
 * saved.
 *
 * @throws the signal's reason
 */
export async function solveQuadratics(study: QuadraticsStudy, { signal, onProgress }: SolveOptions) {
  const problems = quadraticProblems(study);
  const cells: QuadraticCell[] = [];
  for (const problem of problems) {
    // Signals are handled between two problems.
    await setImmediate();
    signal.throwIfAborted();
    cells.push(solveQuadratic(problem, study.schedules));
    onProgress(cells.length, problems.length);
  }
  return cells;
}

/**
 * Numbers of grid points and of rounds of golden-section search around the best point. The worst case has several minima
 * over UBA's φ, some of them narrow, so the grid is fine. For UBA, the cost is the product of both grids, but its closed
 * form is fast.
 */
const search = { pointsPerDecade: 24, phis: 200, peaks: 80, rounds: 40 };

function tuneSchedule({ conditionNumber, budget, stabilityLimit, floor }: QuadraticProblem, schedule: StudySchedule) {
  const curvature = [1 / conditionNumber, 1] as const;
  const make = (maxLr: number, phi?: number) =>
    create(schedule.name, { ...schedule.options, budget, maxLr, minLr: floor, ...(phi !== undefined && { phi }) });
  let best: QuadraticResult = { schedule: schedule.name, worst: Number.POSITIVE_INFINITY, maxLr: Number.NaN };
  const evaluate = (maxLr: number, phi?: number): number => {
    const worst = worstCase(make(maxLr, phi), curvature).value;
    if (worst < best.worst) best = { schedule: schedule.name, worst, maxLr, ...(phi !== undefined && { phi }) };
    return worst;
  };
  // Below 1, a higher rate is better at every curvature, so the best peak is not below 1.
  const peaks = [Math.max(floor, Math.min(1, stabilityLimit) / 2), stabilityLimit] as const;
  if (schedule.name === "uba")
    lowestOver([1e-6, 20 * conditionNumber], { grid: search.phis, rounds: search.rounds }, (phi) =>
      lowestOver(peaks, { grid: search.peaks, rounds: search.rounds }, (peak) => evaluate(peak, phi)),
    );
  else {
    const grid = Math.ceil(search.pointsPerDecade * Math.log10(peaks[1] / peaks[0])) + 1;
    lowestOver(peaks, { grid, rounds: search.rounds }, evaluate);
  }
  // The result is multiplied out step by step, even if the search used a closed form.
  return { ...best, worst: worstCase(tabulate(make(best.maxLr, best.phi)), curvature).value };
}
