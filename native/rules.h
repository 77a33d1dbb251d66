// The shape-and-type rule of each operation. A rule runs on the caller's thread, before anything is enqueued.
#pragma once

#include "operations.h"

namespace stepsize::rules {

void fill(Call& call);
void copy(Call& call);
void cast(Call& call);
void writeRow(Call& call);
void random(Call& call);
void uniform(Call& call);
void dropout(Call& call);
void sameAsInput(Call& call);
void sameShapes(Call& call);
void binary(Call& call);
void sum(Call& call);
void expand(Call& call);
void argmax(Call& call);
void matmul(Call& call);
void conv2d(Call& call);
void conv2dInputGradient(Call& call);
void conv2dWeightGradient(Call& call);
void batchNorm(Call& call);
void batchNormInference(Call& call);
void batchNormGradient(Call& call);
void maxPool2d(Call& call);
void maxPool2dGradient(Call& call);
void averagePool2d(Call& call);
void averagePool2dGradient(Call& call);
void normalizeImages(Call& call);
void logSoftmax(Call& call);
void crossEntropy(Call& call);
void crossEntropyGradient(Call& call);
void binaryCrossEntropy(Call& call);
void binaryCrossEntropyGradient(Call& call);
void correctCount(Call& call);
void embedding(Call& call);
void embeddingGradient(Call& call);
void layerNorm(Call& call);
void layerNormGradient(Call& call);
void rmsNorm(Call& call);
void rmsNormGradient(Call& call);
void rotary(Call& call);
void swigluGradient(Call& call);
void attention(Call& call);
void attentionGradient(Call& call);
void gradientNorm(Call& call);
void prepareStep(Call& call);
void update(Call& call);
void traffic(Call& call);

}  // namespace stepsize::rules
