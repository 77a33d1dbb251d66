// Embedding, out[i] = table[ids[i]], and the gradient of the table; cpu/kernels/embedding.h has the shapes and
// formulas. Memory-bound: the forward pass reads and writes each number of the selected rows once, 8 bytes in float32.
// The backward pass reads the gradient once and writes each row of the table that occurs once.
#pragma once

#include "grid_loops.cuh"
#include "report_fault.cuh"

namespace stepsize::cuda {

constexpr int kEmbeddingThreads = 128;

// out[i] = table[ids[i]], one block per id. Neighbouring threads copy neighbouring numbers.
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

// The gradient adds the rows of an id in the order of their positions, so it needs no atomics and has one order. Each
// chunk of positions is first sorted by id. Then a binary search finds the run of an id in every chunk, and the block
// that has the first run of the id adds all of its runs. For n positions that is at most n·(n / 1024) searches, and the
// threads of a block make 128 at once.
constexpr int kIdChunk = 1024;

// A sort key: the id in the upper half, then the position. Keys compare as integers.
struct IdKey {
  uint64_t bits;
  __device__ static IdKey of(uint32_t id, uint32_t position) { return {static_cast<uint64_t>(id) << 32 | position}; }
  __device__ uint32_t id() const { return static_cast<uint32_t>(bits >> 32); }
  __device__ uint32_t position() const { return static_cast<uint32_t>(bits); }
};

// Sorts the keys of one chunk per block with Batcher's bitonic network. Positions beyond the last one get keys of no
// id.
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

// The range of an id's keys in a sorted chunk.
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

// out[id] = Σ gradient[position] over the positions of the id. One block per key; of the blocks of one id, only that of
// the first key works. `rows` is below 2³¹, as ids are.
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
