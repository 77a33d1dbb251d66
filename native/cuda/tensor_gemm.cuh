// The matrix product of the CUDA backend in bfloat16, on tensor cores: C[m,n] = A[m,k] · B[k,n], summed in float32.
// Operands come through the loaders of gemm.cuh, so that convolutions are products here, too.
//
// A block computes a tile of C, each warp a part of it in registers. Tiles of A and B, 32 deep, come by in shared
// memory through a ring of stages: while one is multiplied, the copies of the next are under way (cp.async), and one
// barrier per stage is all that threads wait for. Where an operand's neighbours in memory come by eights, a copy is 16
// bytes that never see a register; else elements are gathered one by one, as for images of 3 channels.
//
// A tile of 128 × 128 reads 1/64 of an element, 1/32 of a byte, from the L2 per multiply-add.
#pragma once

#include "fours.cuh"
#include "gemm.cuh"
#include "tensor_core.cuh"

namespace stepsize::cuda {

constexpr int kStageDepth = 32;
constexpr int kStages = 4;
constexpr int kChunk = 8;  // elements in 16 bytes

// Warps side by side: along the rows of C, and along its columns.
template <int Lines, int WarpsA, int WarpsB, int Blocks>
struct TensorTile {
  static constexpr int kLines = Lines;  // of A and of B
  static constexpr int kWarpsA = WarpsA, kWarpsB = WarpsB;
  static constexpr int kThreads = WarpsA * WarpsB * 32;
  static constexpr int kBlocks = Blocks;  // on a multiprocessor at once
  static constexpr int kFragmentsA = Lines / WarpsA / 16, kFragmentsB = Lines / WarpsB / 8;  // of a warp
  static constexpr int kSharedBytes = kStages * 2 * Lines * kStageDepth * 2;
};
using LargeTile = TensorTile<128, 2, 4, 2>;
using SmallTile = TensorTile<64, 2, 2, 4>;

// One stage's part of an operand in shared memory: rows of lines with their depths, or of depths with their lines, as
// in global memory. Chunks of 16 bytes change places within a row, so that the eight rows that ldmatrix reads at once
// lie in different banks.
template <class Operand, int Lines>
struct StageTile {
  BFloat16* elements;

  // Of the chunk that holds the element.
  __device__ BFloat16* chunk(int line, int depth) const {
    if constexpr (Operand::kAlongLines)
      return elements + depth * Lines + ((line / kChunk) ^ (depth & 7)) * kChunk;
    else
      return elements + line * kStageDepth + ((depth / kChunk) ^ (line / 2 & 3)) * kChunk;
  }

  // Four blocks of 8 × 8 from `line` and `depth` on, as fragments of mma: lines first, then depths, or the other way.
  template <bool LinesFirst>
  __device__ void load(int line, int depth, uint32_t (&r)[4]) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, within = lane % 8, block = lane / 8;
    const int first = block % 2 * 8, second = block / 2 * 8;
    line += LinesFirst ? first : second;
    depth += LinesFirst ? second : first;
    // The rows that a lane names are rows of memory, which lie the other way where lines are neighbours.
    loadMatrices<Operand::kAlongLines>(
        r, Operand::kAlongLines ? chunk(line, depth + within) : chunk(line + within, depth));
  }
};

// What a thread copies of an operand into each stage.
template <class Operand, class Tile>
struct StageCopy {
  static constexpr int kRowChunks = (Operand::kAlongLines ? Tile::kLines : kStageDepth) / kChunk;
  static constexpr int kRowStep = Tile::kThreads / kRowChunks;  // between the rows that a thread copies
  static constexpr int kCopies = Tile::kLines * kStageDepth / kChunk / Tile::kThreads;
  static constexpr int kOwnLines = Operand::kAlongLines ? 1 : kCopies;
  typename Operand::Line lines[kOwnLines];
  int firstLine, lineCount;
  bool inChunks;

  __device__ static int row(int copy) { return static_cast<int>(threadIdx.x) / kRowChunks + copy * kRowStep; }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % kRowChunks * kChunk; }
  __device__ static int line(int copy) { return Operand::kAlongLines ? column() : row(copy); }
  __device__ static int depth(int copy) { return Operand::kAlongLines ? row(copy) : column(); }

  __device__ StageCopy(const Operand& operand, int first, int count, bool chunks)
      : firstLine(first), lineCount(count), inChunks(chunks) {
#pragma unroll
    for (int i = 0; i < kOwnLines; i++) lines[i] = operand.line(min(first + line(i), count - 1));
  }

  // Zeros outside the matrix.
  __device__ void load(const Operand& operand, int k0, int end, const StageTile<Operand, Tile::kLines>& tile) const {
#pragma unroll
    for (int i = 0; i < kCopies; i++) {
      BFloat16* to = tile.chunk(line(i), depth(i));
      const int k = k0 + depth(i);
      if (!inChunks) {
        gather(operand, firstLine + line(i), k, end, to);
        continue;
      }
      const bool inside = k < end && firstLine + line(i) < lineCount;
      const BFloat16* from = inside ? operand.at(lines[Operand::kAlongLines ? 0 : i], operand.depth(k)) : nullptr;
      copyAsync16(to, from ? from : operand.data, from == nullptr);
    }
  }

  // Eight elements by themselves.
  __device__ void gather(const Operand& operand, int line, int k, int end, BFloat16* to) const {
#pragma unroll 1
    for (int e = 0; e < kChunk; e++) {
      const int ownLine = line + (Operand::kAlongLines ? e : 0), ownK = k + (Operand::kAlongLines ? 0 : e);
      const BFloat16* from =
          ownK < end && ownLine < lineCount ? operand.at(operand.line(ownLine), operand.depth(ownK)) : nullptr;
      to[e] = from ? *from : BFloat16{0};
    }
  }
};

// chunks: whether the operands' neighbours come by eights, A's in bit 0, B's in bit 1.
template <class A, class B, class C, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    tensorGemmKernel(GemmShape s, A a, B b, C* c, unsigned chunks, Epilogue<BFloat16> finish) {
  STEPSIZE_DYNAMIC_SHARED(BFloat16, shared);
  constexpr int kElements = Tile::kLines * kStageDepth;
  const auto tileA = [&](int stage) { return StageTile<A, Tile::kLines>{shared + stage % kStages * 2 * kElements}; };
  const auto tileB = [&](int stage) {
    return StageTile<B, Tile::kLines>{shared + (stage % kStages * 2 + 1) * kElements};
  };
  const int tilesN = (s.n - 1) / Tile::kLines + 1;
  const int row0 = static_cast<int>(blockIdx.x) / tilesN * Tile::kLines;
  const int column0 = static_cast<int>(blockIdx.x) % tilesN * Tile::kLines;
  const int begin = static_cast<int>(blockIdx.y) * s.slice, end = begin + min(s.slice, s.k - begin);
  const int stages = (end - begin + kStageDepth - 1) / kStageDepth;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lineA = warp / Tile::kWarpsB * Tile::kFragmentsA * 16, lineB = warp % Tile::kWarpsB * Tile::kFragmentsB * 8;

  const StageCopy<A, Tile> copyA(a, row0, s.m, (chunks & 1) != 0);
  const StageCopy<B, Tile> copyB(b, column0, s.n, (chunks & 2) != 0);
  const auto beginStage = [&](int stage) {
    if (stage < stages) {
      copyA.load(a, begin + stage * kStageDepth, end, tileA(stage));
      copyB.load(b, begin + stage * kStageDepth, end, tileB(stage));
    }
    // Also where there was nothing to copy: the count of groups is what is waited for.
    commitCopies();
  };
  for (int stage = 0; stage < kStages - 1; stage++) beginStage(stage);

  float sums[Tile::kFragmentsA][Tile::kFragmentsB][4] = {};
  for (int stage = 0; stage < stages; stage++) {
    waitForCopies<kStages - 2>();
    // Everybody's copies have arrived, and nobody reads the stage any more that is filled next.
    __syncthreads();
    beginStage(stage + kStages - 1);
#pragma unroll
    for (int k = 0; k < kStageDepth; k += 16) {
      uint32_t fragmentsA[Tile::kFragmentsA][4], fragmentsB[Tile::kFragmentsB / 2][4];
#pragma unroll
      for (int i = 0; i < Tile::kFragmentsA; i++) tileA(stage).template load<true>(lineA + i * 16, k, fragmentsA[i]);
#pragma unroll
      for (int j = 0; j < Tile::kFragmentsB / 2; j++)
        tileB(stage).template load<false>(lineB + j * 16, k, fragmentsB[j]);
#pragma unroll
      for (int i = 0; i < Tile::kFragmentsA; i++)
#pragma unroll
        for (int j = 0; j < Tile::kFragmentsB; j++) {
          const uint32_t ofB[2] = {fragmentsB[j / 2][j % 2 * 2], fragmentsB[j / 2][j % 2 * 2 + 1]};
          multiplyAdd(sums[i][j], fragmentsA[i], ofB);
        }
    }
  }

  // To C by way of shared memory: rows go out side by side, and what follows the product is compiled once, not for each
  // of a thread's sums.
  waitForCopies<0>();
  __syncthreads();
  auto* tile = reinterpret_cast<float*>(shared);
  // Rows of eight numbers change places, so that the eight rows of a fragment lie in different banks.
  const auto place = [](int row, int column) { return row * Tile::kLines + (column ^ ((row & 7) * 8)); };
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < Tile::kFragmentsA; i++)
#pragma unroll
    for (int j = 0; j < Tile::kFragmentsB; j++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = lineA + i * 16 + half * 8 + lane / 4, column = lineB + j * 8 + lane % 4 * 2;
        *reinterpret_cast<float2*>(tile + place(row, column)) =
            make_float2(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
      }
  __syncthreads();
  const bool aligned = s.n % 4 == 0 && isAligned16(c);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kLines * Tile::kLines / 4; i += Tile::kThreads) {
    const int row = i / (Tile::kLines / 4), column = i % (Tile::kLines / 4) * 4;
    const int count = min(4, s.n - column0 - column);
    if (row0 + row >= s.m || count <= 0) continue;
    float x[4];
    loadAligned(tile + place(row, column), x);
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (e < count) x[e] = finish(x[e], row0 + row, column0 + column + e);
    const int64_t at = static_cast<int64_t>(blockIdx.y) * s.m + row0 + row;
    storeGroup(c + at * s.n + column0 + column, aligned, count, x);
  }
}

}  // namespace stepsize::cuda
