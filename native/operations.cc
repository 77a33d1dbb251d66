#include "operations.h"

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

const char* const kActivationNames[kActivations] = {"none", "relu", "gelu", "silu"};

// The types of attributes that operations.def names. An attribute is required unless it has a default.

AttributeType integer(double min, double max) { return {AttributeKind::integer, min, max}; }
AttributeType number(double min = -kAny, double max = kAny) { return {AttributeKind::number, min, max}; }
AttributeType choice(const char* const* choices, int count) {
  return {AttributeKind::choice, 0, count - 1.0, true, 0, choices};
}
AttributeType flag() { return AttributeType{AttributeKind::flag, 0, 1}.orElse(0); }
AttributeType seed() { return integer(0, kSafeInteger); }
AttributeType size(double min) { return integer(min, kLargestSize); }
AttributeType epsilon() { return number(0).orElse(1e-5); }
AttributeType dataType() { return choice(dataTypeNames(), kDataTypes); }
AttributeType activation() { return choice(kActivationNames, kActivations).orElse(0); }
AttributeType updateRule() { return choice(update::kRuleNames, update::kRules); }
// A label that does not count. The default is PyTorch's.
AttributeType label() { return integer(-kLargestLabel - 1, kLargestLabel).orElse(-100); }

std::vector<Operation> makeTable() {
  return {
#define OPERATION_ON_LISTS(name, tensors, tensorNames, lists, listNames, shapeRule, ...) \
  {OperationId::name, #name, tensors, tensorNames, shape_rule::shapeRule, {__VA_ARGS__}, lists, listNames},
#define ATTRIBUTE(name, type) {#name, type},
#include "operations.def"
  };
}

#define OPERATION_ON_LISTS(name, tensors, tensorNames, lists, listNames, shapeRule, ...) \
  static_assert(attribute::name::kCount <= kMaxAttributes, "raise kMaxAttributes");
#include "operations.def"

// Operations that share code have their common attributes at the same positions.
template <class First, class... Others>
constexpr bool areEqual(First first, Others... others) {
  return ((static_cast<int>(first) == static_cast<int>(others)) && ...);
}
namespace a = attribute;
static_assert(areEqual(a::conv2d::stride, a::conv2dInputGradient::stride, a::conv2dWeightGradient::stride));
static_assert(areEqual(a::conv2d::padding, a::conv2dInputGradient::padding, a::conv2dWeightGradient::padding));
static_assert(areEqual(a::averagePool2d::size, a::averagePool2dGradient::size, a::maxPool2d::size,
                       a::maxPool2dGradient::size));
static_assert(areEqual(a::averagePool2d::stride, a::averagePool2dGradient::stride, a::maxPool2d::stride,
                       a::maxPool2dGradient::stride));
static_assert(areEqual(a::averagePool2d::padding, a::averagePool2dGradient::padding, a::maxPool2d::padding,
                       a::maxPool2dGradient::padding));
static_assert(areEqual(a::averagePool2dGradient::height, a::maxPool2dGradient::height));
static_assert(areEqual(a::averagePool2dGradient::width, a::maxPool2dGradient::width));
static_assert(areEqual(a::crossEntropy::smoothing, a::crossEntropyGradient::smoothing));
static_assert(areEqual(a::crossEntropy::ignoreIndex, a::crossEntropyGradient::ignoreIndex));
static_assert(areEqual(a::crossEntropy::classWeights, a::crossEntropyGradient::classWeights));
static_assert(areEqual(a::crossEntropy::itemWeights, a::crossEntropyGradient::itemWeights));
static_assert(areEqual(a::binaryCrossEntropy::positiveWeights, a::binaryCrossEntropyGradient::positiveWeights));
static_assert(areEqual(a::binaryCrossEntropy::weights, a::binaryCrossEntropyGradient::weights));
static_assert(areEqual(a::layerNorm::epsilon, a::rmsNorm::epsilon));
static_assert(areEqual(a::attention::scale, a::attentionGradient::scale));

}  // namespace

const Operation& operation(OperationId id) {
  // Never destroyed, because a device's thread may use it while the process runs its static destructors.
  static const auto& table = *new std::vector<Operation>(makeTable());
  return table[static_cast<size_t>(id)];
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
