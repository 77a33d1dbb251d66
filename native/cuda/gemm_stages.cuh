// Copies the operands of a product (gemm.cuh) from global to shared memory in a ring of stages. A stage is the part of
// a block's lines that is 64 bytes deep. A copy moves a chunk of 16 bytes and uses no register. Operands whose
// neighbours are not whole chunks, for example images with 3 channels, are padded before the product (padding.cuh).
#pragma once

#include "gemm_operands.cuh"
#include "tensor_core.cuh"

namespace stepsize::cuda {

constexpr int kStages = 4;
constexpr int kChunkBytes = 16;
constexpr int kStageBytes = 64;  // bytes of a line in a stage
template <class Element>
constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(Element));
template <class Element>
constexpr int kStageDepth = kStageBytes / static_cast<int>(sizeof(Element));

// The tile of C of a block, and how the block divides it among warps along the rows and along the columns. `Kind` is
// the kind of product (gemm.cuh).
template <int Rows, int Columns, int WarpsA, int WarpsB, int Blocks, class Kind>
struct BlockTile {
  using Product = Kind;
  static constexpr int kRows = Rows, kColumns = Columns;  // the lines of A and of B
  static constexpr int kWarpsA = WarpsA, kWarpsB = WarpsB;
  static constexpr int kThreads = WarpsA * WarpsB * 32;
  static constexpr int kBlocks = Blocks;                                     // blocks per multiprocessor
  static constexpr int kLinesA = Rows / WarpsA, kLinesB = Columns / WarpsB;  // lines of a warp
  static constexpr int kSharedBytes = kStages * (Rows + Columns) * kStageBytes;
  // The sums pass through the same memory, in float32. If it is too small for all rows, they pass in two halves.
  static constexpr int kRowsAtOnce = Rows * Columns * 4 <= kSharedBytes ? Rows : Rows / 2;
  static_assert(kRowsAtOnce * Columns * 4 <= kSharedBytes && kRowsAtOnce % kLinesA == 0);
};

// The part of an operand in one stage, in shared memory: rows of lines with their depths, or rows of depths with their
// lines, as in global memory. Chunks are permuted within a row, so that the rows that a warp reads at once lie in
// different banks.
template <class Operand, int Lines>
struct StageTile {
  static constexpr bool kAlongLines = Operand::kAlongLines;
  using Element = typename Operand::Element;
  static constexpr int kElements = Lines * kStageDepth<Element>;
  static constexpr int kRow = kAlongLines ? Lines : kStageDepth<Element>;  // elements of a row
  Element* elements;

  // The offset of the chunk that contains an element. Along lines, a warp reads eight rows of bfloat16 at once, or four
  // rows of float32 with two chunks each.
  __device__ static int offset(int line, int depth) {
    constexpr int size = kChunk<Element>;
    if constexpr (kAlongLines)
      return depth * Lines + ((line / size) ^ (depth * (8 / size) & 7)) * size;
    else
      return line * kStageDepth<Element> + ((depth / size) ^ (line >> 1 & 3)) * size;
  }
  __device__ Element* chunk(int line, int depth) const { return elements + offset(line, depth); }
  // The element after some bytes. An offset that is kept in bytes takes one addition, others a multiplication more.
  __device__ Element* after(int bytes) const {
    return reinterpret_cast<Element*>(reinterpret_cast<unsigned char*>(elements) + bytes);
  }
};

// The chunks of an operand that a thread copies into each stage: `kCopies` of them, at the same column of rows that
// are `kRowStep` apart.
template <class Operand, int Lines, int Threads>
struct ThreadChunks {
  using Element = typename Operand::Element;
  static constexpr int kSize = kChunk<Element>;
  static constexpr int kDepth = kStageDepth<Element>;
  static constexpr int kRowChunks = (Operand::kAlongLines ? Lines : kDepth) / kSize;
  static constexpr int kRowStep = Threads / kRowChunks;
  static constexpr int kCopies = Lines * kStageBytes / kChunkBytes / Threads;

  __device__ static int row(int copy) { return static_cast<int>(threadIdx.x) / kRowChunks + copy * kRowStep; }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % kRowChunks * kSize; }
  __device__ static int line(int copy) { return Operand::kAlongLines ? column() : row(copy); }
  __device__ static int depth(int copy) { return Operand::kAlongLines ? row(copy) : column(); }
  // The line that is read for a copy. Lines outside of the matrix repeat its last ones, because their sums are not
  // stored.
  __device__ static int lineIn(int first, int count, int copy) {
    return min(first + line(copy), Operand::kAlongLines ? (count - 1) / kSize * kSize : count - 1);
  }
};

// Copies an operand stage by stage. A thread keeps as few offsets into a stage as there are permutations of chunks in
// its rows, and adds constants to them: eight rows further, the permutation is the same.
template <class Operand, int Lines, int Threads>
class StageCopy {
  using Element = typename Operand::Element;
  using Chunks = ThreadChunks<Operand, Lines, Threads>;
  using Tile = StageTile<Operand, Lines>;
  static constexpr int kOffsets = Chunks::kRowStep % 8 == 0 ? 1 : 8 / Chunks::kRowStep;
  static_assert(kOffsets * Chunks::kRowStep % 8 == 0, "a period of the permutation");
  int offsets[kOffsets];  // in bytes
  Walk<Operand, Chunks> walk;

 public:
  __device__ StageCopy(const Operand& operand, int firstLine, int lineCount, int begin)
      : walk(operand, firstLine, lineCount, begin) {
#pragma unroll
    for (int i = 0; i < kOffsets; i++)
      offsets[i] = Tile::offset(Chunks::line(i), Chunks::depth(i)) * static_cast<int>(sizeof(Element));
  }

  // Starts to copy the stage from k on, which follows the one before. Depths from `end` on are zeros.
  __device__ void load(const Tile& tile, int k, int end) {
    walk.advance(k);
#pragma unroll
    for (int i = 0; i < Chunks::kCopies; i++) {
      const Source<Element> source = walk.at(i, k);
      const int rows = i / kOffsets * kOffsets * Chunks::kRowStep;
      Element* to = tile.after(offsets[i % kOffsets]) + rows * Tile::kRow;
      copyAsync16(to, source.from, !(source.inside && Chunks::depth(i) < end - k));
    }
  }
};

}  // namespace stepsize::cuda
