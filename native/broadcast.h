// Broadcasting of two operands by NumPy's rule: shapes are aligned at their last axes, a missing axis counts as one of
// size 1, and an axis of size 1 repeats along the other operand's axis.
//
// Kernel files include this header, so it uses no STL (see cpu/invocation.h).
#pragma once

#include "tensor_spec.h"

namespace stepsize {

// The size of an axis that is counted from the last one; 1 if the shape has no such axis.
STEPSIZE_INLINE int64_t sizeFromLast(const Shape& shape, int fromLast) {
  return fromLast < shape.rank ? shape[shape.rank - 1 - fromLast] : 1;
}

// Sets `result` to the broadcast shape of a and b. Returns whether there is one.
STEPSIZE_INLINE bool broadcastShapes(const Shape& a, const Shape& b, Shape& result) {
  result = Shape{};
  result.rank = a.rank > b.rank ? a.rank : b.rank;
  for (int i = 0; i < result.rank; i++) {
    const int64_t ofA = sizeFromLast(a, i), ofB = sizeFromLast(b, i);
    if (ofA != ofB && ofA != 1 && ofB != 1) return false;
    result.sizes[result.rank - 1 - i] = ofA == 1 ? ofB : ofA;
  }
  return true;
}

// The axes of a broadcast result, the last one first, and how far a step along each moves in the operands, in elements:
// 0 if the operand repeats. Neighbouring axes along which both operands behave alike are one axis here, so equal shapes
// have one axis, and a vector that is added to each row of a matrix has two. Axes of size 1 are left out. There is at
// least one axis.
struct Broadcast {
  int rank = 0;
  int64_t sizes[kMaxRank] = {};
  int64_t strideA[kMaxRank] = {};
  int64_t strideB[kMaxRank] = {};

  // The shapes must have a broadcast shape.
  STEPSIZE_INLINE Broadcast(const Shape& a, const Shape& b) {
    const int axes = a.rank > b.rank ? a.rank : b.rank;
    int64_t stepA = 1, stepB = 1;
    for (int i = 0; i < axes; i++) {
      const int64_t ofA = sizeFromLast(a, i), ofB = sizeFromLast(b, i), size = ofA == 1 ? ofB : ofA;
      if (size == 1) continue;
      const bool movesA = ofA == size, movesB = ofB == size;
      if (rank > 0 && (strideA[rank - 1] != 0) == movesA && (strideB[rank - 1] != 0) == movesB) {
        sizes[rank - 1] *= size;
      } else {
        sizes[rank] = size;
        strideA[rank] = movesA ? stepA : 0;
        strideB[rank] = movesB ? stepB : 0;
        rank++;
      }
      stepA *= ofA;
      stepB *= ofB;
    }
    if (rank == 0) {
      sizes[0] = strideA[0] = strideB[0] = 1;
      rank = 1;
    }
  }

  // The size of the last axis, along which both operands move by 1 or repeat.
  STEPSIZE_INLINE int64_t inner() const { return sizes[0]; }
  STEPSIZE_INLINE bool movesInnerA() const { return strideA[0] != 0; }
  STEPSIZE_INLINE bool movesInnerB() const { return strideB[0] != 0; }
  // The number of rows, each with the elements of the last axis.
  STEPSIZE_INLINE int64_t rows() const {
    int64_t count = 1;
    for (int axis = 1; axis < rank; axis++) count *= sizes[axis];
    return count;
  }
};

}  // namespace stepsize
