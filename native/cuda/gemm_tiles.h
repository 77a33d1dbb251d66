// How a matrix product is divided among blocks: the tile of C of a block, and the slices of k.
//
// The choice depends on the sizes of the product alone and not on the device, and the bits of the result do not depend
// on the tile (gemm.cuh).
#pragma once

#include <algorithm>
#include <cstdint>

namespace stepsize::cuda {

// The length of a slice of k. It is fixed, so that the sums do not depend on the device.
constexpr int64_t kSlice = 4096;
// The most slices, because gridDim.y is limited. A longer k is cut into longer slices.
constexpr int64_t kMaxSlices = 65535;
// If C has this many tiles of 128 × 128, the device is full without cutting k.
constexpr int64_t kManyTiles = 256;

// The number of tiles of a size that cover C.
constexpr int64_t tilesOf(int64_t m, int64_t n, int64_t rows, int64_t columns) {
  return ((m + rows - 1) / rows) * ((n + columns - 1) / columns);
}

// The number of slices of k, and the length of each but the last.
struct Slices {
  int64_t count = 1, length;

  Slices(int64_t m, int64_t n, int64_t k) : length(k) {
    if (k <= kSlice || tilesOf(m, n, 128, 128) >= kManyTiles) return;
    const int64_t times = (k + kSlice * kMaxSlices - 1) / (kSlice * kMaxSlices);
    length = kSlice * times;
    count = (k + length - 1) / length;
  }
};

// The size of a tile, and how fast a multiprocessor multiplies in such tiles, relative to its tensor cores or
// multiply-adders. Small tiles are limited by shared memory. The rates are computed from its bandwidth and were not
// measured.
struct TileSize {
  int rows, columns;
  double rate;
};

// The multiprocessors of the device that the choice is made for, an H100 or H200. It is not the number of the device in
// use, so that one product takes the same tiles everywhere.
constexpr int64_t kMultiprocessors = 132;

// The time of a product in tiles of a size: the multiply-adds of the multiprocessor with the most blocks. Parts of
// tiles outside of C take as long as others, so narrow results take narrow tiles, and large tiles are used if there are
// enough to fill the device.
constexpr double timeInTiles(int64_t m, int64_t n, int64_t slices, const TileSize& tile) {
  const int64_t blocks = tilesOf(m, n, tile.rows, tile.columns) * slices;
  const int64_t most = (blocks + kMultiprocessors - 1) / kMultiprocessors;
  return static_cast<double>(most * tile.rows * tile.columns) / tile.rate;
}

// The index of the fastest of some tiles; ties are broken by the lower index.
template <int Count>
constexpr int fastestTile(int64_t m, int64_t n, int64_t slices, const TileSize (&tiles)[Count]) {
  int best = 0;
  for (int i = 1; i < Count; i++)
    if (timeInTiles(m, n, slices, tiles[i]) < timeInTiles(m, n, slices, tiles[best])) best = i;
  return best;
}

}  // namespace stepsize::cuda
