import { StepsizeError } from "../errors.js";
import { Uploads } from "../files/device-parts.js";
import type { StoredTensor } from "../files/safetensors-file.js";
import { fillFloats, floatCodes } from "../files/stored-floats.js";
import { shown } from "../quoting.js";
import type { Tensor } from "../tensor/index.js";
import { type TorchLayout, torchShape } from "../tensor/torch-layout.js";

/** A tensor of a model, and what a file has to hold for it. */
export interface Wanted {
  readonly tensor: Tensor;
  /** In the file. */
  readonly name: string;
  /** How the file lays it out. */
  readonly layout: TorchLayout;
  /** Whether its shape depends on the number of classes. */
  readonly ofClassifier: boolean;
}

/**
 * Copies the file's values into the model's tensors, once it is known that all of it fits and has its checksums. They go
 * to the device block by block: nothing but the largest convolution is in the host's memory as a whole.
 *
 * @param isUnused names in the file that are of no use, and no mistake either
 * @throws StepsizeError `invalid-file` that lists what is missing, left over, and of another shape or type
 */
export async function fillModel(
  wanted: readonly Wanted[],
  path: string,
  stored: ReadonlyMap<string, StoredTensor>,
  isUnused: (name: string) => boolean,
): Promise<void> {
  const problems = differences(wanted, stored, isUnused);
  if (problems) throw new StepsizeError("invalid-file", `${path}: the weights do not fit the model: ${problems}`);
  const pairs = wanted.map((one) => [one, stored.get(one.name) as StoredTensor] as const);
  for (const [, from] of pairs) await from.verify();
  const [first] = wanted;
  if (first === undefined) return;
  const uploads = new Uploads(first.tensor.device);
  for (const [{ tensor, layout }, from] of pairs) await fillFloats(uploads, tensor, from, layout);
}

/** What keeps a file from fitting, in words; empty where it fits. */
function differences(
  wanted: readonly Wanted[],
  stored: ReadonlyMap<string, StoredTensor>,
  isUnused: (name: string) => boolean,
): string {
  const names = new Set(wanted.map(({ name }) => name));
  const leftOver = [...stored.keys()].filter((name) => !names.has(name) && !isUnused(name));
  const missing = wanted.filter(({ name }) => !stored.has(name));
  const [misshapen, mistyped]: [Wanted[], Wanted[]] = [[], []];
  for (const one of wanted) {
    const found = stored.get(one.name);
    if (found && String(found.shape) !== String(shapeInFile(one))) misshapen.push(one);
    if (found && !floatCodes.includes(found.code)) mistyped.push(one);
  }
  const shapes = (one: Wanted) =>
    `${one.name} is [${stored.get(one.name)?.shape}], the model needs [${shapeInFile(one)}]`;
  const groups = [
    listed(
      "missing",
      missing.map(({ name }) => name),
    ),
    listed(
      "left over",
      leftOver.map((name) => shown(name)),
    ),
    listed("of another shape", misshapen.map(shapes)),
    listed(
      `not ${floatCodes.join(", ")}`,
      mistyped.map(({ name }) => `${name} is ${stored.get(name)?.code}`),
    ),
  ].filter((text) => text !== "");
  const onlyClassifier =
    leftOver.length + mistyped.length === 0 && [...missing, ...misshapen].every((one) => one.ofClassifier);
  if (groups.length > 0 && onlyClassifier)
    groups.push('only the last layer differs; leave it out with classifier: "skip"');
  return groups.join("; ");
}

function shapeInFile({ tensor: { shape }, layout }: Wanted): readonly number[] {
  return torchShape(shape, layout);
}

/** The first few of a list, under a heading; nothing for an empty one. */
function listed(heading: string, all: readonly string[]): string {
  if (all.length === 0) return "";
  const some = all.length > 4 ? [...all.slice(0, 3), `and ${all.length - 3} more`] : all;
  return `${heading}: ${some.join(", ")}`;
}
