// Tensors that an operation takes together, however many there are: all parameters of a model, all gradients.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tensor_spec.h"

namespace stepsize {

// Fixed once it is made, so that records that still wait and a backend's tables can share it.
struct TensorList {
  std::vector<TensorView> tensors;
  std::vector<uint16_t> groups;  // one per tensor, or none where all are of group 0
  std::vector<bool> foreign;     // one per tensor: whether the memory is not the device's; or none where none is
  bool inHostMemory = false;     // arrays of JavaScript's, which only the call that was given them may use
  // What a backend makes of the list and keeps with it.
  mutable std::shared_ptr<void> backend;

  bool isForeign(size_t tensor) const { return !foreign.empty() && foreign[tensor]; }
  int64_t groupOf(size_t tensor) const { return groups.empty() ? 0 : groups[tensor]; }
};

using Lists = std::vector<std::shared_ptr<const TensorList>>;

}  // namespace stepsize
