// The memory traffic and computation of each CUDA kernel, per element named by `element`, in float32 unless stated
// otherwise. A transcendental function or a division counts as one operation. Reads that a cache serves are not
// counted. `shared` is the size of dynamic shared memory in bytes, which the compiler does not know. It is a function
// of the instance if instances differ.
const heads = "heads of 64 numbers";
// Tiles of 32 rows, laid out as in attention.cuh.
const tiles = (count) => count * 32 * 68 * 4;

// Tiles as in attention_tensor_core.cuh: 64 rows of the kernel's head size. A block has four tiles of other rows, and of
// `tensors` tensors its own rows, which are two tiles if a warp has two fragments: up to the head size `twice`.
const headTiles =
  (tensors, twice, more = 0) =>
  (kernel) => {
    const size = Number(kernel.match(/<(\d+)>/)[1]);
    return (4 + tensors * (size <= twice ? 2 : 1)) * 64 * size * 2 + more;
  };

export const families = [
  {
    title: "Elements",
    source: "pointwise_operations.cu",
    kernels: {
      mapKernel: { element: "element", bytes: 8, flops: "1 to 3" },
      zipKernel: { element: "element", bytes: 12, flops: "1 to 5" },
      zipRepeatedKernel: { element: "element", bytes: 8, flops: "1 to 5" },
      zipBroadcastKernel: { element: "element", bytes: "4 to 12", flops: "1 to 5" },
      expandKernel: { element: "element", bytes: 4, flops: 1 },
      swigluGradientKernel: { element: "element", bytes: 20, flops: 11 },
    },
  },
  {
    title: "Memory",
    source: "memory_operations.cu",
    kernels: {
      fillKernel: { element: "element", bytes: "its type's", flops: 0 },
      castKernel: { element: "element", bytes: "both types'", flops: 1 },
      writeRowKernel: { element: "value", bytes: "8, and its type's", flops: 0 },
    },
  },
  {
    title: "Random numbers",
    source: "random_operations.cu",
    kernels: {
      uniformKernel: { element: "element", bytes: 4, flops: "3, and 25 of integers" },
      normalKernel: { element: "element", bytes: 4, flops: "6, and 25 of integers" },
      dropoutKernel: { element: "element", bytes: 8, flops: "2, and 25 of integers" },
    },
  },
  {
    title: "Sums",
    source: "reduction_operations.cu",
    kernels: {
      sumRowsKernel: { element: "input", bytes: 4, flops: 1 },
      sumColumnsKernel: { element: "input", bytes: 4, flops: 1 },
      addPartsKernel: { element: "part", bytes: 4, flops: 1 },
      argmaxKernel: { element: "input", bytes: 4, flops: 2 },
      countEqualKernel: { element: "row", bytes: 8, flops: 1 },
    },
  },
  {
    title: "Losses",
    source: "loss_operations.cu",
    kernels: {
      logSoftmaxKernel: { element: "input", bytes: 8, flops: 6 },
      logSoftmaxGradientKernel: { element: "input", bytes: 12, flops: 4 },
      crossEntropyKernel: { element: "logit", bytes: "4, 8 with smoothing", flops: "5, 7 with smoothing" },
      crossEntropyGradientKernel: { element: "logit", bytes: 8, flops: 5 },
      addLossesKernel: { element: "row", bytes: 8, flops: 2 },
      binaryCrossEntropyKernel: { element: "logit", bytes: "12 to 16", flops: 16 },
      binaryCrossEntropyGradientKernel: { element: "logit", bytes: "16 to 20", flops: 14 },
    },
  },
  {
    title: "Normalization",
    source: "normalization_operations.cu",
    kernels: {
      batchStatisticsKernel: { element: "element", bytes: 4, flops: 4 },
      mergeStatisticsKernel: { element: "channel and part", bytes: 8, flops: "9, in double" },
      scaleShiftKernel: { element: "element", bytes: 8, flops: "2, 3 with a ReLU" },
      batchNormInferenceKernel: { element: "element", bytes: 8, flops: "6, 7 with a ReLU" },
      batchGradientSumsKernel: { element: "element", bytes: 8, flops: 4 },
      mergeGradientSumsKernel: { element: "channel and part", bytes: 8, flops: "2, in double" },
      batchNormGradientKernel: { element: "element", bytes: 12, flops: 5 },
      rowNormKernel: { element: "element", bytes: 8, flops: "7; RMSNorm 4" },
      rowNormGradientKernel: { element: "element", bytes: 12, flops: "11; RMSNorm 9" },
      rowNormColumnsKernel: { element: "element", bytes: 8, flops: 5 },
      addColumnPartsKernel: { element: "column and part", bytes: 8, flops: 2 },
    },
  },
  {
    title: "Pooling, windows of w × w",
    source: "pooling_operations.cu",
    kernels: {
      maxPoolKernel: { element: "output", bytes: "8 + 4 per input", flops: "w²" },
      maxPoolGradientKernel: { element: "input", bytes: "4 + 8 per output", flops: "w² / stride²" },
      averagePoolKernel: { element: "output", bytes: "4 + 4 per input", flops: "2 w²" },
      averagePoolGradientKernel: { element: "input", bytes: "4 + 4 per output", flops: "2 w² / stride²" },
    },
  },
  {
    title: "Raw images",
    source: "image_operations.cu",
    kernels: {
      normalizeImagesKernel: { element: "element of bytes", bytes: 5, flops: 2 },
    },
  },
  {
    title: "Matrix products and convolutions, [m, k] · [k, n]",
    source: "matrix_operations.cu",
    kernels: {
      gemmKernel: {
        element: "multiply-add",
        bytes:
          "1/rows + 1/columns of the tile, in elements, from the L2; (m k + k n + m n) / (m n k) elements from memory",
        flops: 2,
        shared: (kernel) => {
          const [, rows, columns] = kernel.match(/BlockTile<(\d+), (\d+),/).map(Number);
          // Four stages, 64 bytes deep.
          return (rows + columns) * 64 * 4;
        },
      },
      addSlicesKernel: { element: "output and 4,096 of k", bytes: 4, flops: 1 },
      padRowsKernel: { element: "input whose rows are not whole chunks", bytes: 8, flops: 0 },
      pairPixelsKernel: { element: "pixel of few channels", bytes: "4 per channel, and 16", flops: 0 },
      unpairPixelsKernel: { element: "weight of few channels", bytes: 8, flops: 0 },
      unpadRowsKernel: { element: "weight whose channels are not whole chunks", bytes: 8, flops: 0 },
    },
  },
  {
    title: "Sequences",
    source: "sequence_operations.cu",
    kernels: {
      embeddingKernel: { element: "output", bytes: 8, flops: 0 },
      sortIdsKernel: { element: "id", bytes: 12, flops: "55 comparisons" },
      mergeIdsKernel: { element: "id and launch", bytes: 16, flops: "15 binary searches" },
      embeddingGradientKernel: { element: "input", bytes: 4, flops: 1 },
      addEmbeddingPartsKernel: { element: "partial sum", bytes: 4, flops: 1 },
      rotaryKernel: { element: "element", bytes: 8, flops: "3; 6 in double for the pairs of eight sequences" },
    },
  },
  {
    title: "Attention",
    source: "attention_operations.cu",
    kernels: {
      attentionKernel: { element: `visible pair, ${heads}`, bytes: 16, flops: 264, shared: tiles(3) },
      attentionNumbersKernel: { element: "element", bytes: 8, flops: 2 },
      attentionQueryGradientKernel: { element: `visible pair, ${heads}`, bytes: 16, flops: 394, shared: tiles(4) },
      attentionKeyGradientKernel: { element: `visible pair, ${heads}`, bytes: 16, flops: 522, shared: tiles(4) },
      attentionTensorKernel: { element: `visible pair, ${heads}`, bytes: 4, flops: 264, shared: headTiles(1, 64) },
      attentionQueryGradientTensorKernel: {
        element: `visible pair, ${heads}`,
        bytes: 4,
        flops: 394,
        shared: headTiles(2, 64),
      },
      attentionKeyGradientTensorKernel: {
        element: `visible pair, ${heads}`,
        bytes: 4,
        flops: 522,
        shared: headTiles(2, 32, 2048),
      },
    },
  },
  {
    title: "Optimizer step",
    source: "optimizer_operations.cu",
    kernels: {
      gradientNormKernel: { element: "gradient", bytes: "4, or 2", flops: 3 },
      prepareStepKernel: { element: "group, and parameter", bytes: "300, and 150", flops: "100 in double, and 0" },
      updateKernel: { element: "parameter", bytes: "6 to 36, see fused-step.md", flops: "2 to 20" },
      trafficKernel: { element: "parameter", bytes: "6 to 36", flops: 0 },
    },
  },
];
