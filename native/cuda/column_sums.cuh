// Sums over the rows of a matrix, per column, in two launches: a block of the first adds a part of the rows for a tile
// of columns, and the second merges the parts. The lengths of parts depend on the shape alone and all orders are fixed,
// so the bits do not depend on the device.
//
// 6.4 million rows of 64 columns are 1,004 parts, which eight blocks merge in 16 steps and a tree of 6.
#pragma once

#include "../host_device.h"
#include "block_reduce.cuh"
#include "grid_loops.cuh"

namespace stepsize::cuda {

constexpr int kColumnLanes = 8;  // groups of columns of a block
constexpr int kColumnRows = 32;  // rows that are read at once
constexpr int kColumnThreads = kColumnLanes * kColumnRows;
constexpr int kColumnChunk = 256;       // rows whose sum is rounded before it is added to others
constexpr int kMostColumnParts = 1024;  // more would take the second launch longer than the first gains

// The columns of a block for elements of these types.
template <class... T>
constexpr int kColumnTile = kColumnLanes* kGroup<T...>;

// The rows of a part, a multiple of the chunk.
STEPSIZE_HOST_DEVICE int64_t columnPartOf(int64_t rows) {
  return (rows / (kColumnChunk * kMostColumnParts) + 1) * kColumnChunk;
}
STEPSIZE_HOST_DEVICE int64_t columnParts(int64_t rows) {
  const int64_t part = columnPartOf(rows);
  return (rows + part - 1) / part;
}

// The rows of a block and the columns of this thread, which are at most a group of `Size`.
template <int Size>
struct ColumnTile {
  static constexpr int kColumns = kColumnLanes * Size;

  int64_t part, first, last, columns;
  int64_t beginning;  // the first column of the block

  // Blocks are counted along the tiles of columns, part after part, in gridDim.x: the other axes of a grid are limited
  // to 65,535.
  __device__ static ColumnTile ofBlock(int64_t rows, int64_t columns) {
    const unsigned tiles = static_cast<unsigned>((columns - 1) / kColumns + 1);
    return {blockIdx.x / tiles, blockIdx.x % tiles, rows, columns};
  }
  __device__ ColumnTile(int64_t index, int64_t tile, int64_t rows, int64_t width)
      : part(index),
        first(index * columnPartOf(rows)),
        last(min(rows, first + columnPartOf(rows))),
        columns(width),
        beginning(tile * kColumns) {}

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }
  // The row that this thread reads first, and its first column.
  __device__ static int row() { return thread() / kColumnLanes; }
  __device__ int64_t column() const { return beginning + thread() % kColumnLanes * Size; }
  // Whether this thread gets a sum in addOverRows, and of which column.
  __device__ bool hasSum() const { return thread() < kColumns && sumColumn() < columns; }
  __device__ int64_t sumColumn() const { return beginning + thread(); }

  // Whether the groups of the block are aligned in matrices that begin at these addresses.
  template <class... Pointers>
  __device__ bool isWhole(const Pointers*... matrices) const {
    return columns % Size == 0 && beginning + kColumns <= columns && areAligned(matrices...);
  }
  // Calls f(Elements<Size>) if the groups are aligned, otherwise f(Elements<1>).
  template <class F>
  __device__ static void visit(bool whole, const F& f) {
    if (whole)
      f(Elements<Size>{});
    else
      f(Elements<1>{});
  }
  // Loads this thread's columns of a row that begins at `row`: at once as Elements<Size>, or one by one up to the last
  // column.
  template <class T, int Count>
  __device__ Stored<T, Size> load(const T* row, Elements<Count>) const {
    if constexpr (Count == Size) return *reinterpret_cast<const Stored<T, Size>*>(row + column());
    Stored<T, Size> x{};
#pragma unroll
    for (int e = 0; e < Size; e++)
      if (column() + e < columns) x.value[e] = row[column() + e];
    return x;
  }
};

// Calls f(row, x) for this thread's rows from `begin` to `end` − 1, where x[m] are its columns of the row of matrix m.
// Several rows are loaded before the first is used.
template <int Size, int Count, int Matrices, class T, class F>
__device__ __forceinline__ void forRowsOf(const ColumnTile<Size>& tile, Elements<Count> elements,
                                          const T* const (&matrices)[Matrices], int64_t begin, int64_t end,
                                          const F& f) {
  const auto take = [&](int64_t row, auto rows) {
    constexpr int n = decltype(rows)::kCount;
    Stored<T, Size> loaded[n][Matrices];
#pragma unroll
    for (int k = 0; k < n; k++)
#pragma unroll
      for (int m = 0; m < Matrices; m++)
        loaded[k][m] = tile.load(matrices[m] + (row + k * kColumnRows) * tile.columns, elements);
#pragma unroll
    for (int k = 0; k < n; k++) {
      float x[Matrices][Size];
#pragma unroll
      for (int m = 0; m < Matrices; m++)
#pragma unroll
        for (int e = 0; e < Size; e++) x[m][e] = toFloat(loaded[k][m].value[e]);
      f(row + k * kColumnRows, x);
    }
  };
  int64_t row = begin + tile.row();
  if constexpr (Count == Size) {
    constexpr int together = 4 / Matrices;
#pragma unroll 1
    for (; row + (together - 1) * kColumnRows < end; row += together * kColumnRows) take(row, Elements<together>{});
  }
#pragma unroll 1
  for (; row < end; row += kColumnRows) take(row, Elements<1>{});
}

// Adds x over the threads with the same columns. Thread t gets the sum of column t of the tile, if the tile has that
// many. All threads must call this.
template <int Size>
__device__ __forceinline__ float addOverRows(float (&x)[Size]) {
  constexpr int columns = kColumnLanes * Size;
  STEPSIZE_SHARED(float, partial, [kColumnThreads / kWarp * columns]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int distance = kColumnLanes; distance < kWarp; distance *= 2)
#pragma unroll
    for (int e = 0; e < Size; e++) x[e] += __shfl_xor_sync(kWholeWarp, x[e], distance);
  // Other threads may still read the sums of an earlier call.
  __syncthreads();
  if (lane < kColumnLanes) storeShared(partial + warp * columns + lane * Size, x);
  __syncthreads();
  float sum = 0;
  if (threadIdx.x < columns)
    for (int w = 0; w < kColumnThreads / kWarp; w++) sum += partial[w * columns + threadIdx.x];
  return sum;
}

// Sums over the rows of a tile: thread t gets those of column t. All threads of the block must call this.
// add(row, x, own) adds the terms of a row to this thread's sums; forRowsOf has x.
template <int Sums, int Size, int Matrices, class T, class F>
__device__ __forceinline__ void sumRowsOf(const ColumnTile<Size>& tile, const T* const (&matrices)[Matrices],
                                          bool whole, float (&sums)[Sums], const F& add) {
  float total[Sums][Size] = {};
  tile.visit(whole, [&](auto elements) {
#pragma unroll 1
    for (int64_t chunk = tile.first; chunk < tile.last; chunk += kColumnChunk) {
      float own[Sums][Size] = {};
      forRowsOf(tile, elements, matrices, chunk, min(chunk + kColumnChunk, tile.last),
                [&](int64_t row, const auto& x) { add(row, x, own); });
#pragma unroll
      for (int s = 0; s < Sums; s++)
#pragma unroll
        for (int e = 0; e < Size; e++) total[s][e] += own[s][e];
    }
  });
#pragma unroll
  for (int s = 0; s < Sums; s++) sums[s] = addOverRows(total[s]);
}

constexpr int kMergeLanes = 8;  // columns of a block of the second launch
constexpr int kMergeRows = 64;  // parts that are read at once
constexpr int kMergeThreads = kMergeLanes * kMergeRows;

__device__ __forceinline__ int mergeLane() { return static_cast<int>(threadIdx.x) % kMergeLanes; }
__device__ __forceinline__ int mergeRow() { return static_cast<int>(threadIdx.x) / kMergeLanes; }

// Merges all parts of the lane's column. Row y takes the parts y, y + 64, … in order; then the rows are merged by
// halves. The threads of row 0 get the result, the others an intermediate value. All threads must call this. Value{} is
// the neutral value.
template <class Value, class Load, class Merge>
__device__ __forceinline__ Value mergeParts(int64_t parts, bool inside, const Load& load, const Merge& merge) {
  STEPSIZE_SHARED(Value, values, [kMergeRows][kMergeLanes]);
  const int lane = mergeLane(), row = mergeRow();
  Value own{};
  if (inside)
#pragma unroll 4
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
