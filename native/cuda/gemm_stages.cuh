// Copies the operands of a product (gemm.cuh) from global to shared memory in a ring of stages. A stage is the part of
// a block's lines that is 64 bytes deep. If the neighbours of an operand come in chunks of 16 bytes, a copy moves one
// chunk and uses no register. Otherwise elements are gathered one by one, for example for images with 3 channels.
#pragma once

#include "tensor_core.cuh"

namespace stepsize::cuda {

constexpr int kStages = 4;
constexpr int kChunkBytes = 16;
constexpr int kStageBytes = 64;  // bytes of a line in a stage
template <class Element>
constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(Element));
template <class Element>
constexpr int kStageDepth = kStageBytes / static_cast<int>(sizeof(Element));

// How a block divides its tile of C among warps, along the rows and along the columns.
template <int Lines, int WarpsA, int WarpsB, int Blocks>
struct BlockTile {
  static constexpr int kLines = Lines;  // of A and of B
  static constexpr int kWarpsA = WarpsA, kWarpsB = WarpsB;
  static constexpr int kThreads = WarpsA * WarpsB * 32;
  static constexpr int kBlocks = Blocks;                                    // blocks per multiprocessor
  static constexpr int kLinesA = Lines / WarpsA, kLinesB = Lines / WarpsB;  // lines of a warp
  static constexpr int kSharedBytes = kStages * 2 * Lines * kStageBytes;
};

// The part of an operand in one stage, in shared memory: rows of lines with their depths, or rows of depths with their
// lines, as in global memory. Chunks are permuted within a row, so that the rows that a warp reads at once lie in
// different banks.
template <class Operand, int Lines>
struct StageTile {
  static constexpr bool kAlongLines = Operand::kAlongLines;
  using Element = typename Operand::Element;
  Element* elements;

  // The address of the chunk that contains an element.
  __device__ Element* chunk(int line, int depth) const {
    constexpr int size = kChunk<Element>;
    if constexpr (kAlongLines)
      return elements + depth * Lines + ((line / size) ^ (depth & 7)) * size;
    else
      return elements + line * kStageDepth<Element> + ((depth / size) ^ (line >> 1 & 3)) * size;
  }
};

// The chunks of an operand that a thread copies into each stage.
template <class Operand, class Tile>
struct StageCopy {
  using Element = typename Operand::Element;
  static constexpr int kSize = kChunk<Element>;
  static constexpr int kRowChunks = (Operand::kAlongLines ? Tile::kLines : kStageDepth<Element>) / kSize;
  static constexpr int kRowStep = Tile::kThreads / kRowChunks;  // distance between the rows of a thread
  static constexpr int kCopies = Tile::kLines * kStageBytes / kChunkBytes / Tile::kThreads;
  static constexpr int kOwnLines = Operand::kAlongLines ? 1 : kCopies;
  typename Operand::Line lines[kOwnLines];
  int firstLine, lineCount;
  bool inChunks;

  __device__ static int row(int copy) { return static_cast<int>(threadIdx.x) / kRowChunks + copy * kRowStep; }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % kRowChunks * kSize; }
  __device__ static int line(int copy) { return Operand::kAlongLines ? column() : row(copy); }
  __device__ static int depth(int copy) { return Operand::kAlongLines ? row(copy) : column(); }

  __device__ StageCopy(const Operand& operand, int first, int count, bool chunks)
      : firstLine(first), lineCount(count), inChunks(chunks) {
#pragma unroll
    for (int i = 0; i < kOwnLines; i++) lines[i] = operand.line(min(first + line(i), count - 1));
  }

  // Starts to copy one stage; elements outside the matrix are zero.
  __device__ void load(const Operand& operand, int k0, int end, const StageTile<Operand, Tile::kLines>& tile) const {
#pragma unroll
    for (int i = 0; i < kCopies; i++) {
      Element* to = tile.chunk(line(i), depth(i));
      const int k = k0 + depth(i);
      if (!inChunks) {
        gather(operand, firstLine + line(i), k, end, to);
        continue;
      }
      const bool inside = k < end && firstLine + line(i) < lineCount;
      const Element* from = inside ? operand.at(lines[Operand::kAlongLines ? 0 : i], operand.depth(k)) : nullptr;
      copyAsync16(to, from ? from : operand.data, from == nullptr);
    }
  }

  // Copies the elements of a chunk one by one.
  __device__ void gather(const Operand& operand, int line, int k, int end, Element* to) const {
#pragma unroll 1
    for (int e = 0; e < kSize; e++) {
      const int ownLine = line + (Operand::kAlongLines ? e : 0), ownK = k + (Operand::kAlongLines ? 0 : e);
      const Element* from =
          ownK < end && ownLine < lineCount ? operand.at(operand.line(ownLine), operand.depth(ownK)) : nullptr;
      to[e] = from ? *from : Element{0};
    }
  }
};

}  // namespace stepsize::cuda
