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
  // Of each tensor its place among all parameters of an optimizer, some of which may take no part; or none, if each has
  // its own index.
  std::vector<uint32_t> places;
  std::vector<bool> foreign;  // one per tensor: whether the memory is not the device's; or none where none is
  bool inHostMemory = false;  // arrays of JavaScript's, which only the call that was given them may use
  // What a backend makes of the list and keeps with it.
  mutable std::shared_ptr<void> backend;

  bool isForeign(size_t tensor) const { return !foreign.empty() && foreign[tensor]; }
  int64_t placeOf(size_t tensor) const { return places.empty() ? static_cast<int64_t>(tensor) : places[tensor]; }
};

using Lists = std::vector<std::shared_ptr<const TensorList>>;

}  // namespace stepsize
