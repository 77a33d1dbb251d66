import type { SingleBar } from "cli-progress";
import type { Curvature } from "../../curvature/index.js";
import { Smoother } from "../../report/smooth.js";
import { type ProgressStream, startBar } from "../output/progress.js";
import { count, duration, percent, short, some, table } from "../output/text.js";

/** Formats the result as a table: extreme curvatures, mass, condition number and noise floor. */
export function curvatureTable(found: Curvature): string {
  const { lambdaMax, lambdaMaxError, lambdaMin, lambdaQ, kappa, negativeMass, noiseFloor, share } = found;
  const range = (lowest: string, highest: string) => `${lowest} … ${highest}`;
  const condition = kappa.lowerBoundOnly
    ? [`at least ${short(kappa.estimate)}`, "λ_q is below the noise floor"]
    : [short(kappa.estimate), range(short(kappa.lowest), short(kappa.highest))];
  return table(
    [
      ["λ_max", "the largest curvature", short(lambdaMax), `± ${short(lambdaMaxError)}`],
      ["λ_min", "the smallest", short(lambdaMin), ""],
      [
        "",
        "mass at negative curvature",
        percent(negativeMass.estimate),
        range(percent(negativeMass.lowest), percent(negativeMass.highest)),
      ],
      [
        "λ_q",
        `${percent(share).replace(".00", "")} of the mass is above`,
        short(lambdaQ.estimate),
        range(short(lambdaQ.lowest), short(lambdaQ.highest)),
      ],
      ["κ_eff", "λ_max/λ_q", ...condition],
      ["", "noise floor", short(noiseFloor), ""],
    ],
    [2],
  );
}

const barWidth = 40;
const maxParts = 6;

/**
 * Draws the mass by curvature as bars. The ranges are: negative curvature, curvature that cannot be distinguished from
 * 0, and ranges of equal length on a logarithmic scale above that.
 */
export function massBars({ ritz, lambdaMax, noiseFloor }: Curvature): string {
  const range = lambdaMax / noiseFloor;
  // Each range is at least a third of a decade. Finer ones would show single Ritz values only.
  const parts = range > 1 ? Math.min(maxParts, Math.ceil(3 * Math.log10(range))) : 0;
  const above = Array.from({ length: parts }, (_, i) => noiseFloor * range ** (i / parts));
  const starts = [-Infinity, -noiseFloor, ...above];
  const names = [
    `below ${short(-noiseFloor)}`,
    `± ${short(noiseFloor)}`,
    ...above.map((start, i) => `${short(start)} … ${short(above[i + 1] ?? lambdaMax)}`),
  ];
  const masses = starts.map((start, i) => {
    const end = starts[i + 1] ?? Infinity;
    return ritz.reduce((sum, { value, weight }) => (value >= start && value < end ? sum + weight : sum), 0);
  });
  const highest = Math.max(...masses);
  const rows = masses.map((mass, i) => [
    names[i] ?? "",
    percent(mass),
    "█".repeat(Math.round((barWidth * mass) / highest)),
  ]);
  return table([["curvature", "mass", ""], ...rows], [0, 1]);
}

/** Summarizes the loss, the gradient norm, the number of weights and the work in one line. */
export function workLine({ loss, gradientNorm, weights, steps, gradients, distance }: Curvature): string {
  const work = `${some(steps, "product")} from ${count(gradients)} gradients, ${short(distance)} to either side`;
  return `loss ${short(loss)}, gradient ${short(gradientNorm)}, ${some(weights, "weight")}; ${work}`;
}

/** Progress of `curvature`, in Hessian products: a bar on a terminal, otherwise a line every 2 s. */
export class CurvatureProgress {
  readonly #stream: ProgressStream;
  readonly #bar: SingleBar | undefined;
  readonly #secondsPerProduct = new Smoother(10);
  #last = performance.now();
  #shownAt = performance.now();

  private constructor(stream: ProgressStream, bar: SingleBar | undefined) {
    this.#stream = stream;
    this.#bar = bar;
  }

  static async start(steps: number, stream: ProgressStream & NodeJS.WritableStream = process.stderr) {
    const bar = stream.isTTY ? await startBar(steps, 0, stream) : undefined;
    bar?.update(0, { state: "choosing the distance of the finite differences" });
    return new CurvatureProgress(stream, bar);
  }

  step(done: number, steps: number): void {
    const now = performance.now();
    // The first product is not measured, because its time includes the choice of the distance.
    if (done > 1) this.#secondsPerProduct.add((now - this.#last) / 1000);
    this.#last = now;
    const left = `${duration((steps - done) * this.#secondsPerProduct.value)} left`;
    this.#bar?.update(done, { state: left });
    const due = now - this.#shownAt > 2000;
    if (this.#bar || !due || done === steps) return;
    this.#shownAt = now;
    this.#stream.write(`product ${done}/${steps}  ${left}\n`);
  }

  close(): void {
    this.#bar?.stop();
  }
}
