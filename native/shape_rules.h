// The shape rules: each function checks the operation of the same name and determines its outputs. A shape rule runs on
// the caller's thread, before anything is enqueued. Operations without a function of their own share one that is listed
// in operations.cc. Tensors are named as in operations.cc.
#pragma once

#include "operations.h"

namespace stepsize::shape_rule {

// destination[, cause]: overwrites destination.
void fill(Call& call);
// destination, source: overwrites destination; types and element counts must be equal.
void copy(Call& call);
// x → the same shape in the type of the attribute.
void cast(Call& call);
// ring [rows, columns] float64, count int32, values: changes ring and count.
void writeRow(Call& call);
// destination float32: overwrites destination.
void random(Call& call);
// The same as random(), with low ≤ high.
void uniform(Call& call);
// x[, calls] → the shape and type of x.
void dropout(Call& call);
// x → the shape and type of x, for functions of one element.
void sameAsInput(Call& call);
// Tensors of one type, the first two of one shape → that shape and type.
void sameShapes(Call& call);
// a, b → the larger shape; the smaller shape must be its last axes.
void binary(Call& call);
// x → x without the summed axes.
void sum(Call& call);
// x → x with one more axis.
void expand(Call& call);
// x → x without its last axis, int32.
void argmax(Call& call);
// a, b[, bias][, residual] → [m, n].
void matmul(Call& call);
// images [N,H,W,C], weights [outputs, kernelHeight, kernelWidth, C] → [N,H',W',outputs].
void conv2d(Call& call);
// gradient [N,H',W',outputs], weights → [N,H,W,C].
void conv2dInputGradient(Call& call);
// images [N,H,W,C], gradient [N,H',W',outputs] → the shape of the weights.
void conv2dWeightGradient(Call& call);
// x, gamma, beta, running mean and variance → y, mean, inverse deviation; changes the running statistics.
void batchNorm(Call& call);
// x, gamma, beta, mean, variance → y.
void batchNormInference(Call& call);
// x, gradient, gamma, mean, inverse deviation → the gradients of x, gamma and beta.
void batchNormGradient(Call& call);
// images [N,H,W,C] → [N,H',W',C] and the int32 position of each maximum in its image.
void maxPool2d(Call& call);
// gradient [N,H',W',C], indices → [N,H,W,C].
void maxPool2dGradient(Call& call);
// images [N,H,W,C] → [N,H',W',C].
void averagePool2d(Call& call);
// gradient [N,H',W',C] → [N,H,W,C].
void averagePool2dGradient(Call& call);
// raw, factor [C], offset [C][, moves [N,3]] → the shape of raw.
void normalizeImages(Call& call);
// x with at least one axis → the shape of x.
void logSoftmax(Call& call);
// logits [rows, classes], labels [rows], weights → losses [rows], their sum, the weight, the mean, two statistics
// [rows].
void crossEntropy(Call& call);
// logits, labels, weights, total weight, maxima, inverse sums, gradient → the gradient of the logits.
void crossEntropyGradient(Call& call);
// logits, targets, weights → one float32 loss per logit.
void binaryCrossEntropy(Call& call);
// logits, targets, weights, gradient → the gradient of the logits.
void binaryCrossEntropyGradient(Call& call);
// logits [rows, classes], labels [rows] → a float32 scalar.
void correctCount(Call& call);
// ids [...], table [rows, width] → [..., width].
void embedding(Call& call);
// ids [...], gradient [..., width] → [rows, width].
void embeddingGradient(Call& call);
// x[, gamma, beta] → y, and the mean and inverse deviation of each row.
void layerNorm(Call& call);
// x, gradient, mean, inverse deviation[, gamma] → the gradients of x[, gamma, beta].
void layerNormGradient(Call& call);
// x[, gamma] → y, and the inverse deviation of each row.
void rmsNorm(Call& call);
// x, gradient, inverse deviation[, gamma] → the gradients of x[, gamma].
void rmsNormGradient(Call& call);
// x [batch, length, heads, size] with an even size → the shape of x.
void rotary(Call& call);
// gate, up, gradient → the gradients of gate and up.
void swigluGradient(Call& call);
// queries, keys, values [batch, length, heads, size] → output, and two statistics [batch, heads, length].
void attention(Call& call);
// queries, keys, values, output, gradient, maxima, inverse sums → the gradients of queries, keys and values.
void attentionGradient(Call& call);
// A list of gradients → a float64 scalar.
void gradientNorm(Call& call);
// hyper, state, updates, groups[, norm][, weight][, schedule] → scalars; changes state and updates.
void prepareStep(Call& call);
// scalars, updates, and the lists of an update rule: changes updates and all lists but the gradients, which it may
// zero.
void update(Call& call);
// The lists of an update rule: changes all of them but the gradients.
void traffic(Call& call);

}  // namespace stepsize::shape_rule
