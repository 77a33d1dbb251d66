// The faults that `npm run test:faults` injects. Each file here has a short part of its own in `npm test`.
import { injectBitFlips, injectTruncations } from "./bit-flips.js";

/** One kind of fault, and how to inject it. */
export interface Injection {
  /** As it stands in the table, such as "flipped bits". */
  readonly name: string;
  /** What happens to what, in a line. */
  readonly what: string;
  /** How many faults there are, numbered from 0; absent if that shows only when a part injects none. */
  readonly count?: number;
  /** How many are injected at a time: a run that was stopped goes on after the last part. */
  readonly part: number;
  /** Why they cannot be injected on this machine, if that is so. */
  whyNot?(): string | undefined;
  /** Injects the faults with numbers from `from` to before `to`. Equal numbers inject equal faults. */
  inject(from: number, to: number): Promise<Damage>;
}

/** What faults did. */
export interface Damage {
  readonly injected: number;
  /** How many were not handled: something was lost, a process ended by our hand, or a wrong answer came. */
  readonly lost: number;
  /** A line each for some of the lost. */
  readonly examples: readonly string[];
}

export const injections: readonly Injection[] = [
  {
    name: "flipped bits",
    what: "every bit of a checkpoint, of weights and of an optimizer's state is flipped, and the file loaded",
    part: 8192,
    inject: (from, to) => injectBitFlips({ from, to }),
  },
  {
    name: "cut files",
    what: "the same files are cut at every length",
    count: 1,
    part: 1,
    inject: () => injectTruncations(),
  },
];
