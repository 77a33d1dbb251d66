// Launches the kernels of embedding and rotary positions.
#include <cmath>
#include <utility>

#include "embedding.cuh"
#include "launch_support.h"
#include "rotary.cuh"

namespace stepsize::cuda {

namespace {

template <class T>
void embedding(CudaDevice& device, const Record& record) {
  const TensorView &ids = input(record, 0), &table = input(record, 1);
  const int64_t count = ids.elements();
  if (count == 0) return;
  launch(embeddingKernel<T>, blocksFor(device, count), kEmbeddingThreads, 0, device.stream(), ids.as<const int32_t>(),
         table.as<T>(), output(record, 0).as<T>(), count, table.shape[0], index(table.shape[1], "columns"),
         device.faults());
}

template <class T>
void embeddingGradient(CudaDevice& device, const Record& record) {
  const TensorView &ids = input(record, 0), &out = output(record, 0);
  if (out.bytes() == 0) return;
  check(cudaMemsetAsync(out.data, 0, static_cast<size_t>(out.bytes()), device.stream()), "embeddingGradient");
  const int64_t count = ids.elements();
  if (count == 0) return;
  const int64_t keyCount = ceilDivide(index(count, "ids"), kIdChunk) * kIdChunk;
  const int64_t parts = ceilDivide(count, kEmbeddingPart);
  const int64_t rows = index(out.shape[0], "rows of a table");
  const int width = index(out.shape[1], "columns");
  const size_t keyBytes = static_cast<size_t>(keyCount) * sizeof(IdKey);
  const DeviceMemory memory = device.scratch(2 * keyBytes);
  const DeviceMemory sums = device.scratch(static_cast<size_t>(2 * parts * width) * sizeof(float));
  auto* keys = static_cast<IdKey*>(memory.get());
  IdKey* others = keys + keyCount;
  auto* partials = static_cast<float*>(sums.get());
  launch(sortIdsKernel, static_cast<unsigned>(keyCount / kIdChunk), kIdChunk / 2, 0, device.stream(),
         ids.as<const int32_t>(), keys, count);
  for (int64_t length = kIdChunk; length < keyCount; length *= kIdRuns) {
    launch(mergeIdsKernel, blocksFor(device, keyCount, kMergeIdsThreads), kMergeIdsThreads, 0, device.stream(), keys,
           others, keyCount, length);
    std::swap(keys, others);
  }
  launch(embeddingGradientKernel<T>, blocksFor(device, parts * ceilDivide(width, 4 * kEmbeddingThreads)),
         kEmbeddingThreads, 0, device.stream(), keys, input(record, 1).as<T>(), out.as<T>(), partials, parts, rows,
         width);
  if (parts > 1)
    launch(addEmbeddingPartsKernel<T>, blocksFor(device, (parts - 1) * ceilDivide(width, 4 * kMergeLanes)),
           kMergeThreads, 0, device.stream(), keys, partials, out.as<T>(), parts, rows, width);
}

template <class T>
void rotary(CudaDevice& device, const Record& record) {
  const Shape& s = input(record, 0).shape;
  if (s.elements() == 0) return;
  const HeadShape shape{s[0] * s[1], index(s[1], "positions"), index(s[2], "heads"), index(s[3], "numbers of a head")};
  const int64_t tasks = ceilDivide(s[0], kRotarySequences) * s[1];
  launch(rotaryKernel<T>, blocksFor(device, tasks), kRotaryThreads, 0, device.stream(), input(record, 0).as<T>(),
         output(record, 0).as<T>(), shape, std::log2(record.attributes[attribute::rotary::base]),
         integer(record, attribute::rotary::inverse) != 0 ? -1.0f : 1.0f);
}

}  // namespace

namespace launchers {

const Launcher embedding = byPrecision<cuda::embedding<float>, cuda::embedding<BFloat16>>;
const Launcher embeddingGradient = byPrecision<cuda::embeddingGradient<float>, cuda::embeddingGradient<BFloat16>>;
const Launcher rotary = byPrecision<cuda::rotary<float>, cuda::rotary<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
