// What the files of rules share: shapes from sizes, and checks of several tensors at once.
#pragma once

#include <initializer_list>

#include "operations.h"

namespace stepsize::rules {

inline Shape shapeOf(std::initializer_list<int64_t> sizes) {
  Shape shape;
  for (const int64_t size : sizes) shape.sizes[shape.rank++] = size;
  return shape;
}

// The last axis: channels, classes or features.
inline int64_t lastAxis(const Shape& shape) { return shape[shape.rank - 1]; }

// Every input is float32.
inline void expectFloats(const Call& call) {
  for (int i = 0; i < call.count(); i++) call.expectType(i, DataType::float32);
}

}  // namespace stepsize::rules
