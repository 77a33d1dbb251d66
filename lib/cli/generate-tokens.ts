import { asType, embedding, noGrad, reshape, tensor, tidy } from "../tensor/index.js";
import type { SavedTextModel } from "./saved.js";

/** What {@link generateTokens} works with. */
export interface GenerateOptions {
  readonly model: Pick<SavedTextModel, "model" | "device" | "prepare" | "context">;
  /** At least one id. */
  readonly prompt: readonly number[];
  /** How many ids at most. */
  readonly tokens: number;
  /** The id that ends the text before that; it is not yielded. */
  readonly endOfText: number;
  readonly sample: (logits: Float32Array) => number;
  /** Ids from this one on are never drawn: a model may have more outputs than its tokenizer has tokens. */
  readonly vocabulary: number;
  /** Ends the text once it is aborted, before the next id. The ids until then are yielded, and nothing is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The ids that follow a prompt. The model sees the last `context` ids. Nothing is kept from one token to the next: each
 * costs a forward pass over the window, so that n tokens cost O(n · forward).
 */
export async function* generateTokens(options: GenerateOptions): AsyncGenerator<number, undefined> {
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

/** The logits after the last id of a window. */
async function lastLogits(
  { model, device, prepare }: GenerateOptions["model"],
  window: readonly number[],
): Promise<Float32Array> {
  const length = window.length;
  const row = noGrad(() =>
    tidy(() => {
      const logits = model.forward(prepare(tensor(device, Int32Array.from(window), [1, length])));
      // Picked on the device: all rows would be length times as much to read.
      const row = embedding(tensor(device, Int32Array.of(length - 1)), reshape(logits, [length, -1]));
      return asType(row, "float32");
    }),
  );
  const read = row.read();
  row.dispose();
  return (await read) as Float32Array;
}
