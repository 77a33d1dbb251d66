// The matrix product of the CPU backend: C[m,n] = A[m,k] · B[k,n], float32.
//
// There is one blocked product, with two loop orders. A dense product and the three convolutions differ in how operands
// are loaded and how rows of C are found. The types A, B and C define that:
//
//   A, row-major   void pack(row, rows, k0, depth, out)     packs rows as [rows][kDepth]
//   A, k-major     the same, as [depth][kNarrowTileRows], so that nothing is transposed on the way
//   B              void pack(k0, depth, column, columns, width, out)   packs a panel as [depth][width], zero beyond
//   columns C              float* row(i)                            the address of row i
//
// The innermost kernel keeps a tile of C in registers over a block of k: rows × 2 vectors or, for narrow results, twice
// as many rows × 1 vector. A's block of rows stays in the L1 cache, and B's packed block streams from the L2 cache.
// Each element of C is summed in an order that depends on the shapes alone.
#pragma once

#include <utility>

#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// With 32 vector registers a tile has 14 × 2 sums, two vectors of B and one of A. With 16 registers it has 6 × 2 sums.
constexpr int kTileRows = kVectorRegisters == 32 ? 14 : 6;
constexpr int kNarrowTileRows = 2 * kTileRows;
constexpr int kPanel = 2 * kLanes;
// The depth of a block: 14 rows of 256 floats fill nearly half of a 32 KiB L1 cache.
constexpr int64_t kDepth = 256;
// The columns of B per block: 256 × 512 floats are half of a 1 MiB L2 cache.
constexpr int64_t kBlockColumns = 512;

// c[r][0 … V·kLanes) (+)= Σ_k a(r, k) · b[k][…]. `stride` is the distance between the rows of a k-major A; in a
// row-major A it is kDepth.
template <int R, int V, bool KMajor>
void tile(int64_t depth, const float* __restrict__ a, int64_t stride, const float* __restrict__ b, float* const* c,
          bool accumulate) {
  Vec sums[R][V];
  for (int r = 0; r < R; r++)
    for (int v = 0; v < V; v++) sums[r][v] = broadcast(0);
  for (int64_t k = 0; k < depth; k++) {
    Vec bs[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) bs[v] = load(b + v * kLanes);
#pragma GCC unroll 28
    for (int r = 0; r < R; r++) {
      const Vec as = broadcast(KMajor ? a[r] : a[r * kDepth]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sums[r][v] = fma(as, bs[v], sums[r][v]);
    }
    a += KMajor ? stride : 1;
    b += V * kLanes;
  }
#pragma GCC unroll 28
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) {
      float* to = c[r] + v * kLanes;
      store(to, accumulate ? load(to) + sums[r][v] : sums[r][v]);
    }
}

using Tile = void (*)(int64_t, const float*, int64_t, const float*, float* const*, bool);

template <int V, bool KMajor, int... R>
Tile chooseTile(int rows, std::integer_sequence<int, R...>) {
  static constexpr Tile tiles[] = {tile<R + 1, V, KMajor>...};
  return tiles[rows - 1];
}

// The kernel for a tile of `rows` rows and one or two vectors.
template <bool KMajor>
Tile tileFor(int rows, int vectors) {
  return vectors == 1 ? chooseTile<1, KMajor>(rows, std::make_integer_sequence<int, kNarrowTileRows>{})
                      : chooseTile<2, KMajor>(rows, std::make_integer_sequence<int, kTileRows>{});
}

// The vectors of a panel, and the most rows of its tiles.
STEPSIZE_INLINE int vectorsOf(int64_t columns) { return columns <= kLanes ? 1 : 2; }
STEPSIZE_INLINE int tileRowsFor(int64_t columns) { return columns <= kLanes ? kNarrowTileRows : kTileRows; }

// Computes one tile of C. If the panel is wider than the rest of C, the tile goes through a buffer.
template <bool KMajor>
void computeTile(int64_t depth, const float* a, int64_t stride, const float* b, float* const* c, int rows,
                 int64_t columns, bool accumulate) {
  const int vectors = vectorsOf(columns);
  const int64_t width = vectors * kLanes;
  const Tile kernel = tileFor<KMajor>(rows, vectors);
  if (columns == width) return kernel(depth, a, stride, b, c, accumulate);
  float buffer[kTileRows * kPanel];
  float* bufferRows[kNarrowTileRows] = {};
  for (int r = 0; r < rows; r++) bufferRows[r] = buffer + r * width;
  kernel(depth, a, stride, b, bufferRows, false);
  for (int r = 0; r < rows; r++)
    for (int64_t j = 0; j < columns; j++)
      c[r][j] = accumulate ? c[r][j] + buffer[r * width + j] : buffer[r * width + j];
}

// C = A·B, in parallel over the rows of C. B is packed once per block for all threads.
template <class A, class B, class C>
void gemm(const Invocation& call, int64_t m, int64_t n, int64_t k, const A& a, const B& b, const C& c) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (int64_t i = 0; i < m; i++) zeroFloats(c.row(i), n);
    return;
  }
  const int64_t depthBlocks = ceilDivide(k, kDepth);
  const int64_t blockDepth = ceilDivide(k, depthBlocks);
  const int64_t blockColumns = least(n, kBlockColumns);
  float* packed = static_cast<float*>(call.workspace(blockDepth * (blockColumns + kPanel) * 4));
  const int64_t tileRows = tileRowsFor(n);
  const int64_t tiles = ceilDivide(m, tileRows);
  for (int64_t column0 = 0; column0 < n; column0 += blockColumns) {
    const int64_t columns = least(blockColumns, n - column0);
    const int64_t panels = ceilDivide(columns, kPanel);
    // If there are few rows, the columns are divided among tasks too. The numbers are fixed, because the bits must not
    // depend on the number of threads.
    const int64_t columnTasks = least(panels, ceilDivide(8, tiles));
    const int64_t tilesPerTask = ceilDivide(tiles, 64);
    const int64_t rowTasks = ceilDivide(tiles, tilesPerTask);
    for (int64_t k0 = 0; k0 < k; k0 += blockDepth) {
      const int64_t depth = least(blockDepth, k - k0);
      parallelFor(call, panels, [&](int64_t p) {
        const int64_t wide = least(kPanel, columns - p * kPanel);
        b.pack(k0, depth, column0 + p * kPanel, wide, vectorsOf(wide) * kLanes, packed + p * kPanel * depth);
      });
      parallelFor(call, rowTasks * columnTasks, [&](int64_t task) {
        const int64_t firstPanel = task % columnTasks * panels / columnTasks;
        const int64_t lastPanel = (task % columnTasks + 1) * panels / columnTasks;
        const int64_t firstTile = task / columnTasks * tilesPerTask;
        const int64_t lastTile = least(tiles, firstTile + tilesPerTask);
        float* rowsOfA = call.scratch();
        float* to[kNarrowTileRows];
        for (int64_t t = firstTile; t < lastTile; t++) {
          const int64_t row = t * tileRows;
          const int rows = static_cast<int>(least(tileRows, m - row));
          a.pack(row, rows, k0, depth, rowsOfA);
          for (int64_t p = firstPanel; p < lastPanel; p++) {
            const int64_t column = p * kPanel;
            const int64_t wide = least(kPanel, columns - column);
            const float* panel = packed + column * depth;
            // A narrow last panel uses the kernel for narrow results, but the tile keeps the height of the block's
            // tiles.
            for (int r = 0; r < rows; r++) to[r] = c.row(row + r) + column0 + column;
            computeTile<A::kMajor>(depth, rowsOfA, kNarrowTileRows, panel, to, rows, wide, k0 > 0);
          }
        }
      });
    }
  }
}

// For a small C and a long k. k is cut into slices, each slice is summed into a C of its own, and the slices are added
// in order. a.rows(k0, depth, scratch, stride) returns a whole k-major block of A. write(i, j, value) receives the
// result.
template <class A, class B, class Write>
void gemmOverDepth(const Invocation& call, int64_t m, int64_t n, int64_t k, const A& a, const B& b,
                   const Write& write) {
  if (m == 0 || n == 0) return;
  const int64_t slices = most(1, least(16, k / 1024));
  const int64_t slice = ceilDivide(k, slices);
  const int64_t paddedN = ceilDivide(n, kLanes) * kLanes;
  // The blocks of both operands share the scratch memory of the thread. A's block of at most half a megabyte leaves
  // room for B and C in the L2 cache.
  const int64_t depthLimit = most(1, least(kDepth, (1 << 17) / most(m, 1)));
  float* partial = static_cast<float*>(call.workspace(slices * m * paddedN * 4));
  parallelFor(call, slices, [&](int64_t s) {
    float* sums = partial + s * m * paddedN;
    float* to[kNarrowTileRows];
    const int64_t end = least(k, (s + 1) * slice);
    for (int64_t k0 = s * slice; k0 < end; k0 += depthLimit) {
      const int64_t depth = least(depthLimit, end - k0);
      const bool accumulate = k0 > s * slice;
      float* scratch = call.scratch();
      float* packed = scratch;
      scratch += depth * kPanel;
      int64_t stride = 0;
      const float* rows = a.rows(k0, depth, scratch, stride);
      for (int64_t column = 0; column < n; column += kPanel) {
        const int64_t wide = least(kPanel, n - column);
        const int64_t width = vectorsOf(wide) * kLanes;
        b.pack(k0, depth, column, wide, width, packed);
        const int64_t tileRows = tileRowsFor(wide);
        for (int64_t row = 0; row < m; row += tileRows) {
          const int count = static_cast<int>(least(tileRows, m - row));
          for (int r = 0; r < count; r++) to[r] = sums + (row + r) * paddedN + column;
          // The partial result is padded to whole vectors, so every tile is a full one.
          tileFor<true>(count, vectorsOf(wide))(depth, rows + row, stride, packed, to, accumulate);
        }
      }
    }
    if (s * slice >= end) zeroFloats(sums, m * paddedN);
  });
  parallelChunks(call, m, most(1, kChunk / most(n, 1)), [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++)
      for (int64_t j = 0; j < n; j++) {
        float sum = 0;
        for (int64_t s = 0; s < slices; s++) sum += partial[(s * m + i) * paddedN + j];
        write(i, j, sum);
      }
  });
}

}  // namespace stepsize::STEPSIZE_ISA
