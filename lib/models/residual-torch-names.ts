import type { TorchNames } from "./torch-names.js";

/** Our names of layers and tensors on the left, torchvision's on the right. */
const layers = new Map([
  ["stem", "conv1"],
  ["stemNorm", "bn1"],
  ["norm1", "bn1"],
  ["norm2", "bn2"],
  ["norm3", "bn3"],
  ["shortcut", "downsample.0"],
  ["shortcutNorm", "downsample.1"],
  ["classifier", "fc"],
]);
const tensors = new Map([
  ["gamma", "weight"],
  ["beta", "bias"],
  ["runningMean", "running_mean"],
  ["runningVariance", "running_var"],
]);

/**
 * torchvision's names of a residual network: `layer2.0.downsample.1.weight` for `blocks.3.shortcutNorm.gamma`.
 *
 * @param paths of all its parameters and buffers
 * @param stages how many blocks each stage has
 */
export function residualTorchNames(paths: Iterable<string>, stages: readonly number[]): TorchNames {
  const places = stages.flatMap((count, stage) => Array.from({ length: count }, (_, i) => `layer${stage + 1}.${i}`));
  const names = new Map<string, string>();
  const unused: string[] = [];
  for (const path of paths) {
    const block = path.match(/^blocks\.(\d+)\./);
    const [layer, tensor] = path.slice(block?.[0].length ?? 0).split(".") as [string, string];
    const prefix = `${block ? `${places[Number(block[1])]}.` : ""}${layers.get(layer) ?? layer}`;
    names.set(path, `${prefix}.${tensors.get(tensor) ?? tensor}`);
    // PyTorch counts batches for norms without momentum; these have one.
    if (tensor === "runningMean") unused.push(`${prefix}.num_batches_tracked`);
  }
  return { names, unused, classifier: "classifier" };
}
