import { nearest } from "../nearest.js";

/** Words of other programs for flags, in lower case without dashes, with the flag that does the same. */
const otherWords: Readonly<Record<string, string>> = {
  dataset: "--data",
  arch: "--model",
  network: "--model",
  scheduler: "--schedule",
  lrschedule: "--schedule",
  optim: "--optimizer",
  maxnorm: "--clip-norm",
  maxgradnorm: "--clip-norm",
  gradclip: "--clip-norm",
  clip: "--clip-norm",
  gradientaccumulationsteps: "--accumulate",
  evalevery: "--evaluate-every",
  evalinterval: "--evaluate-every",
  saveevery: "--checkpoint-every",
  saveinterval: "--checkpoint-every",
  validationsplit: "--validation",
  valsplit: "--validation",
  amp: "--precision",
  fp16: "--precision",
  bf16: "--precision",
  tf32: "--precision",
  dtype: "--precision",
  gpu: "--device",
  output: "--run",
  outputdir: "--run",
  out: "--run",
  model: "--checkpoint",
  weights: "--checkpoint",
  maxtokens: "--tokens",
  maxnewtokens: "--tokens",
  temp: "--temperature",
  label: "--target",
  labels: "--target",
  targetcolumn: "--target",
  delimiter: "--separator",
  sep: "--separator",
  testsize: "--test",
  testshare: "--test",
  testsplit: "--test",
  testfile: "--test-data",
  navalues: "--missing",
  drop: "--ignore",
  exclude: "--ignore",
  categorical: "--categories",
};

/**
 * Returns the flag that an unknown option probably stands for: the one that other programs call so, or one that is
 * spelled almost like it.
 *
 * @param flags the flags of the command
 */
export function meantFlag(option: string, flags: readonly string[]): string | undefined {
  const known = otherWords[option.toLowerCase().replaceAll("-", "")];
  return known !== undefined && flags.includes(known) ? known : nearest(option, flags);
}
