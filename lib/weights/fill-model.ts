import { StepsizeError } from "../errors.js";
import { Uploads } from "../files/device-parts.js";
import type { StoredTensor } from "../files/safetensors-file.js";
import { fillFloats, floatCodes } from "../files/stored-floats.js";
import { valueAt } from "../lookup.js";
import { shown } from "../quoting.js";
import { sameShape } from "../shapes.js";
import type { Tensor } from "../tensor/index.js";
import { type TorchLayout, torchShape } from "../tensor/torch-layout.js";

/** A tensor of a model, and what a file must contain for it. */
export interface Wanted {
  /** The tensor to fill. */
  readonly tensor: Tensor;
  /** Name in the file. */
  readonly name: string;
  /** Layout in the file. */
  readonly layout: TorchLayout;
  /** Whether the tensor belongs to the classifier, so that its shape depends on the number of classes. */
  readonly isOfClassifier: boolean;
}

/**
 * Copies values of a file into a model, after checking that all of them fit and match their checksums. Values are
 * uploaded block by block. Only a convolution's weights are in host memory as a whole.
 *
 * @param path path of the file, for errors
 * @param isUnused whether a name in the file may be ignored
 * @throws StepsizeError `invalid-file` if a checksum does not match, or listing tensors that are missing, left over, or
 * of another shape or type
 */
export async function fillModel(
  wanted: readonly Wanted[],
  path: string,
  stored: ReadonlyMap<string, StoredTensor>,
  isUnused: (name: string) => boolean,
): Promise<void> {
  const problems = differences(wanted, stored, isUnused);
  if (problems) throw new StepsizeError("invalid-file", `${path}: the weights do not fit the model: ${problems}`);
  const pairs = wanted.map((target) => [target, valueAt(stored, target.name)] as const);
  for (const [, from] of pairs) await from.verify();
  const [first] = wanted;
  if (first === undefined) return;
  const uploads = new Uploads(first.tensor.device);
  for (const [{ tensor, layout }, from] of pairs) await fillFloats(uploads, tensor, from, layout);
}

/** Returns, in words, why a file does not fit; empty if it fits. */
function differences(
  wanted: readonly Wanted[],
  stored: ReadonlyMap<string, StoredTensor>,
  isUnused: (name: string) => boolean,
): string {
  const names = new Set(wanted.map(({ name }) => name));
  const leftOver = [...stored.keys()].filter((name) => !names.has(name) && !isUnused(name));
  const missing = wanted.filter(({ name }) => !stored.has(name));
  const [misshapen, mistyped]: [Wanted[], Wanted[]] = [[], []];
  for (const target of wanted) {
    const found = stored.get(target.name);
    if (found && !sameShape(found.shape, shapeInFile(target))) misshapen.push(target);
    if (found && !floatCodes.includes(found.code)) mistyped.push(target);
  }
  const shapes = (target: Wanted) =>
    `${target.name} is [${stored.get(target.name)?.shape}], the model needs [${shapeInFile(target)}]`;
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
    leftOver.length + mistyped.length === 0 && [...missing, ...misshapen].every(({ isOfClassifier }) => isOfClassifier);
  if (groups.length > 0 && onlyClassifier)
    groups.push('only the last layer differs; leave it out with classifier: "skip"');
  return groups.join("; ");
}

function shapeInFile({ tensor: { shape }, layout }: Wanted): readonly number[] {
  return torchShape(shape, layout);
}

/** Returns the first items of a list under a heading; empty for an empty list. */
function listed(heading: string, all: readonly string[]): string {
  if (all.length === 0) return "";
  const some = all.length > 4 ? [...all.slice(0, 3), `and ${all.length - 3} more`] : all;
  return `${heading}: ${some.join(", ")}`;
}
