// Embedding, rotary positions and attention.
#include <cmath>

#include "attention.cuh"
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
         table.as<T>(), output(record, 0).as<T>(), count, table.shape[0], static_cast<int>(table.shape[1]),
         device.faults(record));
}

template <class T>
void embeddingGradient(CudaDevice& device, const Record& record) {
  const TensorView &ids = input(record, 0), &out = output(record, 0);
  if (out.bytes() == 0) return;
  check(cudaMemsetAsync(out.data, 0, static_cast<size_t>(out.bytes()), device.stream()), "embeddingGradient");
  const int64_t count = ids.elements();
  if (count == 0) return;
  const int64_t chunks = ceilDivide(index(count, "ids"), kIdChunk);
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(chunks) * kIdChunk * sizeof(IdKey));
  auto* keys = static_cast<IdKey*>(scratch.get());
  launch(sortIdsKernel, static_cast<unsigned>(chunks), kIdChunk / 2, 0, device.stream(), ids.as<const int32_t>(), keys,
         count);
  launch(embeddingGradientKernel<T>, blocksFor(device, chunks * kIdChunk), kEmbeddingThreads, 0, device.stream(), keys,
         input(record, 1).as<T>(), out.as<T>(), chunks, index(out.shape[0], "rows of a table"),
         static_cast<int>(out.shape[1]));
}

template <class T>
void rotary(CudaDevice& device, const Record& record) {
  const Shape& s = input(record, 0).shape;
  if (s.elements() == 0) return;
  const HeadShape shape{s[0] * s[1], static_cast<int>(s[1]), static_cast<int>(s[2]), static_cast<int>(s[3])};
  launch(rotaryKernel<T>, blocksFor(device, shape.positions), kRotaryThreads, 0, device.stream(),
         input(record, 0).as<T>(), output(record, 0).as<T>(), shape,
         std::log2(record.attributes[attribute::rotaryBase]),
         integer(record, attribute::rotaryInverse) != 0 ? -1.0f : 1.0f);
}

struct AttentionLaunch {
  AttentionShape shape;
  dim3 grid;
  dim3 block{kAttentionThreadsX, kAttentionThreadsY, 1};

  explicit AttentionLaunch(const Shape& s)
      : shape{static_cast<int>(s[1]), static_cast<int>(s[2]), static_cast<int>(s[3])},
        grid(shape.tiles() * static_cast<unsigned>(s[0] * s[2]), 1, 1) {}

  size_t sharedBytes(int tiles) const { return static_cast<size_t>(tiles) * Tile::floats(shape.size) * sizeof(float); }
};

// Calls f with the number of lanes' widths that a head takes up, as a type.
template <class F>
void withChunks(int size, const F& f) {
  if (size <= 32) return f(std::integral_constant<int, 1>{});
  if (size <= 64) return f(std::integral_constant<int, 2>{});
  if (size <= 128) return f(std::integral_constant<int, 4>{});
  f(std::integral_constant<int, 8>{});
}

template <class T>
void attention(CudaDevice& device, const Record& record) {
  const Shape& s = input(record, 0).shape;
  if (s.elements() == 0) return;
  const AttentionLaunch at(s);
  withChunks(at.shape.size, [&](auto chunks) {
    launchWithShared(device, attentionKernel<decltype(chunks)::value, T>, at.grid, at.block, at.sharedBytes(3),
                     input(record, 0).as<T>(), input(record, 1).as<T>(), input(record, 2).as<T>(),
                     output(record, 0).as<T>(), output(record, 1).floats(), at.shape,
                     number(record, attribute::attentionScale));
  });
}

template <class T>
void attentionGradient(CudaDevice& device, const Record& record) {
  const Shape& s = input(record, 0).shape;
  if (s.elements() == 0) return;
  const AttentionLaunch at(s);
  const int64_t rows = s[0] * s[2] * s[1];
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(rows) * sizeof(float));
  auto* delta = static_cast<float*>(scratch.get());
  const T *out = input(record, 3).as<T>(), *g = input(record, 4).as<T>();
  launch(attentionDeltaKernel<T>, blocksFor(device, rows, kAttentionThreadsY), at.block, 0, device.stream(), out, g,
         delta, rows, at.shape);
  const AttentionGradientTensors<T> tensors{input(record, 0).as<T>(),  input(record, 1).as<T>(),
                                            input(record, 2).as<T>(),  g,
                                            input(record, 5).floats(), delta,
                                            output(record, 0).as<T>(), output(record, 1).as<T>(),
                                            output(record, 2).as<T>()};
  const float scale = number(record, attribute::attentionScale);
  withChunks(at.shape.size, [&](auto chunks) {
    constexpr int kChunks = decltype(chunks)::value;
    launchWithShared(device, attentionQueryGradientKernel<kChunks, T>, at.grid, at.block, at.sharedBytes(4), tensors,
                     at.shape, scale);
    launchWithShared(device, attentionKeyGradientKernel<kChunks, T>, at.grid, at.block, at.sharedBytes(4), tensors,
                     at.shape, scale);
  });
}

}  // namespace

Launcher sequenceLauncher(OperationId id) {
  switch (id) {
    case OperationId::embedding: return byPrecision<embedding<float>, embedding<BFloat16>>;
    case OperationId::embeddingGradient: return byPrecision<embeddingGradient<float>, embeddingGradient<BFloat16>>;
    case OperationId::rotary: return byPrecision<rotary<float>, rotary<BFloat16>>;
    case OperationId::attention: return byPrecision<attention<float>, attention<BFloat16>>;
    case OperationId::attentionGradient: return byPrecision<attentionGradient<float>, attentionGradient<BFloat16>>;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
