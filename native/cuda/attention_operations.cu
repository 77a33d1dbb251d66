// Launches the kernels of causal attention.
#include "attention.cuh"
#include "attention_tensor_core.cuh"
#include "launch_support.h"

namespace stepsize::cuda {

namespace {

// The grid of an attention kernel: one block per head and tile of positions.
struct AttentionLaunch {
  AttentionShape shape;
  unsigned heads;

  explicit AttentionLaunch(const Shape& s)
      : shape{index(s[1], "positions"), index(s[2], "heads"), index(s[3], "numbers of a head")},
        heads(static_cast<unsigned>(index(s[0] * s[2], "heads"))) {
    index(s[2] * s[3], "numbers of a position");
  }

  template <class Kernel, class... Arguments>
  void start(CudaDevice& device, Kernel kernel, int rows, dim3 block, size_t sharedBytes, size_t maxBytes,
             Arguments... arguments) const {
    if (sharedBytes > device.maxShared())
      throw CudaError("heads of " + std::to_string(shape.size) + " numbers need " + std::to_string(sharedBytes) +
                          " bytes of shared memory in a block, but the device has " +
                          std::to_string(device.maxShared()),
                      cudaErrorInvalidValue);
    launchWithShared(device, kernel, dim3(shape.tiles(rows) * heads, 1, 1), block, sharedBytes, maxBytes, arguments...);
  }
};

const dim3 kFloatBlock(kAttentionThreadsX, kAttentionThreadsY, 1);

size_t floatTiles(int count, int size) { return static_cast<size_t>(count) * Tile::floats(size) * sizeof(float); }

// Calls f with the size of a head over 32, rounded up to 1, 2, 4 or 8, as a type.
template <class F>
void withChunks(int size, const F& f) {
  if (size <= 32) return f(std::integral_constant<int, 1>{});
  if (size <= 64) return f(std::integral_constant<int, 2>{});
  if (size <= 128) return f(std::integral_constant<int, 4>{});
  f(std::integral_constant<int, 8>{});
}

// Calls f with the size of a head, rounded up to a tile of tensor cores (32, 64 or 128), as a type.
template <class F>
void withTileSize(int size, const F& f) {
  if (size <= 32) return f(std::integral_constant<int, 32>{});
  if (size <= 64) return f(std::integral_constant<int, 64>{});
  f(std::integral_constant<int, 128>{});
}

// Whether heads consist of whole chunks of 16 bytes, the sums of a warp's rows fit into its registers, and the largest
// product belongs to the largest score.
bool fitsTensorCores(const Record& record, int size, float scale) {
  const auto isAligned = [](const TensorView& tensor) {
    return tensor.type != DataType::bfloat16 || beginsChunk(tensor.data);
  };
  return size % 8 == 0 && size <= 128 && scale > 0 &&
         std::all_of(record.tensors.begin(), record.tensors.end(), isAligned);
}

template <class T>
void attention(CudaDevice& device, const Record& record) {
  const Shape& s = input(record, 0).shape;
  if (s.elements() == 0) return;
  const AttentionLaunch at(s);
  const float scale = number(record, attribute::attention::scale);
  const T *q = input(record, 0).as<T>(), *k = input(record, 1).as<T>(), *v = input(record, 2).as<T>();
  T* out = output(record, 0).as<T>();
  float *maxima = output(record, 1).floats(), *inverseSums = output(record, 2).floats();
  if constexpr (std::is_same_v<T, BFloat16>)
    if (fitsTensorCores(record, at.shape.size, scale))
      return withTileSize(at.shape.size, [&](auto size) {
        constexpr int kSize = decltype(size)::value;
        at.start(device, attentionTensorKernel<kSize>, kBlockRows<kOutputFragments<kSize>>, kHeadThreads,
                 kForwardBytes<kSize>, kForwardBytes<kSize>, q, k, v, out, maxima, inverseSums, at.shape, scale);
      });
  withChunks(at.shape.size, [&](auto chunks) {
    at.start(device, attentionKernel<decltype(chunks)::value, T>, kAttentionTile, kFloatBlock,
             floatTiles(3, at.shape.size), floatTiles(3, 32 * decltype(chunks)::value), q, k, v, out, maxima,
             inverseSums, at.shape, scale);
  });
}

template <class T>
void attentionGradient(CudaDevice& device, const Record& record) {
  const Shape& s = input(record, 0).shape;
  if (s.elements() == 0) return;
  const AttentionLaunch at(s);
  const int64_t rows = s[0] * s[2] * s[1];
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(rows) * sizeof(QueryNumbers));
  auto* numbers = static_cast<QueryNumbers*>(scratch.get());
  const T *out = input(record, 3).as<T>(), *g = input(record, 4).as<T>();
  launch(attentionNumbersKernel<T>, blocksFor(device, rows, kAttentionThreadsY), kFloatBlock, 0, device.stream(), out,
         g, input(record, 5).floats(), input(record, 6).floats(), numbers, rows, at.shape);
  const AttentionGradientTensors<T> tensors{
      input(record, 0).as<T>(),  input(record, 1).as<T>(),  input(record, 2).as<T>(), g, numbers,
      output(record, 0).as<T>(), output(record, 1).as<T>(), output(record, 2).as<T>()};
  const float scale = number(record, attribute::attention::scale);
  if constexpr (std::is_same_v<T, BFloat16>)
    if (fitsTensorCores(record, at.shape.size, scale))
      return withTileSize(at.shape.size, [&](auto size) {
        constexpr int kSize = decltype(size)::value;
        at.start(device, attentionQueryGradientTensorKernel<kSize>, kBlockRows<kQueryFragments<kSize>>, kHeadThreads,
                 kQueryGradientBytes<kSize>, kQueryGradientBytes<kSize>, tensors, at.shape, scale);
        at.start(device, attentionKeyGradientTensorKernel<kSize>, kBlockRows<kKeyFragments<kSize>>, kHeadThreads,
                 kKeyGradientBytes<kSize>, kKeyGradientBytes<kSize>, tensors, at.shape, scale);
      });
  withChunks(at.shape.size, [&](auto chunks) {
    constexpr int kChunks = decltype(chunks)::value;
    constexpr int kTiles = kGradientTiles<kChunks>;
    const size_t bytes = floatTiles(kTiles, at.shape.size), maxBytes = floatTiles(kTiles, 32 * kChunks);
    at.start(device, attentionQueryGradientKernel<kChunks, T>, kAttentionTile, kFloatBlock, bytes, maxBytes, tensors,
             at.shape, scale);
    at.start(device, attentionKeyGradientKernel<kChunks, T>, kAttentionTile, kFloatBlock, bytes, maxBytes, tensors,
             at.shape, scale);
  });
}

}  // namespace

namespace launchers {

const Launcher attention = byPrecision<cuda::attention<float>, cuda::attention<BFloat16>>;
const Launcher attentionGradient = byPrecision<cuda::attentionGradient<float>, cuda::attentionGradient<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
