import type { Tensor } from "../tensor/index.js";
import { writeSafetensors } from "./safetensors.js";
import { onHost } from "./saved-model.js";

/** Writes tensors as Python's safetensors reads them, and disposes of them. */
export async function writeTorchFile(path: string, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
  try {
    // The format's own libraries read this entry to see which framework the tensors are for.
    await writeSafetensors(path, await onHost(tensors), { format: "pt" });
  } finally {
    for (const one of tensors.values()) one.dispose();
  }
}
