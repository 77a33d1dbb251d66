// Shapes and element types, as all backends and the binding use them.
#pragma once

#include <cstdint>

#define STEPSIZE_INLINE inline __attribute__((always_inline))

namespace stepsize {

// The element types.
enum class DataType : uint8_t { float32, float64, int32, uint8, bfloat16 };
constexpr int kDataTypes = 5;

// The bytes of one element.
STEPSIZE_INLINE int64_t sizeOf(DataType type) {
  constexpr int64_t sizes[kDataTypes] = {4, 8, 4, 1, 2};
  return sizes[static_cast<int>(type)];
}

// The most axes of a tensor.
constexpr int kMaxRank = 6;

// A row-major, contiguous shape. Images are NHWC. Rank 0 is a scalar, with one element.
struct Shape {
  int rank = 0;
  int64_t sizes[kMaxRank] = {};

  STEPSIZE_INLINE int64_t operator[](int axis) const { return sizes[axis]; }
  STEPSIZE_INLINE int64_t product(int from, int to) const {
    int64_t count = 1;
    for (int axis = from; axis < to; axis++) count *= sizes[axis];
    return count;
  }
  STEPSIZE_INLINE int64_t elements() const { return product(0, rank); }
  STEPSIZE_INLINE bool operator==(const Shape& other) const {
    if (rank != other.rank) return false;
    for (int axis = 0; axis < rank; axis++)
      if (sizes[axis] != other.sizes[axis]) return false;
    return true;
  }
};

// The type and shape of a tensor.
struct TensorSpec {
  DataType type = DataType::float32;
  Shape shape;

  STEPSIZE_INLINE int64_t elements() const { return shape.elements(); }
  STEPSIZE_INLINE int64_t bytes() const { return elements() * sizeOf(type); }
  STEPSIZE_INLINE bool operator==(const TensorSpec& other) const { return type == other.type && shape == other.shape; }
};

// A tensor as a kernel sees it: a spec and the address of the elements. A view does not keep the memory alive; stream
// order does (see allocator.h).
struct TensorView : TensorSpec {
  void* data = nullptr;

  template <class T>
  STEPSIZE_INLINE T* as() const {
    return static_cast<T*>(data);
  }
  STEPSIZE_INLINE float* floats() const { return static_cast<float*>(data); }
};

}  // namespace stepsize
