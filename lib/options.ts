import { invalidArgument } from "./errors.js";
import { nearest } from "./nearest.js";

/** The names of the options of a type, each exactly once: the compiler finds one that is missing or left over. */
export type OptionNames<Options> = Readonly<Record<NameIn<Options>, true>>;

/** Of a union, the names of all its members. */
type NameIn<Options> = Options extends unknown ? keyof Options & string : never;

/** Names of any type, as a check takes them. */
export type Names = Readonly<Record<string, true>>;

/**
 * The names that an options object may have, stated once beside its type:
 *
 *     const names = optionNames<PoolingOptions>({ size: true, stride: true, padding: true });
 */
export function optionNames<Options>(names: OptionNames<Options>): OptionNames<Options> {
  // Without a prototype, so that `in` sees nothing but names.
  return Object.freeze(Object.assign(Object.create(null), names));
}

/**
 * Throws unless `given` is an object whose properties are all among `names`. An unknown name whose value is
 * `undefined` passes: a caller that passes its own optional setting through means "not given".
 *
 * @param path what the options are of, as error messages name it
 * @throws StepsizeError `invalid-argument` with the options there are and the one that was probably meant
 */
export function expectOptions(path: string, names: Names, given: unknown): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    const list = Object.keys(names).join(", ");
    invalidArgument(path, list === "" ? "an object" : `an object with the options ${list}`, given);
  }
  // Operations are checked at every call: nothing is allocated here.
  for (const name in given) {
    if (name in names || (given as Record<string, unknown>)[name] === undefined) continue;
    if (Object.hasOwn(given, name)) refuseOption(path, Object.keys(names), name);
  }
}

/** The options themselves, once {@link expectOptions} has seen them. */
export function checkedOptions<Options extends object>(path: string, names: Names, given: Options): Options {
  expectOptions(path, names, given);
  return given;
}

/** The options that have a value: one that is `undefined` counts as not given, and must not hide a default. */
export function givenOptions<Options extends object>(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options;
}

/** Throws the error about an option that is none of `names`. */
export function refuseOption(path: string, names: readonly string[], given: string): never {
  invalidArgument(path, `only the options ${names.join(", ")} (did you mean ${meantBy(given, names)}?)`, given);
}

/** The option that an unknown name stands for: by what other libraries call it, else by its letters. */
function meantBy(given: string, names: readonly string[]): string {
  const plain = plainName(given);
  if (names.some((name) => plainName(name) === plain)) return nearest(given, names);
  const known = foreignNames.get(plain)?.find((name) => names.includes(name));
  return known ?? nearest(given, names);
}

function plainName(name: string): string {
  return name.toLowerCase().replace(/[-_ ]/g, "");
}

/** By our name, what PyTorch, Keras, optax and Hugging Face's libraries call the same, without case and underscores. */
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

/** By a foreign spelling, the names that it may stand for. */
const foreignNames: ReadonlyMap<string, readonly string[]> = byForeignName();

function byForeignName(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [ours, theirs] of spellings) {
    for (const name of theirs.split(" ")) found.set(name, [...(found.get(name) ?? []), ours]);
  }
  return found;
}
