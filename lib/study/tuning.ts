/** One choice of what is tuned. */
export interface Trial {
  readonly maxLr: number;
  /** Of UBA alone. */
  readonly phi?: number;
}

/** How a trial did on the validation split: the means over the tuning seeds. */
export interface Score {
  /** Whether any of its runs diverged; the means say nothing then. */
  readonly diverged: boolean;
  readonly loss: number;
  readonly accuracy?: number | undefined;
}

/** Where a schedule's trials begin: every pair of a rate and a φ. */
export interface Grid {
  readonly peakLearningRates: readonly number[];
  readonly phi?: readonly number[];
}

/** The trials of one schedule so far. */
export interface Exploration {
  /** In the order they were asked for; those that have run have a score. */
  readonly trials: readonly { readonly trial: Trial; readonly score: Score | undefined }[];
  /** How many of them extend the grid. */
  readonly extensions: number;
  /** The best trial, once nothing is outstanding. */
  readonly best?: Trial;
  /** Whether the best trial still is on the edge of what was tried. */
  readonly onEdge?: boolean;
}

/** What {@link tune} goes by. */
export interface TuningRules {
  readonly measure: "loss" | "accuracy";
  /** Most extensions of one schedule's grid. */
  readonly extensions: number;
}

type ScoreOf = (schedule: string, trial: Trial) => Score | undefined;

/**
 * Which trials tuning asks for, as a pure function of the scores there are. Each schedule runs its grid; where the best
 * trial is on the edge, the grid is extended by a trial beyond it. Then the schedules with fewer trials than the one
 * with most get further ones, between the best and its neighbours, until all have equally many.
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
  // How many it will be is known only when no grid can be extended any more.
  if ([...walks.values()].every(({ waiting }) => !waiting)) {
    const most = Math.max(...[...walks.values()].map(({ length }) => length));
    for (const walk of walks.values()) walk.fillUp(most);
  }
  return new Map([...walks].map(([name, walk]) => [name, walk.result()]));
}

/** Whether the first trial did better. Divergence is worst; of equals the lower rate wins, then the lower φ. */
export function isBetter(a: [Trial, Score], b: [Trial, Score], measure: TuningRules["measure"]): boolean {
  const rank = ([{ maxLr, phi = 0 }, { diverged, loss, accuracy = 0 }]: [Trial, Score]) => {
    const results = diverged ? [1, 0, 0] : [0, measure === "accuracy" ? -accuracy : loss, loss];
    return [...results, maxLr, phi];
  };
  const [left, right] = [rank(a), rank(b)];
  const first = left.findIndex((value, i) => value !== right[i]);
  return first >= 0 && (left[first] as number) < (right[first] as number);
}

type Dimension = "maxLr" | "phi";

/** One schedule's trials, asked for one after the other; it stops at the first without a score. */
class Walk {
  readonly #trials: Trial[];
  readonly #lookUp: (trial: Trial) => Score | undefined;
  /** Looking one up takes a hash of all that determines its runs. */
  readonly #scores = new Map<Trial, Score | undefined>();
  readonly #measure: TuningRules["measure"];
  /** What has more than one value in the grid; the rest is fixed. */
  readonly #dimensions: readonly Dimension[];
  #extensions = 0;

  constructor(grid: Grid, scoreOf: (trial: Trial) => Score | undefined, { measure }: TuningRules) {
    const { peakLearningRates, phi } = grid;
    this.#trials = peakLearningRates.flatMap((maxLr) => phi?.map((each) => ({ maxLr, phi: each })) ?? [{ maxLr }]);
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

  extend(most: number): void {
    while (!this.waiting && this.#extensions < most) {
      const next = this.#beyondEdge();
      if (!next) return;
      this.#trials.push(next);
      this.#extensions++;
    }
  }

  fillUp(length: number): void {
    for (let turn = 0; !this.waiting && this.length < length; turn++) {
      const [dimension] = this.#inTurn(turn);
      // A grid of one trial has nothing between.
      if (dimension === undefined) return;
      this.#trials.push(this.#between(dimension));
    }
  }

  result(): Exploration {
    const trials = this.#trials.map((trial) => ({ trial, score: this.#scoreOf(trial) }));
    const found = { trials, extensions: this.#extensions };
    return this.waiting ? found : { ...found, best: this.#best(), onEdge: this.#beyondEdge() !== undefined };
  }

  #best(among: readonly Trial[] = this.#trials): Trial {
    return among.reduce((best, trial) => (this.#isBetter(trial, best) ? trial : best));
  }

  #isBetter(a: Trial, b: Trial): boolean {
    return isBetter([a, this.#scoreOf(a) as Score], [b, this.#scoreOf(b) as Score], this.#measure);
  }

  /** The trial as far beyond the best one as the grid's last two values are apart; none where others surround it. */
  #beyondEdge(): Trial | undefined {
    const best = this.#best();
    for (const dimension of this.#inTurn(this.#extensions)) {
      const values = this.#valuesOf(dimension);
      const at = values.indexOf(best[dimension] as number);
      const [own, inner] = [values[at] as number, values[at === 0 ? 1 : at - 1] as number];
      if (at === 0 || at === values.length - 1) return { ...best, [dimension]: rounded((own * own) / inner) };
    }
    return undefined;
  }

  /** The trial half way, in logarithms, from the best one to the better of its neighbours. */
  #between(dimension: Dimension): Trial {
    const best = this.#best();
    const values = this.#valuesOf(dimension);
    const at = values.indexOf(best[dimension] as number);
    const neighbours = [values[at - 1], values[at + 1]].filter((value) => value !== undefined);
    const bestAt = (value: number) => this.#best(this.#trials.filter((trial) => trial[dimension] === value));
    const side = neighbours.reduce((a, b) => (this.#isBetter(bestAt(b), bestAt(a)) ? b : a));
    const middle = Math.sqrt(side * (values[at] as number));
    // Where the values are as close as the digits, all of them.
    return { ...best, [dimension]: values.includes(rounded(middle)) ? middle : rounded(middle) };
  }

  /** The dimensions, begun with another one each time. */
  #inTurn(turn: number): Dimension[] {
    const first = turn % Math.max(1, this.#dimensions.length);
    return [...this.#dimensions.slice(first), ...this.#dimensions.slice(0, first)];
  }

  #scoreOf(trial: Trial): Score | undefined {
    if (!this.#scores.has(trial)) this.#scores.set(trial, this.#lookUp(trial));
    return this.#scores.get(trial);
  }

  #valuesOf(dimension: Dimension): number[] {
    return [...new Set(this.#trials.map((trial) => trial[dimension] as number))].sort((a, b) => a - b);
  }
}

/** Six digits: what a person may copy out of a table. */
function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
