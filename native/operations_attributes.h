// The identifiers of the operations and the positions of their attributes: the part of the contract that kernels need.
// Kernel files include this header, so it uses no STL (see cpu/invocation.h).
#pragma once

namespace stepsize {

// The operations, in the order of operations.def.
enum class OperationId : int {
#define OPERATION_ON_LISTS(name, tensors, tensorNames, lists, listNames, shapeRule, ...) name,
#include "operations.def"
  count,
};
constexpr int kOperations = static_cast<int>(OperationId::count);

// The position of each attribute in a record: attribute::matmul::bias.
namespace attribute {
#define OPERATION_ON_LISTS(name, tensors, tensorNames, lists, listNames, shapeRule, ...) \
  namespace name {                                                                       \
  enum Position : int { __VA_ARGS__ kCount };                                            \
  }
#define ATTRIBUTE(name, type) name,
#include "operations.def"
}  // namespace attribute

}  // namespace stepsize
