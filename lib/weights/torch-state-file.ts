import { expectMethods, expectText } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import { deviceSource, hostSource, Uploads } from "../files/device-parts.js";
import { writeSources } from "../files/safetensors.js";
import { withStored } from "../files/safetensors-file.js";
import { fillFloats, floatCodes, readFloats } from "../files/stored-floats.js";
import { valueAt } from "../lookup.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import type { TorchStateSource } from "../optim/saved-state.js";
import { checkedOptions, optionNames } from "../options.js";
import { shown } from "../quoting.js";
import { inFile, verifyAll } from "./stored-tensors.js";
import { torchMetadata } from "./torch-weights.js";

/** Options of {@link loadTorchState}. */
export interface TorchStateOptions {
  /**
   * Number of steps so far, and of updates of each parameter that has a state. Default: the largest `step` in the file,
   * and each parameter's own `step`. Required for SGD, whose state has no `step`.
   */
  readonly steps?: number | undefined;
}

const names = optionNames<TorchStateOptions>({ steps: true });

/**
 * Loads the state of a PyTorch optimizer from a safetensors file.
 *
 * `Optimizer.loadTorchState` describes the names of the tensors. Values of float16, bfloat16 and float64 are converted
 * to float32. The Python code that writes the file is in docs/pytorch.md.
 *
 * @param path path of the file
 * @throws StepsizeError `invalid-argument` if the optimizer or the path is invalid or an option is unknown; `not-found`
 * if there is no file; `invalid-file` if the file is damaged or does not fit, or if `steps` is not a whole number ≥ 0;
 * `unsupported` for parameters with float32 master weights, which PyTorch's state does not have. Nothing has changed
 * then, unless the file can no longer be read after its checksums were verified.
 *
 * @example
 * ```ts
 * import { AdamW, loadTorchState, models, openDevice, saveTorchState } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
 * await saveTorchState(new AdamW(model.parameters(), { lr: 0.01 }), "optimizer.safetensors");
 *
 * const optimizer = new AdamW(model.parameters(), { lr: 0.01 });
 * await loadTorchState(optimizer, "optimizer.safetensors", { steps: 0 });
 * ```
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
    const stored = (name: string) => valueAt(tensors, name);
    const uploads = new Uploads(optimizer.deviceState.device);
    // Values are float32 after they are read.
    const state = new Map([...tensors].map(([name, { shape }]) => [name, { dtype: "float32" as const, shape }]));
    const source: TorchStateSource = {
      read: async (name) => {
        const { shape } = stored(name);
        const [value] = shape.every((size) => size === 1) ? await readFloats(stored(name)) : [];
        if (value === undefined)
          throw new StepsizeError("invalid-file", `${shown(name)} is [${shape}], expected one number`);
        return value;
      },
      fill: (name, to, layout) => fillFloats(uploads, to, stored(name), layout),
      ready: () => verifyAll([tensors]),
    };
    await inFile(path, () => optimizer.fillTorchState(state, steps, source));
  });
}

/**
 * Writes the state of an optimizer as a safetensors file for PyTorch.
 *
 * The file has the tensors of `Optimizer.toTorchState`. The Python code that reads it is in docs/pytorch.md.
 *
 * @param path path of the file. Missing folders are created.
 * @throws StepsizeError `invalid-argument` if the optimizer or the path is invalid; `unsupported` for parameters with
 * float32 master weights; `invalid-state` if a step is made during the write; `invalid-file` if the file cannot be
 * written. A previous file is kept then.
 *
 * @example
 * ```ts
 * import { models, openDevice, saveTorchState, SGD } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 2, hidden: [8], classes: 2, device, seed: 0 });
 * const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
 * await saveTorchState(optimizer, "optimizer.safetensors");
 * ```
 */
export async function saveTorchState(optimizer: Optimizer<{ lr: LearningRate }>, path: string): Promise<void> {
  expectMethods("optimizer", optimizer, ["toTorchState"], "an optimizer, such as an AdamW");
  expectText("path", path, "the path of a file");
  const { parameters, updates } = optimizer.torchStateParts();
  const moments = parameters.map((parameter) => ({
    ...parameter,
    sources: parameter.moments.map(
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
