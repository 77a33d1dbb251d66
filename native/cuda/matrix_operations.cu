// Launches the kernels of matrix products and convolutions.
#include "convolution.cuh"
#include "gemm.cuh"
#include "launch_support.h"

namespace stepsize::cuda {

namespace {

// The length of a slice of k. It is fixed, so that the sums do not depend on the device.
constexpr int64_t kSlice = 4096;
// The most slices, because gridDim.y is limited. A longer k is cut into longer slices.
constexpr int64_t kMaxSlices = 65535;
// If C has this many tiles, the device is full without cutting k.
constexpr int64_t kManyTiles = 256;
// If C has this many large tiles, blocks take large tiles.
constexpr int64_t kManyLargeTiles = 128;

int64_t tilesOf(int64_t m, int64_t n, int tile) { return ceilDivide(m, tile) * ceilDivide(n, tile); }

// How k is cut, and the grid of a product.
struct TiledProduct {
  int64_t slices;
  GemmShape shape;
  dim3 grid;

  TiledProduct(int64_t m, int64_t n, int64_t k, int tile) {
    const int64_t tiles = tilesOf(m, n, tile);
    const int64_t slice = kSlice * ceilDivide(k, kSlice * kMaxSlices);
    slices = tiles < kManyTiles && k > 0 ? ceilDivide(k, slice) : 1;
    shape = {index(m, "rows"), index(n, "columns"), index(k, "terms of a sum"),
             static_cast<int>(slices > 1 ? slice : k)};
    grid = dim3(static_cast<unsigned>(index(tiles, "tiles")), static_cast<unsigned>(slices), 1);
  }
};

// multiplyTo(c, finish) launches the product. If k is cut, it writes float32 slices, which are then added in order.
template <class T, class F>
void addSlices(CudaDevice& device, const TiledProduct& product, const TensorView& out, const Epilogue<T>& finish,
               const F& multiplyTo) {
  if (product.slices == 1) return multiplyTo(out.as<T>(), finish);
  const int64_t count = out.elements();
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(product.slices * count) * sizeof(float));
  auto* sums = static_cast<float*>(scratch.get());
  multiplyTo(sums, Epilogue<T>{});
  launch(addSlicesKernel<T>, blocksFor(device, count, 4 * kFoursThreads), kFoursThreads, 0, device.stream(), sums,
         out.as<T>(), count, product.shape.n, static_cast<int>(product.slices), finish);
}

// Whether an operand can be read in chunks of 16 bytes.
template <class Operand>
bool isInChunks(const Operand& operand) {
  return operand.neighbours() % kChunk<typename Operand::Element> == 0 && beginsChunk(operand.data);
}

template <class Tile, class A, class B, class T = typename A::Element>
void gemmInTiles(CudaDevice& device, int64_t m, int64_t n, int64_t k, const A& a, const B& b, const TensorView& out,
                 const Epilogue<T>& finish) {
  const TiledProduct product(m, n, k, Tile::kLines);
  const unsigned chunks = (isInChunks(a) ? 1u : 0u) | (isInChunks(b) ? 2u : 0u);
  addSlices<T>(device, product, out, finish, [&](auto* c, const Epilogue<T>& last) {
    launchWithShared(device, gemmKernel<A, B, std::remove_pointer_t<decltype(c)>, Tile>, product.grid, Tile::kThreads,
                     Tile::kSharedBytes, Tile::kSharedBytes, product.shape, a, b, c, chunks, last);
  });
}

template <class A, class B, class T = typename A::Element>
void gemm(CudaDevice& device, int64_t m, int64_t n, int64_t k, const A& a, const B& b, const TensorView& out,
          const Epilogue<T>& finish = {}) {
  if (m == 0 || n == 0) return;
  using Large = typename Product<T>::LargeTile;
  using Small = typename Product<T>::SmallTile;
  if (tilesOf(m, n, Large::kLines) >= kManyLargeTiles)
    gemmInTiles<Large>(device, m, n, k, a, b, out, finish);
  else
    gemmInTiles<Small>(device, m, n, k, a, b, out, finish);
}

template <class T>
Epilogue<T> epilogueOf(const Record& record) {
  const EpilogueTensors at(record.inputs, integer(record, attribute::matmul::bias) != 0);
  return {at.bias < 0 ? nullptr : input(record, at.bias).as<const T>(),
          at.residual < 0 ? nullptr : input(record, at.residual).as<const T>(),
          {static_cast<Activation>(integer(record, attribute::matmul::activation))}};
}

template <class T>
void matmul(CudaDevice& device, const Record& record) {
  const TensorView &a = input(record, 0), &b = input(record, 1), &out = output(record, 0);
  const bool transposeA = integer(record, attribute::matmul::transposeA) != 0;
  const bool transposeB = integer(record, attribute::matmul::transposeB) != 0;
  const int64_t m = out.shape[0], n = out.shape[1], k = a.shape[transposeA ? 0 : 1];
  const Epilogue<T> finish = epilogueOf<T>(record);
  const auto withA = [&](const auto& rows) {
    if (transposeB)
      gemm(device, m, n, k, rows, DenseLines<T>{b.as<T>(), k}, out, finish);
    else
      gemm(device, m, n, k, rows, Transposed<DenseLines<T>>{{b.as<T>(), n}}, out, finish);
  };
  if (transposeA)
    withA(Transposed<DenseLines<T>>{{a.as<T>(), m}});
  else
    withA(DenseLines<T>{a.as<T>(), k});
}

ConvolutionShape shapeOf(const Record& record, const Shape& image, const Shape& out, int64_t kernelHeight,
                         int64_t kernelWidth) {
  const auto size = [](int64_t value) { return static_cast<int>(value); };
  return {size(image[1]),
          size(image[2]),
          size(image[3]),
          size(out[1]),
          size(out[2]),
          size(out[3]),
          size(kernelHeight),
          size(kernelWidth),
          size(integer(record, attribute::conv2d::stride)),
          size(integer(record, attribute::conv2d::padding))};
}

int64_t pixels(const Shape& images) { return images.product(0, 3); }

template <class T>
void conv2d(CudaDevice& device, const Record& record) {
  const TensorView &x = input(record, 0), &w = input(record, 1), &out = output(record, 0);
  const ConvolutionShape shape = shapeOf(record, x.shape, out.shape, w.shape[1], w.shape[2]);
  const int64_t k = w.shape.product(1, 4);
  gemm(device, pixels(out.shape), shape.outputs, k, ImageWindows<T>{x.as<T>(), shape}, DenseLines<T>{w.as<T>(), k},
       out);
}

template <class T>
void conv2dInputGradient(CudaDevice& device, const Record& record) {
  const TensorView &g = input(record, 0), &w = input(record, 1), &out = output(record, 0);
  const ConvolutionShape shape = shapeOf(record, out.shape, g.shape, w.shape[1], w.shape[2]);
  gemm(device, pixels(out.shape), shape.channels, w.shape.product(0, 3), GradientWindows<T>{g.as<T>(), shape},
       WeightsByOutput<T>{w.as<T>(), shape}, out);
}

template <class T>
void conv2dWeightGradient(CudaDevice& device, const Record& record) {
  const TensorView &x = input(record, 0), &g = input(record, 1), &out = output(record, 0);
  const ConvolutionShape shape = shapeOf(record, x.shape, g.shape, out.shape[1], out.shape[2]);
  gemm(device, shape.outputs, out.shape.product(1, 4), pixels(g.shape),
       Transposed<DenseLines<T>>{{g.as<T>(), shape.outputs}}, Transposed<ImageWindows<T>>{{x.as<T>(), shape}}, out);
}

}  // namespace

namespace launchers {

const Launcher matmul = byPrecision<cuda::matmul<float>, cuda::matmul<BFloat16>>;
const Launcher conv2d = byPrecision<cuda::conv2d<float>, cuda::conv2d<BFloat16>>;
const Launcher conv2dInputGradient = byPrecision<cuda::conv2dInputGradient<float>, cuda::conv2dInputGradient<BFloat16>>;
const Launcher conv2dWeightGradient =
    byPrecision<cuda::conv2dWeightGradient<float>, cuda::conv2dWeightGradient<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
