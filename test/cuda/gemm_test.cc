// Tests matrix products in float32 and in bfloat16 on tensor cores: both tile sizes, every layout, copies of 16 bytes
// and of single elements, slices of k, and windows of images.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/gemm.cuh"

#include "../../native/cuda/convolution.cuh"
#include "close_numbers.h"

namespace {

using namespace stepsize;
using namespace stepsize::cuda;

constexpr int kInChunks = 3;

template <class Tile, class A, class B, class C>
void multiply(const A& a, const B& b, C* c, GemmShape shape, unsigned chunks) {
  const auto tiles = [](int size) { return static_cast<unsigned>((size + Tile::kLines - 1) / Tile::kLines); };
  const auto slices = static_cast<unsigned>((shape.k + shape.slice - 1) / shape.slice);
  const auto kernel = gemmKernel<A, B, C, Tile>;
  emulator::sharedAllowances().allow(reinterpret_cast<const void*>(kernel), Tile::kSharedBytes);
  launch(kernel, dim3(tiles(shape.m) * tiles(shape.n), slices, 1), Tile::kThreads, Tile::kSharedBytes, nullptr, shape,
         a, b, c, chunks, Epilogue<typename A::Element>{});
}

// Multiplies a, stored as [m,k] or [k,m], by b, stored as [n,k] or [k,n].
template <class T, class Tile>
void expectProducts(int m, int n, int k, unsigned chunks) {
  const std::vector<T> a = numbersOf<T>(static_cast<size_t>(m * k), 10),
                       b = numbersOf<T>(static_cast<size_t>(k * n), 11);
  Buffer<T> left(a), right(b);
  const GemmShape shape{m, n, k, k};
  const auto expectSums = [&](Buffer<float>& c, bool transposedA, bool transposedB) {
    expectAll(c, "the product", [&](size_t at) {
      const int row = static_cast<int>(at) / n, column = static_cast<int>(at) % n;
      double sum = 0;
      for (int i = 0; i < k; i++)
        sum += product(a[static_cast<size_t>(transposedA ? i * m + row : row * k + i)],
                       b[static_cast<size_t>(transposedB ? column * k + i : i * n + column)]);
      return sum;
    });
  };
  using Lines = DenseLines<T>;
  using Depths = Transposed<Lines>;
  const Lines rowsOfA{left.data(), k}, columnsOfB{right.data(), k};
  const Depths transposedA{{left.data(), m}}, rowsOfB{{right.data(), n}};
  Buffer<float> c(static_cast<size_t>(m * n));
  multiply<Tile>(rowsOfA, columnsOfB, c.data(), shape, chunks);
  expectSums(c, false, true);
  multiply<Tile>(rowsOfA, rowsOfB, c.data(), shape, chunks);
  expectSums(c, false, false);
  multiply<Tile>(transposedA, rowsOfB, c.data(), shape, chunks);
  expectSums(c, true, false);
  multiply<Tile>(transposedA, columnsOfB, c.data(), shape, chunks);
  expectSums(c, true, true);
}

// There are more stages than the ring has, and the last tiles are incomplete.
STEPSIZE_TEST(multipliesInLargeTiles) {
  expectProducts<float, Product<float>::LargeTile>(132, 148, 84, kInChunks);
  expectProducts<BFloat16, Product<BFloat16>::LargeTile>(136, 144, 200, kInChunks);
}
STEPSIZE_TEST(multipliesInSmallTiles) {
  expectProducts<float, Product<float>::SmallTile>(68, 76, 100, kInChunks);
  expectProducts<BFloat16, Product<BFloat16>::SmallTile>(72, 80, 264, kInChunks);
}
STEPSIZE_TEST(multipliesFewerStagesThanTheRingHas) {
  expectProducts<float, Product<float>::SmallTile>(4, 4, 4, kInChunks);
  expectProducts<BFloat16, Product<BFloat16>::SmallTile>(8, 8, 8, kInChunks);
}
// The sums have more stages than one accumulator adds.
STEPSIZE_TEST(multipliesDeepProducts) {
  expectProducts<float, Product<float>::SmallTile>(20, 68, 1220, kInChunks);
  expectProducts<float, Product<float>::SmallTile>(3, 2, 1100, 0);
}
STEPSIZE_TEST(multipliesElementByElement) {
  expectProducts<float, Product<float>::SmallTile>(67, 5, 35, 0);
  expectProducts<BFloat16, Product<BFloat16>::SmallTile>(67, 5, 35, 0);
}

// Adds the slices' sums and applies the epilogue: a bias, an activation and a residual.
template <class T>
void expectSlices(int m, int n, unsigned chunks) {
  constexpr int k = 160, slice = 64;
  const auto count = static_cast<size_t>(m * n), columns = static_cast<size_t>(n);
  const std::vector<T> a = numbersOf<T>(static_cast<size_t>(m * k), 12), b = numbersOf<T>(columns * k, 13);
  const std::vector<float> bias = numbers(columns, 17), residual = numbers(count, 18);
  Buffer<T> left(a), right(b);
  Buffer<float> summands(bias), others(residual), slices(3 * count), c(count);
  multiply<typename Product<T>::SmallTile>(DenseLines<T>{left.data(), k}, DenseLines<T>{right.data(), k}, slices.data(),
                                           {m, n, k, slice}, chunks);
  launch(addSlicesKernel<float>, 2, kFoursThreads, 0, nullptr, slices.data(), c.data(), static_cast<int64_t>(count), n,
         3, Epilogue<float>{summands.data(), others.data(), {Activation::relu}});
  expectAll(c, "the product with its epilogue", [&](size_t at) {
    auto sum = static_cast<double>(bias[at % columns]);
    for (size_t i = 0; i < k; i++) sum += product(a[at / columns * k + i], b[at % columns * k + i]);
    return std::max(sum, 0.0) + static_cast<double>(residual[at]);
  });
}
STEPSIZE_TEST(multipliesInSlices) {
  expectSlices<float>(24, 16, kInChunks);
  expectSlices<BFloat16>(24, 16, kInChunks);
  // The rows end within a group of four.
  expectSlices<float>(23, 7, kInChunks);
}

// Three images of 9 × 7 and a kernel of 3 × 3 with stride 2. The outputs and the gradient of the weights use the two
// loaders of windows.
template <class T, int Channels>
void expectConvolution(unsigned chunks) {
  constexpr int images = 3, height = 9, width = 7, outHeight = 5, outWidth = 4, outputs = 16, window = 9 * Channels;
  constexpr int pixels = images * outHeight * outWidth;
  const ConvolutionShape s{height, width, Channels, outHeight, outWidth, outputs, 3, 3, 2, 1};
  const std::vector<T> x = numbersOf<T>(images * height * width * Channels, 14), w = numbersOf<T>(outputs * window, 15),
                       g = numbersOf<T>(pixels * outputs, 16);
  Buffer<T> ofImages(x), weights(w), gradients(g), out(pixels * outputs);
  Buffer<float> ofWeights(outputs * window);
  const auto seen = [&](int pixel, int tap) {
    const int y = pixel / outWidth % outHeight * 2 - 1 + tap / Channels / 3;
    const int column = pixel % outWidth * 2 - 1 + tap / Channels % 3, image = pixel / outWidth / outHeight;
    if (y < 0 || y >= height || column < 0 || column >= width) return T{0};
    const int at = ((image * height + y) * width + column) * Channels + tap % Channels;
    return x[static_cast<size_t>(at)];
  };
  multiply<typename Product<T>::SmallTile>(ImageWindows<T>{ofImages.data(), s}, DenseLines<T>{weights.data(), window},
                                           out.data(), {pixels, outputs, window, window}, chunks);
  for (int at = 0; at < pixels * outputs; at++) {
    double sum = 0;
    for (int tap = 0; tap < window; tap++)
      sum += product(seen(at / outputs, tap), w[static_cast<size_t>(at % outputs * window + tap)]);
    // In bfloat16 the result is rounded once, by up to half a step of 8 bits.
    const auto got = static_cast<double>(toFloat(out[static_cast<size_t>(at)]));
    STEPSIZE_EXPECT(std::abs(got - sum) <= (sizeof(T) == 2 ? std::abs(sum) / 256 : 0) + 1e-5);
  }
  multiply<typename Product<T>::SmallTile>(Transposed<DenseLines<T>>{{gradients.data(), outputs}},
                                           Transposed<ImageWindows<T>>{{ofImages.data(), s}}, ofWeights.data(),
                                           {outputs, window, pixels, pixels}, chunks);
  expectAll(ofWeights, "the gradient of the weights", [&](size_t at) {
    double sum = 0;
    for (int pixel = 0; pixel < pixels; pixel++)
      sum += product(seen(pixel, static_cast<int>(at) % window),
                     g[static_cast<size_t>(pixel * outputs + static_cast<int>(at) / window)]);
    return sum;
  });
}

STEPSIZE_TEST(convolvesInChunks) {
  expectConvolution<float, 4>(kInChunks);
  expectConvolution<BFloat16, 8>(kInChunks);
}
STEPSIZE_TEST(convolvesElementByElement) {
  expectConvolution<float, 3>(0);
  expectConvolution<BFloat16, 3>(0);
}

}  // namespace
