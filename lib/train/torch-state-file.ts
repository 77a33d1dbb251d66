import { expectMethods, expectText } from "../arguments.js";
import { StepsizeError } from "../errors.js";
import type { LearningRate, Optimizer } from "../optim/index.js";
import { checkedOptions, optionNames } from "../options.js";
import { shown } from "../quoting.js";
import { type Tensor, tensor } from "../tensor/index.js";
import { readStored } from "./safetensors-file.js";
import { inFile } from "./saved-model.js";
import { float32Of, floatCodes } from "./stored-floats.js";
import { writeTorchFile } from "./torch-file.js";

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
  const { stored } = await readStored(path);
  const { device } = optimizer.deviceState;
  const state = new Map<string, Tensor>();
  try {
    for (const [name, one] of stored) {
      if (!floatCodes.includes(one.code))
        throw new StepsizeError(
          "invalid-file",
          `${path}: ${shown(name)} is ${one.code}, expected ${floatCodes.join(", ")}`,
        );
      state.set(name, tensor(device, float32Of(one), one.shape));
    }
    await optimizer.loadTorchState(state, steps).catch((error: unknown) =>
      inFile(path, () => {
        throw error;
      }),
    );
  } finally {
    for (const one of state.values()) one.dispose();
  }
}

/**
 * Writes an optimizer's state as a safetensors file for PyTorch: the tensors of `optimizer.toTorchState()`.
 * docs/pytorch.md has the lines of Python that read it.
 *
 * @throws StepsizeError as `optimizer.toTorchState`; `invalid-file` if the file cannot be written
 */
export async function saveTorchState(optimizer: Optimizer<{ lr: LearningRate }>, path: string): Promise<void> {
  expectMethods("optimizer", optimizer, ["toTorchState"], "an optimizer, such as an AdamW");
  expectText("path", path, "the path of a file");
  await writeTorchFile(path, await optimizer.toTorchState());
}
