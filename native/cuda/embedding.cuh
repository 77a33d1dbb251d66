// Embedding, out[i] = table[ids[i]], and the gradient of the table; cpu/kernels/embedding.h has the shapes and
// formulas. Memory-bound: the forward pass reads and writes each number of the selected rows once, 8 bytes in float32.
// The backward pass reads the gradient once and writes each row of the table that occurs once.
#pragma once

#include "column_sums.cuh"
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

// The gradient is a sum of rows by id. The keys of all positions are sorted by id and then by position, in chunks that
// a block sorts and that the next launches merge. The sorted keys are cut into parts of 64. A block adds the rows of
// one part, and writes an id whose keys all lie in this part. The sums of other ids are kept as partial sums, at most
// two in a part, and a last launch adds those of each id in a fixed order. There are no atomics, and the order of a sum
// depends on the ids alone. An id that occurs at every position takes as long as ids that occur once.
//
// Prediction for 65,536 ids of a text in bytes, rows of 512 bfloat16, on an H200 (4.3 TB/s): the gradient is 67 MB, or
// 16 µs; partial sums are written and read once, 8 MB; the five launches take about 3 µs each; the longest chain of a
// thread is 8 groups of 8 rows, then 11 partial sums, about 15 µs. Together about 50 µs. When one block added all rows
// of an id, the most frequent one, about 11,000 rows at 0.9 µs each, took 10 ms. Not run on hardware.
constexpr int kIdChunk = 1024;      // keys that a block sorts
constexpr int kIdRuns = 16;         // sorted runs that one launch merges into one
constexpr int kEmbeddingPart = 64;  // keys whose rows one block adds
constexpr int kEmbeddingBatch = 8;  // rows that are read before the first of them is added

// A sort key: the id in the upper half, then the position. Keys compare as integers. An id outside the table compares
// as larger than those inside, also if it is negative.
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

constexpr int kMergeIdsThreads = 256;

// Merges sorted runs of `length` keys, kIdRuns at a time. The place of a key is the number of smaller keys: its place
// in its own run, and a binary search in each of the others. All keys differ.
__global__ void __launch_bounds__(kMergeIdsThreads)
    mergeIdsKernel(const IdKey* from, IdKey* to, int64_t count, int64_t length) {
  forGrid<kMergeIdsThreads>(count, [&](int64_t i) {
    const uint64_t key = from[i].bits;
    const int64_t run = i / length, first = run / kIdRuns * kIdRuns;
    int64_t place = first * length + i % length;
    for (int64_t other = first; other < first + kIdRuns && other * length < count; other++) {
      if (other == run) continue;
      const IdKey* begin = from + other * length;
      int64_t low = 0, high = min(length, count - other * length);
      while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (begin[middle].bits < key)
          low = middle + 1;
        else
          high = middle;
      }
      place += low;
    }
    to[place].bits = key;
  });
}

// The partial sums of a part: that of an id whose keys begin in an earlier part, and that of an id whose keys begin in
// this part and continue in the next. Each has one row of the table's width.
__device__ __forceinline__ int64_t earlierSum(int64_t part) { return 2 * part; }
__device__ __forceinline__ int64_t laterSum(int64_t part) { return 2 * part + 1; }

// One part of the sorted keys, and four columns of a thread in the gradient, the table's gradient and the partial sums.
template <class T>
struct EmbeddingPart {
  const uint64_t* keys;
  int64_t part;
  bool beginsEarlier, endsLater;  // whether the first id occurs in an earlier part, and the last id in a later one
  uint32_t rows;
  int64_t width;
  int elements;  // columns that the table has, up to four
  const T* gradient;
  T* out;
  float* partials;

  template <bool Aligned>
  __device__ __forceinline__ void addRows() const {
    float sums[4] = {};
    bool isEarlier = beginsEarlier;
#pragma unroll 1
    for (int first = 0; first < kEmbeddingPart; first += kEmbeddingBatch) {
      float x[kEmbeddingBatch][4];
#pragma unroll
      for (int r = 0; r < kEmbeddingBatch; r++) loadRow<Aligned>(IdKey{keys[first + r]}, x[r]);
#pragma unroll
      for (int r = 0; r < kEmbeddingBatch; r++) {
        const int at = first + r;
        const uint32_t id = IdKey{keys[at]}.id();
        if (id >= rows) return;
#pragma unroll
        for (int e = 0; e < 4; e++) sums[e] += x[r][e];
        const bool isLast = at + 1 == kEmbeddingPart;
        if (!isLast && IdKey{keys[at + 1]}.id() == id) continue;
        if (isEarlier)
          storeGroup(partials + earlierSum(part) * width, Aligned, elements, sums);
        else if (isLast && endsLater)
          storeGroup(partials + laterSum(part) * width, Aligned, elements, sums);
        else
          storeGroup(out + id * width, Aligned, elements, sums);
        isEarlier = false;
#pragma unroll
        for (int e = 0; e < 4; e++) sums[e] = 0;
      }
    }
  }

 private:
  // Keys of no row are not added. Reading the first row for them costs less than a branch around each load.
  template <bool Aligned>
  __device__ __forceinline__ void loadRow(IdKey key, float (&x)[4]) const {
    const T* row = gradient + (key.id() < rows ? key.position() : 0) * width;
    if constexpr (Aligned) {
      loadAligned(row, x);
    } else {
#pragma unroll
      for (int e = 0; e < 4; e++) x[e] = e < elements ? toFloat(row[e]) : 0.0f;
    }
  }
};

// out[id] = Σ gradient[position] over the positions of the id, or partial sums of it. `keys` are sorted, and a multiple
// of kEmbeddingPart. `rows` is below 2³¹, as ids are. A block adds one part for 4 · kEmbeddingThreads columns.
template <class T>
__global__ void __launch_bounds__(kEmbeddingThreads)
    embeddingGradientKernel(const IdKey* keys, const T* gradient, T* out, float* partials, int64_t parts, int64_t rows,
                            int width) {
  STEPSIZE_SHARED(uint64_t, sorted, [kEmbeddingPart]);
  const int thread = static_cast<int>(threadIdx.x);
  const bool aligned = width % 4 == 0 && isAligned16(gradient) && isAligned16(out);
  const int64_t tiles = (width - 1) / (4 * kEmbeddingThreads) + 1;
  for (int64_t task = blockIdx.x; task < parts * tiles; task += gridDim.x) {
    const int64_t part = task / tiles;
    const int column = static_cast<int>(task % tiles) * 4 * kEmbeddingThreads + 4 * thread;
    const IdKey* first = keys + part * kEmbeddingPart;
    __syncthreads();
    if (thread < kEmbeddingPart) sorted[thread] = first[thread].bits;
    __syncthreads();
    if (column >= width) continue;
    const bool beginsEarlier = part > 0 && first[-1].id() == first[0].id();
    const bool endsLater = part + 1 < parts && first[kEmbeddingPart].id() == first[kEmbeddingPart - 1].id();
    const EmbeddingPart<T> own{sorted,
                               part,
                               beginsEarlier,
                               endsLater,
                               static_cast<uint32_t>(rows),
                               width,
                               min(4, width - column),
                               gradient + column,
                               out + column,
                               partials + column};
    if (aligned)
      own.template addRows<true>();
    else
      own.template addRows<false>();
  }
}

// Adds the partial sums of each id whose keys lie in several parts. One block per part in which such an id begins, for
// 4 · kMergeLanes columns.
template <class T>
__global__ void __launch_bounds__(kMergeThreads)
    addEmbeddingPartsKernel(const IdKey* keys, const float* partials, T* out, int64_t parts, int64_t rows, int width) {
  const bool aligned = width % 4 == 0 && isAligned16(out);
  const int64_t tiles = (width - 1) / (4 * kMergeLanes) + 1;
  for (int64_t task = blockIdx.x; task < (parts - 1) * tiles; task += gridDim.x) {
    const int64_t part = task / tiles;
    const IdKey* first = keys + part * kEmbeddingPart;
    const uint32_t id = first[kEmbeddingPart - 1].id();
    const bool begins = part == 0 || first[-1].id() != id;
    if (id >= rows || first[kEmbeddingPart].id() != id || !begins) continue;
    // The last part with keys of the id is the last one that begins with it.
    int64_t last = part + 1, end = parts;
    while (end - last > 1) {
      const int64_t middle = (last + end) / 2;
      if (keys[middle * kEmbeddingPart].id() == id)
        last = middle;
      else
        end = middle;
    }
    const int column = (static_cast<int>(task % tiles) * kMergeLanes + mergeLane()) * 4;
    const int elements = max(0, min(4, width - column));
    const auto load = [&](int64_t i) {
      float x[4] = {};
      loadGroup(partials + (i == 0 ? laterSum(part) : earlierSum(part + i)) * width + column, aligned, elements, x);
      return make_float4(x[0], x[1], x[2], x[3]);
    };
    const auto add = [](float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); };
    const float4 sum = mergeParts<float4>(last - part + 1, elements > 0, load, add);
    const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
    if (mergeRow() == 0) storeGroup(out + id * static_cast<int64_t>(width) + column, aligned, elements, sums);
  }
}

}  // namespace stepsize::cuda
