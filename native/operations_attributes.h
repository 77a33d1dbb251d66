// The identifiers of the operations and the positions of their attributes: the part of the contract that kernels need.
// Kernel files include this header, so it uses no STL (see cpu/invocation.h).
#pragma once

namespace stepsize {

// The operations, in the order of the table in operations.cc.
enum class OperationId : int {
  fill,
  copy,
  cast,
  writeRow,
  uniform,
  normal,
  dropout,
  add,
  subtract,
  multiply,
  divide,
  addRelu,
  affine,
  exp,
  log,
  sqrt,
  square,
  tanh,
  sigmoid,
  relu,
  reluGradient,
  gelu,
  geluGradient,
  silu,
  siluGradient,
  sum,
  expand,
  argmax,
  matmul,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  batchNorm,
  batchNormInference,
  batchNormGradient,
  maxPool2d,
  maxPool2dGradient,
  averagePool2d,
  averagePool2dGradient,
  normalizeImages,
  logSoftmax,
  logSoftmaxGradient,
  crossEntropy,
  crossEntropyGradient,
  binaryCrossEntropy,
  binaryCrossEntropyGradient,
  correctCount,
  embedding,
  embeddingGradient,
  layerNorm,
  layerNormGradient,
  rmsNorm,
  rmsNormGradient,
  rotary,
  swiglu,
  swigluGradient,
  attention,
  attentionGradient,
  gradientNorm,
  prepareStep,
  update,
  traffic,
  count,
};
constexpr int kOperations = static_cast<int>(OperationId::count);

// The position of each attribute in a record. The names that callers use are in operations.cc, in the same order.
namespace attribute {
enum Fill { value };
enum Cast { type };
enum WriteRow { firstColumn, lastOfRow };
enum Uniform { low, high, uniformSeed, uniformStream };
enum Normal { mean, deviation, normalSeed, normalStream };
enum Dropout { probability, dropoutSeed, dropoutStream };
enum Affine { scale, shift };
enum Sum { sumAxis, sumCount, sumScale };
enum Expand { expandAxis, expandSize, expandScale };
enum Matmul { transposeA, transposeB, matmulBias, matmulActivation };
enum Conv2d { stride, padding, height, width };  // height, width: of the image or kernel whose gradient is computed
enum BatchNorm { momentum, batchNormEpsilon, batchNormRelu };
enum BatchNormInference { inferenceEpsilon, inferenceRelu };
enum Pool { poolSize, poolStride, poolPadding, poolHeight, poolWidth };
enum NormalizeImages { imagesType };
enum CrossEntropy { smoothing, ignoreIndex, classWeights, itemWeights, ofMean };
enum BinaryCrossEntropy { positiveWeights, elementWeights };
enum CorrectCount { ignoredLabel };
enum EmbeddingGradient { embeddingRows };
enum LayerNorm { normEpsilon };  // also RMSNorm
enum Rotary { rotaryBase, rotaryInverse };
enum Attention { attentionScale };
enum PrepareStep { maxNorm, checkFinite, skipNonFinite, gradientScale, scheduled, weighed };
enum Update { updateRule, zeroGradients, roundingSeed };
enum Traffic { trafficRule };
}  // namespace attribute

}  // namespace stepsize
