import type { SingleBar } from "cli-progress";
import { Smoother } from "../../report/smooth.js";
import { type ProgressStream, startBar } from "../output/progress.js";
import { duration } from "../output/text.js";

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
