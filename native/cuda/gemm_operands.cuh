// The operands of a matrix product (gemm.cuh). Operands are read through loaders, so that a dense product and the three
// convolutions share one kernel. An operand is indexed by line (a row of A or a column of B) and by depth (the index
// along k). It has
//
//   bool kAlongLines                    whether neighbours in memory are neighbouring lines, not depths
//
// and a Walk, which gives a thread the addresses of its chunks, stage after stage. What does not change from stage to
// stage is computed once, when a walk begins. Neighbours in memory are whole chunks of 16 bytes.
//
//   Walk(operand, first line, number of lines, first k)
//   void advance(k)                     to the stage from k on, first to the first k
//   Source<Element> at(copy, k)
#pragma once

#include "platform.cuh"

namespace stepsize::cuda {

// Where a chunk is copied from. If it is not inside the operand, the chunk is zeros, and `from` is any aligned address.
template <class Element>
struct Source {
  const Element* from;
  bool inside;
};

// Chunks is a ThreadChunks (gemm_stages.cuh).
template <class Operand, class Chunks>
class Walk;

// A dense matrix whose lines are contiguous.
template <class T>
struct DenseLines {
  static constexpr bool kAlongLines = false;
  using Element = T;
  const T* data;
  int64_t stride;  // whole chunks
};

// An operand with lines and depths exchanged: a matrix that is stored transposed, or windows as columns.
template <class Operand>
struct Transposed {
  static constexpr bool kAlongLines = !Operand::kAlongLines;
  using Element = typename Operand::Element;
  Operand operand;
};

template <class T, class Chunks>
class Walk<DenseLines<T>, Chunks> {
  const T* from[Chunks::kCopies];

 public:
  __device__ Walk(const DenseLines<T>& operand, int first, int count, int begin) {
#pragma unroll
    for (int i = 0; i < Chunks::kCopies; i++)
      from[i] =
          operand.data + Chunks::lineIn(first, count, i) * operand.stride + begin - Chunks::kDepth + Chunks::depth(i);
  }
  __device__ void advance(int) {
#pragma unroll
    for (int i = 0; i < Chunks::kCopies; i++) from[i] += Chunks::kDepth;
  }
  __device__ Source<T> at(int copy, int) const { return {from[copy], true}; }
};

template <class T, class Chunks>
class Walk<Transposed<DenseLines<T>>, Chunks> {
  const T* from[Chunks::kCopies];
  int64_t step;

 public:
  __device__ Walk(const Transposed<DenseLines<T>>& operand, int first, int count, int begin)
      : step(Chunks::kDepth * operand.operand.stride) {
#pragma unroll
    for (int i = 0; i < Chunks::kCopies; i++)
      from[i] = operand.operand.data + (begin - Chunks::kDepth + Chunks::depth(i)) * operand.operand.stride +
                Chunks::lineIn(first, count, i);
  }
  __device__ void advance(int) {
#pragma unroll
    for (int i = 0; i < Chunks::kCopies; i++) from[i] += step;
  }
  __device__ Source<T> at(int copy, int) const { return {from[copy], true}; }
};

}  // namespace stepsize::cuda
