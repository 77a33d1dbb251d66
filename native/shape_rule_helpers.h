// Helpers that the files of shape rules share: shapes from sizes, and checks of several tensors at once.
#pragma once

#include <initializer_list>

#include "operations.h"

namespace stepsize::shape_rule {

// A shape with these sizes.
inline Shape shapeOf(std::initializer_list<int64_t> sizes) {
  Shape shape;
  for (const int64_t size : sizes) shape.sizes[shape.rank++] = size;
  return shape;
}

// The size of the last axis: channels, classes or features.
inline int64_t lastAxis(const Shape& shape) { return shape[shape.rank - 1]; }

// Fails unless the inputs before `end` are all float32 or all bfloat16; returns the type. Activations, weights and
// their gradients share one type; statistics and losses are always float32.
inline DataType expectFloats(const Call& call, int end) {
  const DataType type = call.expectFloat(0);
  for (int i = 1; i < end; i++) call.expectType(i, type);
  return type;
}
// The same for all inputs.
inline DataType expectFloats(const Call& call) { return expectFloats(call, call.count()); }
// Fails unless the inputs in [from, end) are float32.
inline void expectStatistics(const Call& call, int from, int end) {
  for (int i = from; i < end; i++) call.expectType(i, DataType::float32);
}

}  // namespace stepsize::shape_rule
