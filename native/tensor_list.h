// Lists of tensors that an operation takes as one operand: all parameters of a model, all gradients.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tensor_spec.h"

namespace stepsize {

// An immutable list of tensors. Records that still wait and a backend's tables may share it.
struct TensorList {
  std::vector<TensorView> tensors;
  // For each tensor, its index among all parameters of an optimizer, some of which may be missing here. Empty if each
  // tensor's place is its index in this list.
  std::vector<uint32_t> places;
  // For each tensor, whether its memory is caller-owned; empty if no tensor's is.
  std::vector<bool> foreign;
  bool inHostMemory = false;  // some tensors are JavaScript arrays, valid only during the call
  // Data that a backend derives from the list and caches here.
  mutable std::shared_ptr<void> backend;

  bool isForeign(size_t tensor) const { return !foreign.empty() && foreign[tensor]; }
  int64_t placeOf(size_t tensor) const { return places.empty() ? static_cast<int64_t>(tensor) : places[tensor]; }
};

// The list operands of a record.
using Lists = std::vector<std::shared_ptr<const TensorList>>;

}  // namespace stepsize
