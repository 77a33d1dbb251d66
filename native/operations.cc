#include "operations.h"

#include <cassert>
#include <limits>

#include "epilogue.h"
#include "shape_rules.h"
#include "update/rules.h"

namespace stepsize {

namespace {

constexpr double kAny = std::numeric_limits<double>::infinity();
constexpr double kSafeInteger = 9007199254740991.0;
constexpr double kLargestSize = 1 << 24;
constexpr double kLargestLabel = 2147483647;

Attribute integer(const char* name, double least, double most) {
  return {name, AttributeKind::integer, least, most, true, 0};
}
Attribute integer(const char* name, double least, double most, double otherwise) {
  return {name, AttributeKind::integer, least, most, false, otherwise};
}
Attribute number(const char* name, double least = -kAny, double most = kAny) {
  return {name, AttributeKind::number, least, most, true, 0};
}
Attribute numberOr(const char* name, double otherwise, double least = -kAny, double most = kAny) {
  return {name, AttributeKind::number, least, most, false, otherwise};
}
Attribute flag(const char* name) { return {name, AttributeKind::flag, 0, 1, false, 0}; }
Attribute choice(const char* name, const char* const* choices, int count) {
  return {name, AttributeKind::choice, 0, count - 1.0, true, 0, choices};
}

const char* const kActivationNames[kActivations] = {"none", "relu", "gelu", "silu"};

std::vector<Operation> makeTable() {
  const auto seed = integer("seed", 0, kSafeInteger);
  const auto stream = integer("stream", 0, kSafeInteger, 0);
  const auto stride = integer("stride", 1, kLargestSize, 1);
  const auto padding = integer("padding", 0, kLargestSize, 0);
  const auto column = integer("column", 0, kLargestSize, 0);
  const auto height = integer("height", 0, kLargestSize);
  const auto width = integer("width", 0, kLargestSize);
  const auto size = integer("size", 1, kLargestSize);
  const auto epsilon = numberOr("epsilon", 1e-5, 0);
  const Attribute activation{"activation", AttributeKind::choice, 0, kActivations - 1, false, 0, kActivationNames};
  const Attribute dataType{"dtype", AttributeKind::choice, 0, kDataTypes - 1, true, 0, dataTypeNames()};
  const auto smoothing = numberOr("smoothing", 0, 0, 1);
  // The default is PyTorch's value for a label that does not count.
  const auto ignoreIndex = integer("ignoreIndex", -kLargestLabel - 1, kLargestLabel, -100);
  using Id = OperationId;
  return {
      {Id::fill, "fill", kAnyNumber, "destination[, cause]", shape_rule::fill, {number("value")}},
      {Id::copy, "copy", 2, "destination, source", shape_rule::copy, {}},
      {Id::cast, "cast", 1, "x", shape_rule::cast, {dataType}},
      {Id::writeRow, "writeRow", 3, "ring, count, values", shape_rule::writeRow, {column, flag("last")}},
      {Id::uniform, "uniform", 1, "destination", shape_rule::uniform, {number("low"), number("high"), seed, stream}},
      {Id::normal,
       "normal",
       1,
       "destination",
       shape_rule::random,
       {number("mean"), number("deviation", 0), seed, stream}},
      {Id::dropout,
       "dropout",
       kAnyNumber,
       "x[, calls]",
       shape_rule::dropout,
       {number("probability", 0, 1), seed, stream}},
      {Id::add, "add", 2, "a, b", shape_rule::binary, {}},
      {Id::subtract, "subtract", 2, "a, b", shape_rule::binary, {}},
      {Id::multiply, "multiply", 2, "a, b", shape_rule::binary, {}},
      {Id::divide, "divide", 2, "a, b", shape_rule::binary, {}},
      {Id::addRelu, "addRelu", 2, "a, b", shape_rule::binary, {}},
      {Id::affine, "affine", 1, "x", shape_rule::sameAsInput, {numberOr("scale", 1), numberOr("shift", 0)}},
      {Id::exp, "exp", 1, "x", shape_rule::sameAsInput, {}},
      {Id::log, "log", 1, "x", shape_rule::sameAsInput, {}},
      {Id::sqrt, "sqrt", 1, "x", shape_rule::sameAsInput, {}},
      {Id::square, "square", 1, "x", shape_rule::sameAsInput, {}},
      {Id::tanh, "tanh", 1, "x", shape_rule::sameAsInput, {}},
      {Id::sigmoid, "sigmoid", 1, "x", shape_rule::sameAsInput, {}},
      {Id::relu, "relu", 1, "x", shape_rule::sameAsInput, {}},
      {Id::reluGradient, "reluGradient", 2, "output, gradient", shape_rule::sameShapes, {}},
      {Id::gelu, "gelu", 1, "x", shape_rule::sameAsInput, {}},
      {Id::geluGradient, "geluGradient", 2, "x, gradient", shape_rule::sameShapes, {}},
      {Id::silu, "silu", 1, "x", shape_rule::sameAsInput, {}},
      {Id::siluGradient, "siluGradient", 2, "x, gradient", shape_rule::sameShapes, {}},
      {Id::sum,
       "sum",
       1,
       "x",
       shape_rule::sum,
       {integer("axis", 0, kMaxRank), integer("count", 0, kMaxRank), numberOr("scale", 1)}},
      {Id::expand,
       "expand",
       1,
       "x",
       shape_rule::expand,
       {integer("axis", 0, kMaxRank), integer("size", 0, kSafeInteger), numberOr("scale", 1)}},
      {Id::argmax, "argmax", 1, "x", shape_rule::argmax, {}},
      {Id::matmul,
       "matmul",
       kAnyNumber,
       "a, b[, bias][, residual]",
       shape_rule::matmul,
       {flag("transposeA"), flag("transposeB"), flag("bias"), activation}},
      {Id::conv2d, "conv2d", 2, "images, weights", shape_rule::conv2d, {stride, padding}},
      {Id::conv2dInputGradient,
       "conv2dInputGradient",
       2,
       "gradient, weights",
       shape_rule::conv2dInputGradient,
       {stride, padding, height, width}},
      {Id::conv2dWeightGradient,
       "conv2dWeightGradient",
       2,
       "images, gradient",
       shape_rule::conv2dWeightGradient,
       {stride, padding, height, width}},
      {Id::batchNorm,
       "batchNorm",
       5,
       "x, gamma, beta, runningMean, runningVariance",
       shape_rule::batchNorm,
       {numberOr("momentum", 0.1, 0, 1), epsilon, flag("relu")}},
      {Id::batchNormInference,
       "batchNormInference",
       5,
       "x, gamma, beta, mean, variance",
       shape_rule::batchNormInference,
       {epsilon, flag("relu")}},
      {Id::batchNormGradient,
       "batchNormGradient",
       5,
       "x, gradient, gamma, mean, inverseDeviation",
       shape_rule::batchNormGradient,
       {}},
      {Id::maxPool2d, "maxPool2d", 1, "images", shape_rule::maxPool2d, {size, stride, padding}},
      {Id::maxPool2dGradient,
       "maxPool2dGradient",
       2,
       "gradient, indices",
       shape_rule::maxPool2dGradient,
       {size, stride, padding, height, width}},
      {Id::averagePool2d, "averagePool2d", 1, "images", shape_rule::averagePool2d, {size, stride, padding}},
      {Id::averagePool2dGradient,
       "averagePool2dGradient",
       1,
       "gradient",
       shape_rule::averagePool2dGradient,
       {size, stride, padding, height, width}},
      {Id::normalizeImages,
       "normalizeImages",
       kAnyNumber,
       "raw, factor, offset[, moves]",
       shape_rule::normalizeImages,
       {dataType}},
      {Id::logSoftmax, "logSoftmax", 1, "x", shape_rule::logSoftmax, {}},
      {Id::logSoftmaxGradient, "logSoftmaxGradient", 2, "output, gradient", shape_rule::sameShapes, {}},
      {Id::crossEntropy,
       "crossEntropy",
       kAnyNumber,
       "logits, labels[, classWeights][, itemWeights]",
       shape_rule::crossEntropy,
       {smoothing, ignoreIndex, flag("classWeights"), flag("itemWeights")}},
      {Id::crossEntropyGradient,
       "crossEntropyGradient",
       kAnyNumber,
       "logits, labels[, classWeights][, itemWeights], weight, maxima, inverseSums, gradient",
       shape_rule::crossEntropyGradient,
       {smoothing, ignoreIndex, flag("classWeights"), flag("itemWeights"), flag("mean")}},
      {Id::binaryCrossEntropy,
       "binaryCrossEntropy",
       kAnyNumber,
       "logits, targets[, positiveWeights][, weights]",
       shape_rule::binaryCrossEntropy,
       {flag("positiveWeights"), flag("weights")}},
      {Id::binaryCrossEntropyGradient,
       "binaryCrossEntropyGradient",
       kAnyNumber,
       "logits, targets[, positiveWeights][, weights], gradient",
       shape_rule::binaryCrossEntropyGradient,
       {flag("positiveWeights"), flag("weights")}},
      {Id::correctCount, "correctCount", 2, "logits, labels", shape_rule::correctCount, {ignoreIndex}},
      {Id::embedding, "embedding", 2, "ids, table", shape_rule::embedding, {}},
      {Id::embeddingGradient,
       "embeddingGradient",
       2,
       "ids, gradient",
       shape_rule::embeddingGradient,
       {integer("rows", 1, kSafeInteger)}},
      {Id::layerNorm, "layerNorm", kAnyNumber, "x[, gamma, beta]", shape_rule::layerNorm, {epsilon}},
      {Id::layerNormGradient,
       "layerNormGradient",
       kAnyNumber,
       "x, gradient, mean, inverseDeviation[, gamma]",
       shape_rule::layerNormGradient,
       {}},
      {Id::rmsNorm, "rmsNorm", kAnyNumber, "x[, gamma]", shape_rule::rmsNorm, {epsilon}},
      {Id::rmsNormGradient,
       "rmsNormGradient",
       kAnyNumber,
       "x, gradient, inverseDeviation[, gamma]",
       shape_rule::rmsNormGradient,
       {}},
      {Id::rotary, "rotary", 1, "x", shape_rule::rotary, {numberOr("base", 1e4, 1), flag("inverse")}},
      {Id::swiglu, "swiglu", 2, "gate, up", shape_rule::sameShapes, {}},
      {Id::swigluGradient, "swigluGradient", 3, "gate, up, gradient", shape_rule::swigluGradient, {}},
      {Id::attention, "attention", 3, "queries, keys, values", shape_rule::attention, {number("scale")}},
      {Id::attentionGradient,
       "attentionGradient",
       7,
       "queries, keys, values, output, gradient, maxima, inverseSums",
       shape_rule::attentionGradient,
       {number("scale")}},
      {Id::gradientNorm, "gradientNorm", 0, "", shape_rule::gradientNorm, {}, 1, "gradients"},
      {Id::prepareStep,
       "prepareStep",
       kAnyNumber,
       "hyper, state, updates, groups[, norm][, weight][, schedule]",
       shape_rule::prepareStep,
       {numberOr("maxNorm", 0, 0), flag("checkFinite"), flag("skipNonFinite"), numberOr("gradientScale", 1),
        flag("scheduled"), flag("weighed")}},
      {Id::update,
       "update",
       2,
       "scalars, updates",
       shape_rule::update,
       {choice("rule", update::kRuleNames, update::kRules), flag("zeroGradients"),
        integer("roundingSeed", 0, kSafeInteger, 0)},
       kAnyNumber,
       "parameters, gradients, moments...[, copies]"},
      {Id::traffic,
       "traffic",
       0,
       "",
       shape_rule::traffic,
       {choice("rule", update::kRuleNames, update::kRules)},
       kAnyNumber,
       "parameters, gradients, moments...[, copies]"},
  };
}

}  // namespace

const Operation& operation(OperationId id) {
  // Never destroyed, because a device's thread may use it while the process runs its static destructors.
  static const auto& table = *new std::vector<Operation>(makeTable());
  const auto& found = table[static_cast<size_t>(id)];
  assert(found.id == id && "the table must list the operations in the order of the enumeration");
  return found;
}

const char* const* dataTypeNames() {
  static const char* const names[kDataTypes] = {"float32", "float64", "int32", "uint8", "bfloat16"};
  return names;
}

const char* nameOf(DataType type) { return dataTypeNames()[static_cast<size_t>(type)]; }

bool fits(const Shape& shape) {
  double elements = 1;
  for (int axis = 0; axis < shape.rank; axis++) elements *= static_cast<double>(shape[axis] > 0 ? shape[axis] : 1);
  return elements <= kMaxElements;
}

std::string describe(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank; axis++) text += (axis ? "," : "") + std::to_string(shape[axis]);
  return text + "]";
}

std::string describe(const TensorSpec& spec) { return nameOf(spec.type) + describe(spec.shape); }

std::string describe(const Operation& operation, const std::vector<TensorSpec>& inputs, const Lists& lists) {
  std::string text = std::string(operation.name) + "(";
  const size_t shown = inputs.size() > 6 ? 4 : inputs.size();
  for (size_t i = 0; i < shown; i++) text += (i ? ", " : "") + describe(inputs[i]);
  if (shown < inputs.size()) text += ", and " + std::to_string(inputs.size() - shown) + " more";
  for (size_t i = 0; i < lists.size(); i++) {
    const std::vector<TensorView>& tensors = lists[i]->tensors;
    text += (i == 0 && shown == 0 ? "" : ", ") + std::to_string(tensors.size()) + " × ";
    text += tensors.empty() ? "nothing" : describe(tensors[0]) + (tensors.size() > 1 ? "…" : "");
  }
  return text + ")";
}

void Call::fail(const std::string& message) const {
  throw CallError(describe(operation_, inputs_, lists_) + ": " + message);
}

void Call::expectType(int index, DataType type) const {
  expect(input(index).type == type, "tensor " + std::to_string(index) + " of (" + operation_.inputNames + ") must be " +
                                        nameOf(type) + ", got " + nameOf(input(index).type));
}

DataType Call::expectFloat(int index) const {
  const DataType type = input(index).type;
  expect(type == DataType::float32 || type == DataType::bfloat16,
         "tensor " + std::to_string(index) + " of (" + operation_.inputNames + ") must be float32 or bfloat16, got " +
             nameOf(type));
  return type;
}

void Call::expectRank(int index, int rank) const {
  expect(input(index).shape.rank == rank, "tensor " + std::to_string(index) + " of (" + operation_.inputNames +
                                              ") must have " + std::to_string(rank) + " axes, got " +
                                              describe(input(index).shape));
}

void Call::expectShape(int index, const Shape& shape) const {
  expect(input(index).shape == shape, "tensor " + std::to_string(index) + " of (" + operation_.inputNames +
                                          ") must have shape " + describe(shape) + ", got " +
                                          describe(input(index).shape));
}

void Call::output(DataType type, const Shape& shape) {
  expect(fits(shape), "the result " + describe(shape) + " has more elements than a tensor can hold");
  TensorSpec spec;
  spec.type = type;
  spec.shape = shape;
  outputs.push_back(spec);
}

}  // namespace stepsize
