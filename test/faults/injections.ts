// The faults that `npm run test:faults` injects. A short part of each runs in `npm test`.
import { injectAllocationFailures, whyNoInjection } from "../native/support/inject.js";
import { injectBitFlips, injectTruncations } from "./bit-flips.js";
import type { Damage } from "./damage.js";
import { injectHostileFiles } from "./hostile-files.js";
import { injectKills } from "./kills.js";
import { injectRandomCalls, whyNoSanitizers } from "./random-calls.js";
import { injectCommandKills, injectFullDisks, injectSignals, injectStrayErrors } from "./signals.js";

/** A kind of fault and how to inject it. */
export interface Injection {
  /** The name in the table, such as "flipped bits". */
  readonly name: string;
  /** A description in one line. */
  readonly what: string;
  /** The number of faults, which are numbered from 0. Absent if it is only known after a part injects none. */
  readonly count?: number;
  /** The number of faults in a part. A stopped run continues after the last complete part. */
  readonly part: number;
  /** The reason why the faults cannot be injected on this machine, if any. */
  whyNot?(): string | undefined;
  /** Injects the faults with numbers from `from` to before `to`. Equal numbers inject equal faults. */
  inject(from: number, to: number): Promise<Damage>;
}

export const injections: readonly Injection[] = [
  {
    name: "flipped bits",
    what: "every bit of a checkpoint, of weights and of an optimizer's state is flipped, and the file is loaded",
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
  {
    name: "hostile files",
    what: "files of every kind are read, with each value replaced by an invalid one",
    part: 500,
    inject: (from, to) => injectHostileFiles({ from, to }),
  },
  {
    name: "failing allocations",
    what: "every allocation of the addon in a short training fails, on the thread that makes it",
    part: 256,
    whyNot: () => whyNoInjection() || undefined,
    // Allocations are counted from 1.
    inject: (from, to) => failAllocations("cpu", from + 1, to),
  },
  {
    name: "failing allocations on CUDA",
    what: "the same on the emulated GPU, with every call of the CUDA runtime that creates something",
    part: 64,
    whyNot: () => whyNoInjection("cuda:emulated") || undefined,
    inject: (from, to) => failAllocations("cuda:emulated", from + 1, to),
  },
  {
    name: "random calls",
    what: "everything that the addon exports is called with random arguments, under AddressSanitizer and UndefinedBehaviorSanitizer",
    count: 12,
    part: 1,
    whyNot: whyNoSanitizers,
    inject: (from, to) => injectRandomCalls({ from, to }),
  },
  {
    name: "kills",
    what: "a run that saves after every step is killed at random moments, and continues from its newest checkpoint",
    count: 200,
    part: 25,
    inject: (from, to) => injectKills({ kills: to - from, seed: from }),
  },
  {
    name: "signals",
    what: "a run gets every signal that can be caught, at many moments, in half of the cases with a closed output",
    count: 66,
    part: 11,
    inject: (from, to) => injectSignals({ from, to }),
  },
  {
    name: "kills of the command",
    what: "a run is killed at many moments, and resumed",
    count: 24,
    part: 8,
    inject: (from, to) => injectCommandKills({ from, to }),
  },
  {
    name: "stray errors",
    what: "an uncaught error is thrown in a run",
    count: 12,
    part: 6,
    inject: (from, to) => injectStrayErrors({ from, to }),
  },
  {
    name: "full disks",
    what: "a record of a run cannot be written",
    count: 12,
    part: 6,
    inject: (from, to) => injectFullDisks({ from, to }),
  },
];

async function failAllocations(device: string, from: number, to: number): Promise<Damage> {
  const { runs, wrong } = await injectAllocationFailures({ device, from, to });
  return { injected: runs.length, lost: wrong.map(({ at, outcome }) => `allocation ${at}: ${outcome}`) };
}
