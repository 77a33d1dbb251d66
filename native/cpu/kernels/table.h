// The CPU kernel of every operation, for one instruction set. One source file per instruction set includes this file.
#pragma once

#include "attention.h"
#include "convolution.h"
#include "elementwise.h"
#include "embedding.h"
#include "images.h"
#include "layer_norm.h"
#include "loss.h"
#include "matmul.h"
#include "normalization.h"
#include "pooling.h"
#include "random.h"
#include "reduce.h"
#include "ring.h"
#include "rotary.h"
#include "swiglu.h"
#include "traffic.h"
#include "update.h"
#include "widened.h"

namespace stepsize::STEPSIZE_ISA {

inline Kernel kernelFor(OperationId id) {
  switch (id) {
    case OperationId::fill: return fill;
    case OperationId::copy: return copy;
    case OperationId::cast: return cast;
    case OperationId::writeRow: return writeRow;
    case OperationId::uniform: return uniform;
    case OperationId::normal: return normal;
    case OperationId::dropout: return dropout;
    case OperationId::add: return add;
    case OperationId::subtract: return subtract;
    case OperationId::multiply: return multiply;
    case OperationId::divide: return divide;
    case OperationId::addRelu: return addRelu;
    case OperationId::affine: return affine;
    case OperationId::exp: return exp;
    case OperationId::log: return log;
    case OperationId::sqrt: return sqrt;
    case OperationId::square: return square;
    case OperationId::tanh: return tanh;
    case OperationId::sigmoid: return sigmoid;
    case OperationId::relu: return relu;
    case OperationId::reluGradient: return reluGradient;
    case OperationId::gelu: return gelu;
    case OperationId::geluGradient: return geluGradient;
    case OperationId::silu: return silu;
    case OperationId::siluGradient: return siluGradient;
    case OperationId::sum: return sum;
    case OperationId::expand: return expand;
    case OperationId::argmax: return argmax;
    case OperationId::matmul: return matmul;
    case OperationId::conv2d: return conv2d;
    case OperationId::conv2dInputGradient: return conv2dInputGradient;
    case OperationId::conv2dWeightGradient: return conv2dWeightGradient;
    case OperationId::batchNorm: return batchNorm;
    case OperationId::batchNormInference: return batchNormInference;
    case OperationId::batchNormGradient: return batchNormGradient;
    case OperationId::maxPool2d: return maxPool2d;
    case OperationId::maxPool2dGradient: return maxPool2dGradient;
    case OperationId::averagePool2d: return averagePool2d;
    case OperationId::averagePool2dGradient: return averagePool2dGradient;
    case OperationId::normalizeImages: return normalizeImages;
    case OperationId::logSoftmax: return logSoftmax;
    case OperationId::logSoftmaxGradient: return logSoftmaxGradient;
    case OperationId::crossEntropy: return crossEntropy;
    case OperationId::crossEntropyGradient: return crossEntropyGradient;
    case OperationId::binaryCrossEntropy: return binaryCrossEntropy;
    case OperationId::binaryCrossEntropyGradient: return binaryCrossEntropyGradient;
    case OperationId::correctCount: return correctCount;
    case OperationId::embedding: return embedding;
    case OperationId::embeddingGradient: return embeddingGradient;
    case OperationId::layerNorm: return layerNorm;
    case OperationId::layerNormGradient: return layerNormGradient;
    case OperationId::rmsNorm: return rmsNorm;
    case OperationId::rmsNormGradient: return rmsNormGradient;
    case OperationId::rotary: return rotary;
    case OperationId::swiglu: return swiglu;
    case OperationId::swigluGradient: return swigluGradient;
    case OperationId::attention: return attention;
    case OperationId::attentionGradient: return attentionGradient;
    case OperationId::gradientNorm: return gradientNorm;
    case OperationId::prepareStep: return prepareStep;
    case OperationId::update: return updateStep;
    case OperationId::traffic: return traffic;
    case OperationId::count: break;
  }
  return nullptr;
}

// Whether the kernel itself reads and writes bfloat16.
inline bool knowsBFloat16(OperationId id) {
  switch (id) {
    case OperationId::fill:
    case OperationId::copy:
    case OperationId::cast:
    case OperationId::writeRow: return true;
    default: return false;
  }
}

bool implements(OperationId id) { return kernelFor(id) != nullptr; }

void run(OperationId id, const Invocation& call) {
  if (hasBFloat16(call) && !knowsBFloat16(id))
    runWidened(kernelFor(id), call);
  else
    kernelFor(id)(call);
}

}  // namespace stepsize::STEPSIZE_ISA
