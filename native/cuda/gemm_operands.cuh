// The operands of a matrix product (gemm.cuh). Operands are read through loaders, so that a dense product and the three
// convolutions share one kernel. An operand is indexed by line (a row of A or a column of B) and by depth (the index
// along k). The part of an address that depends on one of them is computed once: by `line` before the loop over k, by
// `depth` once per stage.
//
//   struct Line, Depth
//   Line line(index), Depth depth(k)
//   const Element* at(line, depth)      null for a zero that is not in memory
//   bool kAlongLines                    whether neighbours in memory are neighbouring lines, not depths
//   const Element* data
//   int64_t neighbours()                how many elements are contiguous; if these are whole 16-byte chunks, they are
//                                       copied as such
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

// A dense matrix whose lines are contiguous.
template <class T>
struct DenseLines {
  static constexpr bool kAlongLines = false;
  using Element = T;
  using Line = const T*;
  using Depth = int;
  const T* data;
  int64_t stride;
  __device__ Line line(int index) const { return data + index * stride; }
  __device__ Depth depth(int k) const { return k; }
  __device__ const T* at(Line line, Depth k) const { return line + k; }
  __host__ int64_t neighbours() const { return stride; }
};

// An operand with lines and depths exchanged: a matrix that is stored transposed, or windows as columns.
template <class Operand>
struct Transposed {
  static constexpr bool kAlongLines = !Operand::kAlongLines;
  using Element = typename Operand::Element;
  using Line = typename Operand::Depth;
  using Depth = typename Operand::Line;
  Operand operand;
  const Element* data = operand.data;
  __host__ int64_t neighbours() const { return operand.neighbours(); }
  __device__ Line line(int index) const { return operand.depth(index); }
  __device__ Depth depth(int k) const { return operand.line(k); }
  __device__ const Element* at(const Line& line, const Depth& depth) const { return operand.at(depth, line); }
};

}  // namespace stepsize::cuda
