// Embedding and its gradient; shapes and formulas in cpu/kernels/embedding.h. Memory-bound: forward reads and writes an
// element of each row, backward reads the gradient once and writes each row of the table that occurs once.
#pragma once

#include "fours.cuh"
#include "report_fault.cuh"

namespace stepsize::cuda {

constexpr int kEmbeddingThreads = 128;

// A block per id: threads beside each other copy numbers beside each other.
template <class T>
__global__ void __launch_bounds__(kEmbeddingThreads)
    embeddingKernel(const int32_t* ids, const T* table, T* out, int64_t count, int64_t rows, int width,
                    FaultReport faults) {
  const bool aligned = width % 4 == 0 && isAligned16(table) && isAligned16(out);
  for (int64_t i = blockIdx.x; i < count; i += gridDim.x) {
    const int id = ids[i];
    const bool valid = id >= 0 && id < rows;
    if (!valid && threadIdx.x == 0) report(faults, FaultKind::id, id, i, rows - 1);
    for (int j = 4 * static_cast<int>(threadIdx.x); j < width; j += 4 * kEmbeddingThreads) {
      const int elements = min(4, width - j);
      const Four<T> zeros{};
      const Four<T> x = valid ? loadStored(table + id * static_cast<int64_t>(width) + j, aligned, elements) : zeros;
      storeStored(out + i * width + j, aligned, elements, x);
    }
  }
}

// The gradient adds up the rows of an id in the order of their positions, so that it needs no atomics and has one
// order. Chunks of positions are sorted by id each by itself; then a run of an id is found in every chunk by halving,
// and the block that meets the id's first run adds all of them. For n positions that is n·(n / 1024) searches at most,
// of which a block's threads make 128 at once.
constexpr int kIdChunk = 1024;

// An id, then a position: what comes first in order is the smaller number.
struct IdKey {
  uint64_t bits;
  __device__ static IdKey of(uint32_t id, uint32_t position) { return {static_cast<uint64_t>(id) << 32 | position}; }
  __device__ uint32_t id() const { return static_cast<uint32_t>(bits >> 32); }
  __device__ uint32_t position() const { return static_cast<uint32_t>(bits); }
};

// A block per chunk, by Batcher's bitonic network. Behind the last position there are keys of no id.
__global__ void __launch_bounds__(kIdChunk / 2) sortIdsKernel(const int32_t* ids, IdKey* keys, int64_t count) {
  STEPSIZE_SHARED(uint64_t, own, [kIdChunk]);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kIdChunk;
  for (int i = static_cast<int>(threadIdx.x); i < kIdChunk; i += kIdChunk / 2) {
    const bool inside = first + i < count;
    own[i] =
        IdKey::of(inside ? static_cast<uint32_t>(ids[first + i]) : 0xffffffffu, static_cast<uint32_t>(first + i)).bits;
  }
  for (int size = 2; size <= kIdChunk; size *= 2)
    for (int distance = size / 2; distance > 0; distance /= 2) {
      __syncthreads();
      const int pair = static_cast<int>(threadIdx.x);
      const int low = pair / distance * 2 * distance + pair % distance, high = low + distance;
      const uint64_t a = own[low], b = own[high];
      if ((a > b) == ((low & size) == 0)) {
        own[low] = b;
        own[high] = a;
      }
    }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kIdChunk; i += kIdChunk / 2) keys[first + i].bits = own[i];
}

// Where the keys of an id lie in a sorted chunk.
struct IdRun {
  int64_t begin, end;
};
__device__ __forceinline__ IdRun runOf(const IdKey* keys, int64_t chunk, uint32_t id) {
  const IdKey* own = keys + chunk * kIdChunk;
  const auto firstFrom = [&](uint64_t least) {
    int from = 0;
#pragma unroll 1
    for (int step = kIdChunk / 2; step > 0; step /= 2)
      if (own[from + step - 1].bits < least) from += step;
    return chunk * kIdChunk + from + (own[from].bits < least ? 1 : 0);
  };
  return {firstFrom(IdKey::of(id, 0).bits), firstFrom(IdKey::of(id + 1, 0).bits)};
}

// A block per key; of those of one id the first one has it all to do. `rows` are below 2³¹, as ids are.
template <class T>
__global__ void __launch_bounds__(kEmbeddingThreads)
    embeddingGradientKernel(const IdKey* keys, const T* gradient, T* out, int64_t chunks, int64_t rows, int width) {
  STEPSIZE_SHARED(IdRun, runs, [kEmbeddingThreads]);
  STEPSIZE_SHARED(int, isLater, [1]);
  const int thread = static_cast<int>(threadIdx.x);
  const bool aligned = width % 4 == 0 && isAligned16(gradient) && isAligned16(out);
  for (int64_t i = blockIdx.x; i < chunks * kIdChunk; i += gridDim.x) {
    const uint32_t id = keys[i].id();
    if (id >= rows || (i % kIdChunk > 0 && keys[i - 1].id() == id)) continue;
    const int64_t own = i / kIdChunk;
    __syncthreads();
    if (thread == 0) isLater[0] = 0;
    __syncthreads();
    for (int64_t chunk = thread; chunk < own; chunk += kEmbeddingThreads) {
      const IdRun run = runOf(keys, chunk, id);
      if (run.begin < run.end) atomicOr(&isLater[0], 1);
    }
    __syncthreads();
    if (isLater[0]) continue;
    for (int first = 0; first < width; first += 4 * kEmbeddingThreads) {
      const int j = first + 4 * thread, elements = max(0, min(4, width - j));
      float sums[4] = {};
      for (int64_t chunk0 = own; chunk0 < chunks; chunk0 += kEmbeddingThreads) {
        __syncthreads();
        runs[thread] = chunk0 + thread < chunks ? runOf(keys, chunk0 + thread, id) : IdRun{0, 0};
        __syncthreads();
        for (const IdRun& run : runs)
          for (int64_t at = run.begin; at < run.end; at++) {
            float x[4] = {};
            loadGroup(gradient + keys[at].position() * static_cast<int64_t>(width) + j, aligned, elements, x);
#pragma unroll
            for (int e = 0; e < 4; e++) sums[e] += x[e];
          }
      }
      storeGroup(out + id * static_cast<int64_t>(width) + j, aligned, elements, sums);
    }
  }
}

}  // namespace stepsize::cuda
