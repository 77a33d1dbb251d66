import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isInt32Array } from "../realms.js";
import type { Store } from "./dataset.js";

/** Number of bytes that are hashed before the event loop continues, which takes one or two milliseconds. */
const blockBytes = 2 ** 20;

/**
 * Computes the SHA-256 of arrays, in hexadecimal. It takes about 0.6 s per gigabyte on a CPU with SHA instructions, and
 * does not block the event loop.
 *
 * @param description further parts of the content, such as shapes and types
 */
async function digestOf(arrays: readonly ArrayBufferView[], description: unknown): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify([description, arrays.map(({ byteLength }) => byteLength)]));
  for (const { buffer, byteOffset, byteLength } of arrays) {
    for (let done = 0; done < byteLength; done += blockBytes) {
      hash.update(new Uint8Array(buffer, byteOffset + done, Math.min(blockBytes, byteLength - done)));
      await nextTurn();
    }
  }
  return hash.digest("hex");
}

/** Digests of whole stores. The digest of a view is computed from that of its store and the index. */
const digests = new WeakMap<Store, Promise<string>>();

/** @internal Computes a hash of a store's items, or of those with the indices in `index`. */
export async function digestOfStore(store: Store, index: Uint32Array | undefined): Promise<string> {
  const { inputs, labels } = store;
  const [values, labelShape] = isInt32Array(labels) ? [labels, "classes"] : [labels.data, labels.shape];
  const all = digests.get(store) ?? digestOf([inputs.data, values], [inputs.dtype, inputs.shape, labelShape]);
  digests.set(store, all);
  return index === undefined ? all : digestOf([index], await all);
}
