// Sums over the rows of a matrix, per column, in two launches: a block of the first adds a part of the rows for 64
// columns, and the second merges the parts. Parts have a fixed length and all orders are fixed, so the bits do not
// depend on the device.
#pragma once

#include "grid_loops.cuh"

namespace stepsize::cuda {

constexpr int kColumnPart = 256;  // rows that one block adds
constexpr int kColumnLanes = 16;  // groups of four columns of a block
constexpr int kColumnTile = 4 * kColumnLanes;
constexpr int kColumnRows = 16;  // rows that are read at once
constexpr int kColumnThreads = kColumnLanes * kColumnRows;

// The rows of a block and the columns of this thread, up to four.
struct ColumnTile {
  int64_t part, first, last, column;
  int count;

  // Blocks are counted along the tiles of columns, part after part, in gridDim.x: the other axes of a grid are limited
  // to 65,535.
  __device__ static ColumnTile ofBlock(int64_t rows, int64_t columns) {
    const unsigned tiles = static_cast<unsigned>((columns - 1) / kColumnTile + 1);
    return {blockIdx.x / tiles, blockIdx.x % tiles, rows, columns};
  }
  __device__ ColumnTile(int64_t index, int64_t tile, int64_t rows, int64_t columns)
      : part(index),
        first(index * kColumnPart),
        last(min(rows, first + kColumnPart)),
        column(tile * kColumnTile + static_cast<int>(threadIdx.x) % kColumnLanes * 4),
        count(static_cast<int>(max(int64_t{0}, min(int64_t{4}, columns - column)))) {}
  // Whether this thread writes the sums of its columns.
  __device__ bool writes() const { return threadIdx.x < kColumnLanes; }
};

// The sums over the rows of a tile, for all threads of a column; all threads of the block must call this. term(row, x)
// sets x to the thread's four numbers of a row.
template <class F>
__device__ __forceinline__ void sumRowsOf(const ColumnTile& tile, float (&sums)[4], const F& term) {
  STEPSIZE_SHARED(float4, partial, [kColumnRows][kColumnLanes]);
  const int lane = static_cast<int>(threadIdx.x) % kColumnLanes, row = static_cast<int>(threadIdx.x) / kColumnLanes;
  float own[4] = {};
  for (int64_t i = tile.first + row; i < tile.last; i += kColumnRows) {
    float x[4] = {};
    term(i, x);
#pragma unroll
    for (int e = 0; e < 4; e++) own[e] += x[e];
  }
  // Other threads may still read the sums of an earlier call.
  __syncthreads();
  partial[row][lane] = make_float4(own[0], own[1], own[2], own[3]);
  __syncthreads();
#pragma unroll
  for (int e = 0; e < 4; e++) sums[e] = 0;
  for (int r = 0; r < kColumnRows; r++) {
    const float4 other = partial[r][lane];
    sums[0] += other.x;
    sums[1] += other.y;
    sums[2] += other.z;
    sums[3] += other.w;
  }
}

constexpr int kMergeLanes = 32;  // columns of a block of the second launch
constexpr int kMergeRows = 16;   // parts that are read at once
constexpr int kMergeThreads = kMergeLanes * kMergeRows;

__device__ __forceinline__ int mergeLane() { return static_cast<int>(threadIdx.x) % kMergeLanes; }
__device__ __forceinline__ int mergeRow() { return static_cast<int>(threadIdx.x) / kMergeLanes; }

// Merges all parts of the lane's column. Row y takes the parts y, y + 16, … in order; then the rows are merged by
// halves. The threads of row 0 get the result, the others an intermediate value. All threads must call this. Value{} is
// the neutral value.
template <class Value, class Load, class Merge>
__device__ __forceinline__ Value mergeParts(int64_t parts, bool inside, const Load& load, const Merge& merge) {
  STEPSIZE_SHARED(Value, values, [kMergeRows][kMergeLanes]);
  const int lane = mergeLane(), row = mergeRow();
  Value own{};
  if (inside)
    for (int64_t part = row; part < parts; part += kMergeRows) own = merge(own, load(part));
  // Other threads may still read the values of an earlier call.
  __syncthreads();
  values[row][lane] = own;
  for (int distance = kMergeRows / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (row < distance) values[row][lane] = own = merge(own, values[row + distance][lane]);
  }
  return own;
}

}  // namespace stepsize::cuda
