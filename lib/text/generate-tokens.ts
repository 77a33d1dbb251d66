import type { Device } from "../native/index.js";
import type { Module } from "../nn/index.js";
import { asType, embedding, noGrad, reshape, type Tensor, tensor, tidy } from "../tensor/index.js";

/** A model of text with what a forward pass needs. */
export interface TextModel {
  readonly model: Module;
  readonly device: Device;
  /** Converts ids to what the model takes. */
  readonly prepare: (ids: Tensor) => Tensor;
  /** Largest number of ids that the model sees at once. */
  readonly context: number;
}

/** Options of {@link generateTokens}. */
export interface TokenOptions {
  readonly model: TextModel;
  /** Ids before the generated ones; at least one. */
  readonly prompt: readonly number[];
  /** Largest number of ids to generate. */
  readonly tokens: number;
  /** The id that ends the text early. It is not yielded. */
  readonly endOfText: number;
  readonly sample: (logits: Float32Array) => number;
  /** Number of tokens. Larger ids are never drawn. A model may have more outputs than its tokenizer has tokens. */
  readonly vocabulary: number;
  /** Ends the text before the next id if it is aborted. Nothing is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Generates the ids that follow a prompt, one at a time. The model sees the last `context` ids. There is no cache of keys
 * and values: each token costs a forward pass over the whole window.
 *
 * @throws any error of the forward pass and of `sample`
 */
export async function* generateTokens(options: TokenOptions): AsyncGenerator<number, undefined> {
  const { model, prompt, tokens, endOfText, sample, vocabulary, signal } = options;
  let window = prompt.slice(-model.context);
  for (let made = 0; made < tokens && !signal?.aborted; made++) {
    const logits = await lastLogits(model, window);
    const id = sample(logits.subarray(0, vocabulary));
    if (id === endOfText) return;
    yield id;
    window = [...window, id].slice(-model.context);
  }
}

/** Returns the logits after the last id of a window. */
async function lastLogits({ model, device, prepare }: TextModel, window: readonly number[]): Promise<Float32Array> {
  const length = window.length;
  const row = noGrad(() =>
    tidy(() => {
      const logits = model.forward(prepare(tensor(device, Int32Array.from(window), [1, length])));
      // The last row is selected on the device, to read only that row.
      const row = embedding(tensor(device, Int32Array.of(length - 1)), reshape(logits, [length, -1]));
      return asType(row, "float32");
    }),
  );
  const read = row.read();
  row.dispose();
  return read;
}
