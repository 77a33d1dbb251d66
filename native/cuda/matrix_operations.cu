// Launches the kernels of matrix products and convolutions.
#include <type_traits>
#include <utility>

#include "convolution.cuh"
#include "gemm.cuh"
#include "gemm_tiles.h"
#include "launch_support.h"
#include "padding.cuh"

namespace stepsize::cuda {

namespace {

// Launches the product with this tile. If k is cut, the kernel writes float32 slices, which are then added in order.
// The epilogue of linear layers, whose operands both have contiguous lines, can be part of the product. For other
// operands it is applied as slices are added, even if there is only one, so that it is not compiled for each of them.
template <class Tile, class A, class B, class C, class Finish>
void gemmInTiles(CudaDevice& device, const GemmShape& shape, int64_t slices, const A& a, const B& b, const C& c,
                 const Finish& finish) {
  const int64_t tiles = tilesOf(shape.m, shape.n, Tile::kRows, Tile::kColumns);
  const dim3 grid(static_cast<unsigned>(index(tiles, "tiles")), static_cast<unsigned>(slices), 1);
  const auto multiply = [&](float* sums, const auto& last) {
    using Last = std::decay_t<decltype(last)>;
    launchWithShared(device, gemmKernel<A, B, C, Tile, Last>, grid, Tile::kThreads, Tile::kSharedBytes,
                     Tile::kSharedBytes, shape, a, b, c, sums, last);
  };
  constexpr bool isPlain = std::is_same_v<Finish, NoEpilogue>;
  if constexpr (isPlain || (!A::kAlongLines && !B::kAlongLines))
    if (slices == 1) return multiply(nullptr, finish);
  const int64_t elements = int64_t{shape.m} * shape.n;
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(slices * elements) * sizeof(float));
  auto* sums = static_cast<float*>(scratch.get());
  multiply(sums, NoEpilogue{});
  launch(addSlicesKernel<C, Finish>, blocksFor(device, elements, 4 * kElementThreads), kElementThreads, 0,
         device.stream(), sums, c, shape.m, shape.n, Divider(static_cast<int>(ceilDivide(shape.n, 4))),
         static_cast<int>(slices), finish);
}

// The tiles among which a product chooses, in an order with larger ones first.
template <class... Tile>
struct Tiles {};

// The rate of a tile, see the kinds of products. Multiply-adders limit all tiles, tensor cores only the larger ones.
template <class Tile>
constexpr TileSize sizeOf() {
  constexpr bool usesTensorCores = !std::is_same_v<typename Tile::Product, Float32Product>;
  constexpr int area = Tile::kRows * Tile::kColumns;
  const double ofTensorCores = area >= 256 * 128 ? 1 : area >= 128 * 128 ? 0.95 : 0.53;
  return {Tile::kRows, Tile::kColumns, usesTensorCores ? ofTensorCores : area >= 128 * 128 ? 1 : 0.9};
}

template <class A, class B, class C, class Finish, class... Tile>
void gemmInFastest(CudaDevice& device, const GemmShape& shape, int64_t slices, const A& a, const B& b, const C& c,
                   const Finish& finish, Tiles<Tile...>) {
  constexpr TileSize sizes[] = {sizeOf<Tile>()...};
  int left = fastestTile(shape.m, shape.n, slices, sizes);
  // Calls the one whose turn it is.
  (void)((left-- == 0 && (gemmInTiles<Tile>(device, shape, slices, a, b, c, finish), true)) || ...);
}

// The tiles of products whose C is about as high as wide, or higher, and of those with a long row for each of a few
// outputs.
template <class Product>
struct TilesOf {
  using Any = Tiles<typename Product::HugeTile, typename Product::LargeTile, typename Product::TallTile,
                    typename Product::SmallTile>;
  using Wide = Tiles<typename Product::LargeTile, typename Product::WideTile, typename Product::SmallTile>;
};
template <>
struct TilesOf<Float32Product> {
  using Product = Float32Product;
  using Any = Tiles<Product::LargeTile, Product::TallTile, Product::SmallTile>;
  using Wide = Tiles<Product::LargeTile, Product::SmallTile>;
};

template <class Product, class Choice = typename TilesOf<Product>::Any, class A, class B, class C,
          class Finish = NoEpilogue>
void gemm(CudaDevice& device, int64_t m, int64_t n, int64_t k, const A& a, const B& b, const C& c,
          const Finish& finish = {}) {
  if (m == 0 || n == 0) return;
  const Slices slices(m, n, k);
  const GemmShape shape{index(m, "rows"), index(n, "columns"), index(k, "terms of a sum"),
                        static_cast<int>(slices.length)};
  gemmInFastest(device, shape, slices.count, a, b, c, finish, Choice{});
}

// A matrix whose rows are whole chunks of 16 bytes, in its own memory or as a padded copy.
template <class T>
struct ChunkRows {
  const T* data;
  int64_t stride;
  DeviceMemory copy;
};

// A matrix as whole chunks. With more padded rows than rows, the rest are zeros.
template <class T>
ChunkRows<T> inChunks(CudaDevice& device, const T* data, int64_t rows, int64_t columns, int64_t paddedRows) {
  if (columns % kChunk<T> == 0 && beginsChunk(data) && paddedRows == rows) return {data, columns, {}};
  const int64_t length = paddedLength<T>(columns);
  if (paddedRows * columns == 0) return {data, length, {}};
  const Divider chunks(static_cast<int>(length / kChunk<T>));
  index(paddedRows * chunks.divisor, "16-byte parts of an operand");
  DeviceMemory copy = device.scratch(static_cast<size_t>(paddedRows * length) * sizeof(T));
  auto* to = static_cast<T*>(copy.get());
  launch(padRowsKernel<T>, blocksFor(device, paddedRows * chunks.divisor, kPaddingThreads), kPaddingThreads, 0,
         device.stream(), to, data, index(rows, "rows"), index(columns, "columns"), index(paddedRows, "rows"), chunks);
  return {to, length, std::move(copy)};
}
template <class T>
ChunkRows<T> inChunks(CudaDevice& device, const T* data, int64_t rows, int64_t columns) {
  return inChunks(device, data, rows, columns, rows);
}

template <class T>
Epilogue<T> epilogueOf(const Record& record) {
  const EpilogueTensors at(record.inputs, integer(record, attribute::matmul::bias) != 0);
  return {at.bias < 0 ? nullptr : input(record, at.bias).as<const T>(),
          at.residual < 0 ? nullptr : input(record, at.residual).as<const T>(),
          {static_cast<Activation>(integer(record, attribute::matmul::activation))}};
}

template <class Product>
void matmul(CudaDevice& device, const Record& record) {
  using T = typename Product::Element;
  const TensorView &a = input(record, 0), &b = input(record, 1), &out = output(record, 0);
  const bool transposeA = integer(record, attribute::matmul::transposeA) != 0;
  const bool transposeB = integer(record, attribute::matmul::transposeB) != 0;
  const int64_t m = out.shape[0], n = out.shape[1], k = a.shape[transposeA ? 0 : 1];
  if (m == 0 || n == 0) return;
  const ChunkRows<T> ofA = inChunks(device, a.as<const T>(), a.shape[0], a.shape[1]);
  const ChunkRows<T> ofB = inChunks(device, b.as<const T>(), b.shape[0], b.shape[1]);
  const DenseLines<T> linesA{ofA.data, ofA.stride}, linesB{ofB.data, ofB.stride};
  const DenseResult<T> c{out.as<T>(), index(n, "columns")};
  const Epilogue<T> finish = epilogueOf<T>(record);
  const bool isPlain = !finish.bias && !finish.residual && finish.activate.kind == Activation::none;
  const auto multiply = [&](const auto& rows, const auto& columns) {
    if (isPlain)
      gemm<Product>(device, m, n, k, rows, columns, c);
    else
      gemm<Product>(device, m, n, k, rows, columns, c, finish);
  };
  const auto withA = [&](const auto& rows) {
    if (transposeB)
      multiply(rows, linesB);
    else
      multiply(rows, Transposed<DenseLines<T>>{linesB});
  };
  if (transposeA)
    withA(Transposed<DenseLines<T>>{linesA});
  else
    withA(linesA);
}

// A size of images or of a kernel.
int size(int64_t value) { return index(value, "in a dimension of images"); }

int64_t pixels(const Shape& images) { return images.product(0, 3); }

// Pixels with whole chunks of channels.
template <class T>
ChunkRows<T> pixelsInChunks(CudaDevice& device, const TensorView& images) {
  index(pixels(images.shape), "pixels");
  return inChunks(device, images.as<const T>(), pixels(images.shape), images.shape[3]);
}

// The images of a convolution, of which products read windows, one for each position of the convolution's result.
template <class T>
struct WindowedImages {
  ChunkRows<T> images;
  ImageWindows<T> windows;
  int64_t length;    // of a window, in elements
  PixelPairs pairs;  // of the rows of a window; without channels if the images are not pairs of pixels
};

// Whether a chunk can have two pixels.
template <class T>
constexpr bool kPairsOfPixels = kChunk<T> == 2 * PixelPairs::kChannels;

// Whether all windows begin at the same pixel of a pair, and pixels have few channels.
bool fitsPairs(const Record& record, const Shape& x) {
  return x[3] > 0 && x[3] <= PixelPairs::kChannels && x[2] % 2 == 0 &&
         integer(record, attribute::conv2d::stride) % 2 == 0;
}

// Rows of pixels as pairs.
template <class T>
ChunkRows<T> inPairs(CudaDevice& device, const T* data, int64_t rows, const PixelPairs& pixels) {
  const int64_t chunks = rows * pixels.pairs();
  index(chunks, "pairs of pixels");
  DeviceMemory copy = device.scratch(static_cast<size_t>(chunks * kChunk<T>) * sizeof(T));
  auto* to = static_cast<T*>(copy.get());
  if (chunks > 0)
    launch(pairPixelsKernel<T>, blocksFor(device, chunks, kPaddingThreads), kPaddingThreads, 0, device.stream(), to,
           data, static_cast<int>(rows), pixels, Divider(pixels.pairs()));
  return {to, int64_t{pixels.pairs()} * kChunk<T>, std::move(copy)};
}

// The windows of images of shape `x` at the positions of `out`.
template <class T>
WindowedImages<T> windowsOf(CudaDevice& device, const Record& record, const TensorView& images, const Shape& out,
                            int64_t kernelHeight, int64_t kernelWidth) {
  const Shape& x = images.shape;
  const int stride = size(integer(record, attribute::conv2d::stride));
  const int padding = size(integer(record, attribute::conv2d::padding));
  const auto shapeOf = [&](int64_t width, int64_t channels, int left, int64_t windowWidth) {
    return WindowShape(size(x[1]), size(width), size(channels), size(out[1]), size(out[2]), stride, -padding, left,
                       size(windowWidth));
  };
  index(pixels(x), "pixels");
  if constexpr (kPairsOfPixels<T>)
    if (fitsPairs(record, x)) {
      // If the padding is odd, windows begin at the second pixel of a pair, and get a column of zeros before it.
      const PixelPairs window{size(kernelWidth), size(x[3]), padding % 2};
      ChunkRows<T> copy = inPairs(device, images.as<const T>(), x[0] * x[1], PixelPairs{size(x[2]), size(x[3]), 0});
      WindowShape shape = shapeOf(x[2] / 2, kChunk<T>, -(padding + padding % 2) / 2, window.pairs());
      shape.strideX = stride / 2;
      const ImageWindows<T> windows(copy.data, shape);
      return {std::move(copy), windows, kernelHeight * window.pairs() * kChunk<T>, window};
    }
  ChunkRows<T> chunks = pixelsInChunks<T>(device, images);
  const ImageWindows<T> windows(chunks.data, shapeOf(x[2], chunks.stride, -padding, kernelWidth));
  return {std::move(chunks), windows, kernelHeight * kernelWidth * windows.shape.channels, {}};
}

// The weights of a convolution, in the order of the elements of a window.
template <class T>
ChunkRows<T> weightsFor(CudaDevice& device, const WindowedImages<T>& x, const TensorView& w) {
  const Shape& s = w.shape;
  if constexpr (kPairsOfPixels<T>)
    if (x.pairs.channels > 0) return inPairs(device, w.as<const T>(), s[0] * s[1], x.pairs);
  return inChunks(device, w.as<const T>(), s[0] * s[1] * s[2], s[3]);
}

template <class Product>
void conv2d(CudaDevice& device, const Record& record) {
  using T = typename Product::Element;
  const TensorView &x = input(record, 0), &w = input(record, 1), &out = output(record, 0);
  if (out.elements() == 0) return;
  const WindowedImages<T> images = windowsOf<T>(device, record, x, out.shape, w.shape[1], w.shape[2]);
  const ChunkRows<T> weights = weightsFor(device, images, w);
  gemm<Product>(device, pixels(out.shape), out.shape[3], images.length, images.windows,
                DenseLines<T>{weights.data, images.length}, DenseResult<T>{out.as<T>(), size(out.shape[3])});
}

template <class Product>
void conv2dInputGradient(CudaDevice& device, const Record& record) {
  using T = typename Product::Element;
  const TensorView &g = input(record, 0), &w = input(record, 1), &out = output(record, 0);
  const int stride = size(integer(record, attribute::conv2d::stride));
  const int padding = size(integer(record, attribute::conv2d::padding));
  const int height = size(out.shape[1]), width = size(out.shape[2]), channels = size(out.shape[3]);
  const int kernelHeight = size(w.shape[1]), kernelWidth = size(w.shape[2]);
  index(pixels(out.shape), "pixels");
  const ChunkRows<T> gradients = pixelsInChunks<T>(device, g);
  // Outputs that were added have weights of zero.
  const int outputs = size(gradients.stride);
  const int64_t taps = w.shape[1] * w.shape[2];
  const ChunkRows<T> weights = inChunks(device, w.as<const T>(), w.shape[0] * taps, w.shape[3], outputs * taps);
  // Phases beyond the size of the image have no pixels.
  for (int phaseY = 0; phaseY < std::min(stride, height); phaseY++)
    for (int phaseX = 0; phaseX < std::min(stride, width); phaseX++) {
      const Phase y(phaseY, height, kernelHeight, stride, padding), x(phaseX, width, kernelWidth, stride, padding);
      const ImageWindows<T> windows{gradients.data, WindowShape(size(g.shape[1]), size(g.shape[2]), outputs, y.length,
                                                                x.length, 1, y.origin, x.origin, x.taps)};
      const auto rowBytes = static_cast<unsigned>(size(weights.stride)) * static_cast<unsigned>(sizeof(T));
      const PhaseWeights<T> ofPhase{weights.data, kernelHeight, kernelWidth,      rowBytes,       stride,
                                    y.lastTap,    x.lastTap,    Divider(outputs), Divider(x.taps)};
      const PhasePixels<T> c{out.as<T>(),       height,           width, channels, stride, phaseY, phaseX,
                             Divider(y.length), Divider(x.length)};
      gemm<Product>(device, out.shape[0] * y.length * x.length, channels, int64_t{y.taps} * x.taps * outputs, windows,
                    ofPhase, c);
    }
}

template <class Product>
void conv2dWeightGradient(CudaDevice& device, const Record& record) {
  using T = typename Product::Element;
  const TensorView &x = input(record, 0), &g = input(record, 1), &out = output(record, 0);
  const int64_t outputs = out.shape[0], channels = out.shape[3];
  if (out.elements() == 0) return;
  const WindowedImages<T> images = windowsOf<T>(device, record, x, g.shape, out.shape[1], out.shape[2]);
  const ChunkRows<T> gradients = pixelsInChunks<T>(device, g);
  const int64_t n = images.length;
  const bool isPadded = outputs * n != out.elements();
  DeviceMemory padded;
  if (isPadded) padded = device.scratch(static_cast<size_t>(outputs * n) * sizeof(T));
  auto* const c = isPadded ? static_cast<T*>(padded.get()) : out.as<T>();
  gemm<Product, typename TilesOf<Product>::Wide>(
      device, outputs, n, pixels(g.shape), Transposed<DenseLines<T>>{{gradients.data, gradients.stride}},
      Transposed<ImageWindows<T>>{images.windows}, DenseResult<T>{c, index(n, "columns")});
  if (!isPadded) return;
  const int elements = index(out.elements(), "weights");
  if constexpr (kPairsOfPixels<T>)
    if (images.pairs.channels > 0)
      return launch(unpairPixelsKernel<T>, blocksFor(device, elements, kPaddingThreads), kPaddingThreads, 0,
                    device.stream(), out.as<T>(), c, elements, images.pairs, Divider(size(channels)),
                    Divider(images.pairs.width));
  launch(unpadRowsKernel<T>, blocksFor(device, elements, kPaddingThreads * kChunk<T>), kPaddingThreads, 0,
         device.stream(), out.as<T>(), c, elements, Divider(size(channels)), images.windows.shape.channels);
}

// Calls the launcher for the type of the operands and, for float32, for the products that the device was opened with.
template <Launcher Float32, Launcher Tf32, Launcher Low>
void byProduct(CudaDevice& device, const Record& record) {
  (device.usesTf32() ? byPrecision<Tf32, Low> : byPrecision<Float32, Low>)(device, record);
}

}  // namespace

namespace launchers {

const Launcher matmul =
    byProduct<cuda::matmul<Float32Product>, cuda::matmul<Tf32Product>, cuda::matmul<BFloat16Product>>;
const Launcher conv2d =
    byProduct<cuda::conv2d<Float32Product>, cuda::conv2d<Tf32Product>, cuda::conv2d<BFloat16Product>>;
const Launcher conv2dInputGradient =
    byProduct<cuda::conv2dInputGradient<Float32Product>, cuda::conv2dInputGradient<Tf32Product>,
              cuda::conv2dInputGradient<BFloat16Product>>;
const Launcher conv2dWeightGradient =
    byProduct<cuda::conv2dWeightGradient<Float32Product>, cuda::conv2dWeightGradient<Tf32Product>,
              cuda::conv2dWeightGradient<BFloat16Product>>;

}  // namespace launchers

}  // namespace stepsize::cuda
