import { invalidArgument } from "./errors.js";
import { suggestionInside } from "./nearest.js";
import { isObject } from "./realms.js";

/** The names of the options of a type. The compiler reports a name that is missing or superfluous. */
export type OptionNames<Options> = Readonly<Record<NameIn<Options>, true>>;

/** The names of all properties; for a union, those of all its members. */
type NameIn<Options> = Options extends unknown ? keyof Options & string : never;

/** The names of the options of any type. */
export type Names = Readonly<Record<string, true>>;

/**
 * Makes the table of the names that an options object may have. It is stated once, beside the type:
 *
 *     const names = optionNames<PoolingOptions>({ size: true, stride: true, padding: true });
 */
export function optionNames<Options>(names: OptionNames<Options>): OptionNames<Options> {
  // The table has no prototype, so that `in` finds the names only.
  return Object.freeze(Object.assign(Object.create(null), names));
}

/**
 * Checks that `given` is an object whose properties are all among `names`.
 *
 * An unknown name whose value is `undefined` is accepted, so that callers can pass their own optional settings through.
 *
 * @param path name of the options in error messages
 * @throws StepsizeError `invalid-argument` with all options and the one that was probably meant
 */
export function expectOptions(path: string, names: Names, given: unknown): void {
  if (!isObject(given)) {
    const list = Object.keys(names).join(", ");
    invalidArgument(path, list === "" ? "an object" : `an object with the options ${list}`, given);
  }
  // This check runs at every call of an operation, so it allocates nothing.
  for (const name in given) {
    if (name in names || given[name] === undefined) continue;
    if (Object.hasOwn(given, name)) refuseOption(path, Object.keys(names), name);
  }
}

/** Checks options with {@link expectOptions} and returns them. */
export function checkedOptions<Options extends object>(path: string, names: Names, given: Options): Options {
  expectOptions(path, names, given);
  return given;
}

/** Checked options with all defaults. */
export type Resolved<Options> = { readonly [K in keyof Options]-?: Exclude<Options[K], undefined> };

/** Options without those that are `undefined`. */
type Given<Options> = { [K in keyof Options]: Exclude<Options[K], undefined> };

/** Returns the options without those that are `undefined`, which would hide a default. */
export function givenOptions<Options extends object>(options: Options): Given<Options> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Given<Options>;
}

/** Throws `invalid-argument` for an option that is not among `names`. */
export function refuseOption(path: string, names: readonly string[], given: string): never {
  const meant = meantBy(given, names);
  invalidArgument(path, `only the options ${names.join(", ")}${suggestionInside(meant, names)}`, given);
}

/** Returns the option with this name in other libraries, or else the given name. */
function meantBy(given: string, names: readonly string[]): string {
  const plain = plainName(given);
  if (names.some((name) => plainName(name) === plain)) return given;
  return foreignNames.get(plain)?.find((name) => names.includes(name)) ?? given;
}

function plainName(name: string): string {
  return name.toLowerCase().replace(/[-_ ]/g, "");
}

/**
 * For each name here, the names in PyTorch, Keras, optax and Hugging Face's libraries, in lower case without
 * underscores.
 */
const spellings: readonly (readonly [ours: string, theirs: string])[] = [
  ["lr", "learningrate rate alpha stepsize baselr initiallr maxlr"],
  ["maxLr", "learningrate rate lr baselr initiallr peaklr peaklearningrate peakvalue initvalue"],
  ["minLr", "etamin endlr finallr endvalue minlearningrate"],
  ["budget", "steps totalsteps numsteps maxsteps tmax totaliters iterations epochs decaysteps transitionsteps"],
  ["warmup", "warmupsteps numwarmupsteps warmupepochs"],
  ["weightDecay", "wd decay l2 l2penalty regularization"],
  ["epsilon", "eps"],
  ["betas", "beta beta1 beta2 b1 b2"],
  ["clipNorm", "clip gradclip gradientclip maxgradnorm clipgradnorm gradientclipval gradientclipnorm globalclipnorm"],
  ["gradientScale", "gradscale lossscale"],
  ["accumulate", "gradaccum accumulationsteps gradientaccumulationsteps accumulategradbatches"],
  ["groups", "paramgroups params"],
  ["size", "batchsize batch bs kernelsize kernel poolsize"],
  ["kernel", "kernelsize size"],
  ["stride", "strides"],
  ["prefetch", "workers numworkers prefetchfactor readahead buffersize"],
  ["dropLast", "dropremainder"],
  ["shuffle", "random randomize"],
  ["seed", "randomstate randomseed generator rng key"],
  ["seeds", "seed randomstate randomseed generator rng key"],
  ["validation", "testsize validationsplit valsplit valsize holdout"],
  ["inputs", "infeatures inputsize inputdim inputshape x data"],
  ["labels", "targets y"],
  ["channels", "inchannels numchannels"],
  ["classes", "numclasses nclasses outfeatures outputs outputsize labels classnames"],
  ["hidden", "hiddensize hiddensizes hiddenlayers hiddendim units intermediatesize ffndim mlpdim"],
  ["width", "hiddensize dmodel embeddim nembd dim baseplanes"],
  ["layers", "nlayer nlayers numlayers numhiddenlayers depth"],
  ["depth", "layers numlayers"],
  ["heads", "nhead nheads numheads numattentionheads"],
  ["vocabulary", "vocabsize nvocab"],
  ["context", "blocksize seqlen seqlength sequencelength contextlength windowsize maxseqlen maxpositionembeddings"],
  ["ropeBase", "ropetheta theta base"],
  ["tied", "tieembeddings tiewordembeddings weighttying"],
  ["probability", "p rate dropout droprate dropoutrate"],
  ["deviation", "std stddev sigma scale"],
  ["smoothing", "labelsmoothing"],
  ["ignoreIndex", "ignore ignoredlabel paddingindex paddingidx"],
  ["classWeights", "weight weights classweight"],
  ["itemWeights", "sampleweight sampleweights"],
  ["weights", "weight sampleweight sampleweights"],
  ["learned", "affine elementwiseaffine"],
  ["activation", "act nonlinearity"],
  ["dtype", "type precision"],
  ["threads", "numthreads workers cores cpus concurrency"],
  ["memoryLimit", "maxmemory memory"],
  ["until", "steps maxsteps end to"],
  ["loss", "criterion lossfn lossfunction objective"],
  ["optimizer", "optim opt"],
  ["data", "dataset batches train trainingdata dataloader loader"],
  ["model", "net network module"],
];

/** For each name in other libraries, the names here that it may mean. */
const foreignNames: ReadonlyMap<string, readonly string[]> = byForeignName();

function byForeignName(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [ours, theirs] of spellings) {
    for (const name of theirs.split(" ")) found.set(name, [...(found.get(name) ?? []), ours]);
  }
  return found;
}
