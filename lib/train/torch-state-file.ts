import { expectMethods, expectText } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { deviceSource, hostSource, Uploads } from "../files/device-parts.js";
import { writeSources } from "../files/safetensors.js";
import { type StoredTensor, withStored } from "../files/safetensors-file.js";
import { fillFloats, floatCodes, readFloats } from "../files/stored-floats.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import type { TorchStateSource } from "../optim/optimizer.js";
import { checkedOptions, optionNames } from "../options.js";
import { shown } from "../quoting.js";
import { inFile, verifyAll } from "./saved-model.js";
import { torchMetadata } from "./torch-weights.js";

/** Options of {@link loadTorchState}. */
export interface TorchStateOptions {
  /** Steps made so far, for SGD, whose state does not count them; default: the `step` found. */
  readonly steps?: number;
}

const names = optionNames<TorchStateOptions>({ steps: true });

/**
 * Loads the state of a PyTorch optimizer from a safetensors file: see `optimizer.loadTorchState`, which says how the
 * tensors are named. float16, bfloat16 and float64 are converted to float32. docs/pytorch.md has the lines of Python that
 * write the file.
 *
 * @throws StepsizeError `not-found`; `invalid-argument` for an option that there is not; `invalid-file` if the file is
 * damaged or does not fit. Nothing has changed then.
 */
export async function loadTorchState(
  optimizer: Optimizer<{ lr: LearningRate }>,
  path: string,
  options: TorchStateOptions = {},
): Promise<void> {
  expectMethods("optimizer", optimizer, ["loadTorchState"], "an optimizer, such as an AdamW");
  const { steps } = checkedOptions("loadTorchState", names, options);
  await withStored(path, async ({ tensors }) => {
    const wrong = [...tensors.values()].find(({ code }) => !floatCodes.includes(code));
    if (wrong)
      throw new StepsizeError(
        "invalid-file",
        `${path}: ${shown(wrong.name)} is ${wrong.code}, expected ${floatCodes.join(", ")}`,
      );
    const stored = (name: string) => tensors.get(name) as StoredTensor;
    const uploads = new Uploads(optimizer.deviceState.device);
    // They are float32 when they were read.
    const state = new Map([...tensors].map(([name, { shape }]) => [name, { dtype: "float32" as const, shape }]));
    const source: TorchStateSource = {
      read: async (name) => {
        if (stored(name).shape.some((size) => size !== 1))
          throw new StepsizeError("invalid-file", `${shown(name)} is [${stored(name).shape}], expected one number`);
        return (await readFloats(stored(name)))[0] as number;
      },
      fill: (name, to, layout) => fillFloats(uploads, to, stored(name), layout),
      ready: () => verifyAll([tensors]),
    };
    await inFile(path, () => optimizer.fillTorchState(state, steps, source));
  });
}

/**
 * Writes an optimizer's state as a safetensors file for PyTorch: the tensors of `optimizer.toTorchState()`.
 * docs/pytorch.md has the lines of Python that read it.
 *
 * @throws StepsizeError as `optimizer.toTorchState`; `invalid-state` if a step is made meanwhile; `invalid-file` if the
 * file cannot be written
 */
export async function saveTorchState(optimizer: Optimizer<{ lr: LearningRate }>, path: string): Promise<void> {
  expectMethods("optimizer", optimizer, ["toTorchState"], "an optimizer, such as an AdamW");
  expectText("path", path, "the path of a file");
  const { parameters, updates } = optimizer.torchStateParts();
  const moments = parameters.map((one) => ({
    ...one,
    sources: one.moments.map(
      ({ name, kept, shape, layout }) => [name, deviceSource(name, kept, shape, layout)] as const,
    ),
  }));
  const counts = await updates;
  const sources = moments.flatMap(({ name, slot, sources }) => {
    const steps = counts?.[slot.place];
    if (sources.length === 0 || steps === undefined) return sources;
    return [[`${name}.step`, hostSource("float32", [], Float32Array.of(steps))] as const, ...sources];
  });
  await writeSources(path, new Map(sources), torchMetadata);
}
