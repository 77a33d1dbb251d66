/** How the tensors of a model are named in the PyTorch model whose weights it can take. */
export interface TorchNames {
  /** PyTorch's name of every parameter and buffer, by path. */
  readonly names: ReadonlyMap<string, string>;
  /** PyTorch's names of what it saves beside them and this model has no use for. */
  readonly unused: readonly string[];
  /** Path of the layer whose size is the number of classes; absent where there is none. */
  readonly classifier?: string;
}

/** A model that can take weights from PyTorch. Write `torchNames` for your own, and `loadTorchWeights` takes it too. */
export interface HasTorchNames {
  torchNames(): TorchNames;
}
