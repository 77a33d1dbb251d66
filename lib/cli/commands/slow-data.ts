import type { Task } from "../../tasks/index.js";
import { percent } from "../output/text.js";

/** Times of a run in seconds since it began. */
interface Times {
  /** Of training. */
  readonly seconds: number;
  /** For which the device waited for data. */
  readonly waited: number;
}

/** A hint is due if the device waits for data for more than this share of the time. */
const largeShare = 0.2;
/** Seconds of training before a hint: speeds at the beginning are not those of the run. */
const minSeconds = 3;

/** What is trained on what. */
interface Subject {
  readonly unit: Task["unit"];
  /** Whether the device is the CPU, which the data share with it. */
  readonly onCpu: boolean;
}

/** Notices once in a run that the data are slower than the device. */
export class SlowData {
  readonly #subject: Subject;
  #first: Times | undefined;
  #isDone = false;

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  /** Returns the hint if it is due after a step; otherwise `undefined`. */
  hintAt({ seconds, waited }: Times): string | undefined {
    // The first batch always takes a while, because the thread that gathers batches starts with it.
    this.#first ??= { seconds, waited };
    const elapsed = seconds - this.#first.seconds;
    const share = (waited - this.#first.waited) / elapsed;
    if (this.#isDone || elapsed < minSeconds || share <= largeShare) return undefined;
    this.#isDone = true;
    const { unit, onCpu } = this.#subject;
    const remedies = [
      "a larger --batch",
      ...(unit === "images" ? ["smaller images", "no --augment"] : []),
      ...(onCpu ? ["fewer --threads, which leave a core for the data"] : []),
    ];
    return (
      `the data are slower than the device, which waits for them ${percent(share, 0)} of the time. What may help:` +
      ` ${remedies.join(", ")}`
    );
  }
}
