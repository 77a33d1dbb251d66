// What a matrix product reads (gemm.cuh). Operands come through loaders, so that a dense product and the three
// convolutions are one kernel. An operand is read by its lines, rows of A or columns of B, and by depths, places along
// k; what an address needs of either is worked out once, by `line` before the loop over k and by `depth` once a stage:
//
//   struct Line, Depth
//   Line line(index), Depth depth(k)
//   const Element* at(line, depth)      null for a zero that is not in memory
//   bool kAlongLines                    whether neighbours in memory are neighbouring lines, not depths
//   const Element* data
//   int64_t neighbours()                how many lie side by side: whole chunks of 16 bytes can be read as such
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

// Lines one after another, each with its depths side by side.
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

// The same operand with its lines as depths: a matrix that is stored transposed, windows as columns.
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
