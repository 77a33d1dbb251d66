import { itemAt } from "../lookup.js";

/** One choice of the tuned parameters. */
export interface Trial {
  readonly maxLr: number;
  /** Only for UBA. */
  readonly phi?: number;
}

/** The score of a trial on the validation split, averaged over the tuning seeds. */
export interface Score {
  /** Whether any of its runs diverged. The means are not meaningful then. */
  readonly diverged: boolean;
  readonly loss: number;
  readonly accuracy?: number | undefined;
}

/** The first trials of a schedule: every pair of a rate and a φ. */
export interface Grid {
  readonly peakLearningRates: readonly number[];
  readonly phi?: readonly number[];
}

/** The trials of one schedule so far. */
export interface Exploration {
  /** In the order of planning. Finished trials have a score. */
  readonly trials: readonly { readonly trial: Trial; readonly score: Score | undefined }[];
  /** Number of trials that extend the grid. */
  readonly extensions: number;
  /** The best trial; absent until all trials are finished. */
  readonly best?: Trial;
  /** Whether the best trial is at the edge of the trials. */
  readonly onEdge?: boolean;
}

/** Options of {@link tune}. */
export interface TuningRules {
  readonly measure: "loss" | "accuracy";
  /** Largest number of extensions of one schedule's grid. */
  readonly extensions: number;
}

type ScoreOf = (schedule: string, trial: Trial) => Score | undefined;

/**
 * Plans the trials of tuning, as a pure function of the existing scores. Each schedule runs its grid. If the best trial is
 * at the edge, the grid is extended by one trial beyond it. Then the schedules with fewer trials get further ones between
 * the best trial and its neighbors, until all schedules have the same number.
 */
export function tune(
  grids: ReadonlyMap<string, Grid>,
  scoreOf: ScoreOf,
  rules: TuningRules,
): ReadonlyMap<string, Exploration> {
  const walks = new Map(
    [...grids].map(([name, grid]) => [name, new Walk(grid, (trial) => scoreOf(name, trial), rules)]),
  );
  for (const walk of walks.values()) walk.extend(rules.extensions);
  // The number of trials is not known until no grid can be extended any more.
  if ([...walks.values()].every(({ waiting }) => !waiting)) {
    const longest = Math.max(...[...walks.values()].map(({ length }) => length));
    for (const walk of walks.values()) walk.fillUp(longest);
  }
  return new Map([...walks].map(([name, walk]) => [name, walk.result()]));
}

/**
 * Whether the first trial is better. Divergence is worst. Trials are ranked by the measure. Ties are broken by the lower
 * loss, then by the lower rate, then by the lower φ.
 */
export function isBetter(a: [Trial, Score], b: [Trial, Score], measure: TuningRules["measure"]): boolean {
  const rank = ([{ maxLr, phi = 0 }, { diverged, loss, accuracy = 0 }]: [Trial, Score]) => {
    const results = diverged ? [1, 0, 0] : [0, measure === "accuracy" ? -accuracy : loss, loss];
    return [...results, maxLr, phi];
  };
  const [left, right] = [rank(a), rank(b)];
  const first = left.findIndex((value, i) => value !== right[i]);
  return first >= 0 && itemAt(left, first) < itemAt(right, first);
}

type Dimension = "maxLr" | "phi";

/** The trials of one schedule. No trial is added while another one has no score. */
class Walk {
  readonly #trials: Trial[];
  readonly #lookUp: (trial: Trial) => Score | undefined;
  /** Scores are cached, because a lookup computes the ids of the trial's runs, which are hashes. */
  readonly #scores = new Map<Trial, Score | undefined>();
  readonly #measure: TuningRules["measure"];
  /** The parameters that have more than one value in the grid. The others are fixed. */
  readonly #dimensions: readonly Dimension[];
  #extensions = 0;

  constructor(grid: Grid, scoreOf: (trial: Trial) => Score | undefined, { measure }: TuningRules) {
    const { peakLearningRates, phi } = grid;
    this.#trials = peakLearningRates.flatMap((maxLr) => phi?.map((value) => ({ maxLr, phi: value })) ?? [{ maxLr }]);
    this.#lookUp = scoreOf;
    this.#measure = measure;
    const tuned: [Dimension, number][] = [
      ["maxLr", peakLearningRates.length],
      ["phi", phi?.length ?? 0],
    ];
    this.#dimensions = tuned.filter(([, values]) => values > 1).map(([dimension]) => dimension);
  }

  get length(): number {
    return this.#trials.length;
  }

  get waiting(): boolean {
    return this.#trials.some((trial) => this.#scoreOf(trial) === undefined);
  }

  extend(maxExtensions: number): void {
    while (!this.waiting && this.#extensions < maxExtensions) {
      const next = this.#beyondEdge();
      if (!next) return;
      this.#trials.push(next);
      this.#extensions++;
    }
  }

  fillUp(length: number): void {
    for (let turn = 0; !this.waiting && this.length < length; turn++) {
      const [dimension] = this.#inTurn(turn);
      // A grid of one trial has no neighbors.
      if (dimension === undefined) return;
      this.#trials.push(this.#between(dimension));
    }
  }

  result(): Exploration {
    const trials = this.#trials.map((trial) => ({ trial, score: this.#scoreOf(trial) }));
    const found = { trials, extensions: this.#extensions };
    return this.waiting ? found : { ...found, best: this.#best(), onEdge: this.#beyondEdge() !== undefined };
  }

  #best(trials: readonly Trial[] = this.#trials): Trial {
    return trials.reduce((best, trial) => (this.#isBetter(trial, best) ? trial : best));
  }

  #isBetter(a: Trial, b: Trial): boolean {
    return isBetter([a, this.#finishedScore(a)], [b, this.#finishedScore(b)], this.#measure);
  }

  /** Returns the trial beyond the best one, at the grid's last ratio; `undefined` if the best one is not at the edge. */
  #beyondEdge(): Trial | undefined {
    const best = this.#best();
    for (const dimension of this.#inTurn(this.#extensions)) {
      const values = this.#valuesOf(dimension);
      const edge = coordinateOf(best, dimension);
      const at = values.indexOf(edge);
      if (at > 0 && at < values.length - 1) continue;
      const inner = itemAt(values, at === 0 ? 1 : at - 1);
      return { ...best, [dimension]: rounded((edge * edge) / inner) };
    }
    return undefined;
  }

  /** Returns the trial halfway, on a logarithmic scale, between the best one and the better of its neighbors. */
  #between(dimension: Dimension): Trial {
    const best = this.#best();
    const values = this.#valuesOf(dimension);
    const center = coordinateOf(best, dimension);
    const at = values.indexOf(center);
    const neighbors = [values[at - 1], values[at + 1]].filter((value) => value !== undefined);
    const bestAt = (value: number) =>
      this.#best(this.#trials.filter((trial) => coordinateOf(trial, dimension) === value));
    const neighbor = neighbors.reduce((a, b) => (this.#isBetter(bestAt(b), bestAt(a)) ? b : a));
    const middle = Math.sqrt(neighbor * center);
    // If rounding to six digits gives a value that was already tried, all digits are kept.
    return { ...best, [dimension]: values.includes(rounded(middle)) ? middle : rounded(middle) };
  }

  /** Returns the dimensions in rotated order, so that each comes first in turn. */
  #inTurn(turn: number): Dimension[] {
    const first = turn % Math.max(1, this.#dimensions.length);
    return [...this.#dimensions.slice(first), ...this.#dimensions.slice(0, first)];
  }

  #scoreOf(trial: Trial): Score | undefined {
    if (!this.#scores.has(trial)) this.#scores.set(trial, this.#lookUp(trial));
    return this.#scores.get(trial);
  }

  /** Returns the score of a finished trial. Trials are compared only while none is waiting for its score. */
  #finishedScore(trial: Trial): Score {
    const score = this.#scoreOf(trial);
    if (score === undefined) throw new Error("a trial without a score cannot be compared");
    return score;
  }

  #valuesOf(dimension: Dimension): number[] {
    return [...new Set(this.#trials.map((trial) => coordinateOf(trial, dimension)))].sort((a, b) => a - b);
  }
}

function coordinateOf({ maxLr, phi = 0 }: Trial, dimension: Dimension): number {
  return dimension === "maxLr" ? maxLr : phi;
}

/** Rounds to six digits, so that values are short in tables. */
function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
