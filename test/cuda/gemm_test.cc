// Tests matrix products in float32, and in bfloat16 and TF32 on tensor cores: all tile sizes, every layout, padded
// operands, epilogues, slices of k, windows of images, and the choice of tiles.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/gemm.cuh"

#include "../../native/cuda/convolution.cuh"
#include "../../native/cuda/gemm_tiles.h"
#include "../../native/cuda/padding.cuh"
#include "close_numbers.h"

namespace {

using namespace stepsize;
using namespace stepsize::cuda;

// If k is longer than a slice, the sums of each slice are stored at `slices`.
template <class Tile, class A, class B, class C, class Finish = NoEpilogue>
void multiply(const A& a, const B& b, const C& c, GemmShape shape, float* slices = nullptr, const Finish& finish = {}) {
  const auto count = static_cast<unsigned>(shape.k > 0 ? (shape.k + shape.slice - 1) / shape.slice : 1);
  const auto tiles = static_cast<unsigned>(tilesOf(shape.m, shape.n, Tile::kRows, Tile::kColumns));
  const auto kernel = gemmKernel<A, B, C, Tile, Finish>;
  emulator::sharedAllowances().allow(reinterpret_cast<const void*>(kernel), Tile::kSharedBytes);
  launch(kernel, dim3(tiles, count, 1), Tile::kThreads, Tile::kSharedBytes, nullptr, shape, a, b, c, slices, finish);
}

// Rows of whole chunks with the values of shorter rows, followed by rows of zeros.
template <class T>
std::vector<T> padded(const std::vector<T>& values, int rows, int columns, int paddedRows) {
  const auto length = static_cast<int>(paddedLength<T>(columns));
  Buffer<T> from(values), to(static_cast<size_t>(paddedRows * length));
  launch(padRowsKernel<T>, 2, kPaddingThreads, 0, nullptr, to.data(), from.data(), rows, columns, paddedRows,
         Divider(length / kChunk<T>));
  return {to.data(), to.data() + to.size()};
}
template <class T>
std::vector<T> padded(const std::vector<T>& values, int rows, int columns) {
  return padded(values, rows, columns, rows);
}

using Fma = Float32Product;
using Tf32 = Tf32Product;
using TensorCores = BFloat16Product;

// An element as a product multiplies it.
template <class Product, class T>
double factor(T element) {
  const float value = toFloat(element);
  return static_cast<double>(std::is_same_v<Product, Tf32> ? floatOfBits(roundedToTf32(value)) : value);
}
template <class Product, class T>
double product(T a, T b) {
  return factor<Product>(a) * factor<Product>(b);
}

// Multiplies a, stored as [m,k] or [k,m], by b, stored as [n,k] or [k,n]. Rows are padded to whole chunks.
template <class Tile>
void expectProducts(int m, int n, int k) {
  using Product = typename Tile::Product;
  using T = typename Product::Element;
  const std::vector<T> a = numbersOf<T>(static_cast<size_t>(m * k), 10),
                       b = numbersOf<T>(static_cast<size_t>(k * n), 11);
  Buffer<T> rowsByK(padded(a, m, k)), depthsByM(padded(a, k, m)), columnsByK(padded(b, n, k)),
      depthsByN(padded(b, k, n));
  const GemmShape shape{m, n, k, k};
  const auto expectSums = [&](Buffer<float>& c, bool transposedA, bool transposedB) {
    expectAll(c, "the product", [&](size_t at) {
      const int row = static_cast<int>(at) / n, column = static_cast<int>(at) % n;
      double sum = 0;
      for (int i = 0; i < k; i++)
        sum += product<Product>(a[static_cast<size_t>(transposedA ? i * m + row : row * k + i)],
                                b[static_cast<size_t>(transposedB ? column * k + i : i * n + column)]);
      return sum;
    });
  };
  using Lines = DenseLines<T>;
  using Depths = Transposed<Lines>;
  const auto length = [](int columns) { return paddedLength<T>(columns); };
  const Lines rowsOfA{rowsByK.data(), length(k)}, columnsOfB{columnsByK.data(), length(k)};
  const Depths transposedA{{depthsByM.data(), length(m)}}, rowsOfB{{depthsByN.data(), length(n)}};
  Buffer<float> c(static_cast<size_t>(m * n));
  const DenseResult<float> result{c.data(), n};
  multiply<Tile>(rowsOfA, columnsOfB, result, shape);
  expectSums(c, false, true);
  multiply<Tile>(rowsOfA, rowsOfB, result, shape);
  expectSums(c, false, false);
  multiply<Tile>(transposedA, rowsOfB, result, shape);
  expectSums(c, true, false);
  multiply<Tile>(transposedA, columnsOfB, result, shape);
  expectSums(c, true, true);
}

// There are more stages than the ring has, and the last tiles are incomplete.
STEPSIZE_TEST(multipliesInHugeTiles) {
  expectProducts<TensorCores::HugeTile>(264, 136, 136);
  expectProducts<Tf32::HugeTile>(260, 132, 68);
}
STEPSIZE_TEST(multipliesInLargeTiles) {
  expectProducts<Fma::LargeTile>(132, 148, 84);
  expectProducts<TensorCores::LargeTile>(136, 144, 200);
  expectProducts<Tf32::LargeTile>(132, 148, 84);
}
STEPSIZE_TEST(multipliesInTallTiles) {
  expectProducts<Fma::TallTile>(132, 68, 84);
  expectProducts<TensorCores::TallTile>(264, 72, 136);
  expectProducts<Tf32::TallTile>(260, 68, 68);
}
STEPSIZE_TEST(multipliesInWideTiles) {
  expectProducts<TensorCores::WideTile>(72, 264, 136);
  expectProducts<Tf32::WideTile>(68, 260, 68);
}
STEPSIZE_TEST(multipliesInSmallTiles) {
  expectProducts<Fma::SmallTile>(68, 76, 100);
  expectProducts<TensorCores::SmallTile>(72, 80, 264);
  expectProducts<Tf32::SmallTile>(68, 76, 132);
}
STEPSIZE_TEST(multipliesFewerStagesThanTheRingHas) {
  expectProducts<Fma::SmallTile>(4, 4, 4);
  expectProducts<TensorCores::SmallTile>(8, 8, 8);
  expectProducts<Tf32::SmallTile>(4, 4, 4);
}
// The sums have more stages than one accumulator adds.
STEPSIZE_TEST(multipliesDeepProducts) {
  expectProducts<Fma::SmallTile>(20, 68, 1220);
  expectProducts<Fma::SmallTile>(3, 2, 1100);
}
STEPSIZE_TEST(multipliesPaddedRows) {
  expectProducts<Fma::SmallTile>(67, 5, 35);
  expectProducts<TensorCores::SmallTile>(67, 5, 35);
  expectProducts<Tf32::SmallTile>(67, 5, 35);
  expectProducts<TensorCores::TallTile>(67, 9, 163);
  expectProducts<TensorCores::SmallTile>(1, 1, 1);
}

// Rows of each length from 1 to more than two chunks.
template <class T>
void expectPadding() {
  constexpr int rows = 5, paddedRows = 7;
  for (int columns = 1; columns <= 2 * kChunk<T> + 1; columns++) {
    const auto length = static_cast<int>(paddedLength<T>(columns));
    const std::vector<T> values = numbersOf<T>(static_cast<size_t>(rows * columns), 22);
    Buffer<T> from(values), to(static_cast<size_t>(paddedRows * length));
    launch(padRowsKernel<T>, 2, kPaddingThreads, 0, nullptr, to.data(), from.data(), rows, columns, paddedRows,
           Divider(length / kChunk<T>));
    for (int at = 0; at < paddedRows * length; at++) {
      const int row = at / length, column = at % length;
      const bool isInside = row < rows && column < columns;
      const float expected = isInside ? toFloat(values[static_cast<size_t>(row * columns + column)]) : 0.0f;
      STEPSIZE_EXPECT(toFloat(to[static_cast<size_t>(at)]) == expected);
    }
    // An offset makes the target misaligned.
    for (const size_t offset : {size_t{0}, size_t{1}}) {
      Buffer<T> back(values.size(), offset);
      launch(unpadRowsKernel<T>, 2, kPaddingThreads, 0, nullptr, back.data(), to.data(), int64_t{rows} * columns,
             Divider(columns), length);
      for (size_t at = 0; at < values.size(); at++) STEPSIZE_EXPECT(toFloat(back[at]) == toFloat(values[at]));
    }
  }
}
STEPSIZE_TEST(padsRowsToWholeChunks) {
  expectPadding<float>();
  expectPadding<BFloat16>();
}

// All tiles of a kind add the terms of a sum in the same order.
template <class T, class... Tile>
void expectSameBits() {
  constexpr int m = 72, n = 80, k = 552;
  constexpr size_t count = size_t{m} * n;
  Buffer<T> left(numbersOf<T>(size_t{m} * k, 20)), right(numbersOf<T>(size_t{n} * k, 21));
  std::vector<std::vector<float>> results;
  const auto add = [&](const auto& run) {
    Buffer<float> c(count);
    run(DenseResult<float>{c.data(), n});
    results.emplace_back(c.data(), c.data() + count);
  };
  const DenseLines<T> a{left.data(), k}, b{right.data(), k};
  (add([&](const DenseResult<float>& c) { multiply<Tile>(a, b, c, {m, n, k, k}); }), ...);
  for (const std::vector<float>& result : results)
    STEPSIZE_EXPECT(memcmp(result.data(), results[0].data(), count * sizeof(float)) == 0);
}
STEPSIZE_TEST(givesTheSameBitsInAllTiles) {
  expectSameBits<float, Fma::SmallTile, Fma::LargeTile, Fma::TallTile>();
  expectSameBits<BFloat16, TensorCores::SmallTile, TensorCores::HugeTile, TensorCores::LargeTile, TensorCores::TallTile,
                 TensorCores::WideTile>();
  expectSameBits<float, Tf32::SmallTile, Tf32::HugeTile, Tf32::LargeTile, Tf32::TallTile, Tf32::WideTile>();
}

double activatedInDouble(Activation kind, double x) {
  switch (kind) {
    case Activation::relu: return std::max(x, 0.0);
    case Activation::gelu: return x * 0.5 * std::erfc(-x * std::sqrt(0.5));
    case Activation::silu: return x / (1 + std::exp(-x));
    default: return x;
  }
}

// A product with its epilogue, with and without each part.
template <class Tile>
void expectEpilogues(int m, int n) {
  using Product = typename Tile::Product;
  using T = typename Product::Element;
  constexpr int k = 16;
  const auto count = static_cast<size_t>(m * n), columns = static_cast<size_t>(n);
  const std::vector<T> a = numbersOf<T>(static_cast<size_t>(m * k), 12), b = numbersOf<T>(columns * k, 13);
  const std::vector<T> bias = numbersOf<T>(columns, 17), residual = numbersOf<T>(count, 18);
  Buffer<T> left(a), right(b), summands(bias), others(residual);
  Buffer<float> c(count);
  for (int kind = 0; kind < kActivations; kind++)
    for (int parts = 0; parts < 4; parts++) {
      const bool biased = parts % 2 != 0, hasResidual = parts / 2 != 0;
      const auto activation = static_cast<Activation>(kind);
      multiply<Tile>(
          DenseLines<T>{left.data(), k}, DenseLines<T>{right.data(), k}, DenseResult<float>{c.data(), n}, {m, n, k, k},
          nullptr,
          Epilogue<T>{biased ? summands.data() : nullptr, hasResidual ? others.data() : nullptr, {activation}});
      expectAll(c, "the product with its epilogue", [&](size_t at) {
        double sum = biased ? static_cast<double>(toFloat(bias[at % columns])) : 0;
        for (size_t i = 0; i < k; i++) sum += product<Product>(a[at / columns * k + i], b[at % columns * k + i]);
        return activatedInDouble(activation, sum) + (hasResidual ? static_cast<double>(toFloat(residual[at])) : 0);
      });
    }
}
STEPSIZE_TEST(appliesEpilogues) {
  expectEpilogues<Fma::SmallTile>(9, 12);
  expectEpilogues<Tf32::SmallTile>(66, 12);
  expectEpilogues<TensorCores::SmallTile>(66, 12);
  // The rows end within a group of four. The rows of a huge tile are stored in two halves.
  expectEpilogues<TensorCores::HugeTile>(131, 7);
}

// Adds the slices' sums and applies the epilogue: a bias, an activation and a residual.
template <class Product>
void expectSlices(int m, int n) {
  using T = typename Product::Element;
  constexpr int k = 160, slice = 64;
  const auto count = static_cast<size_t>(m * n), columns = static_cast<size_t>(n);
  const std::vector<T> a = numbersOf<T>(static_cast<size_t>(m * k), 12), b = numbersOf<T>(columns * k, 13);
  const std::vector<float> bias = numbers(columns, 17), residual = numbers(count, 18);
  Buffer<T> left(a), right(b);
  Buffer<float> summands(bias), others(residual), slices(3 * count), c(count);
  const DenseResult<float> result{c.data(), n};
  multiply<typename Product::SmallTile>(DenseLines<T>{left.data(), k}, DenseLines<T>{right.data(), k}, result,
                                        {m, n, k, slice}, slices.data());
  using Finish = Epilogue<float>;
  launch(addSlicesKernel<DenseResult<float>, Finish>, 2, kElementThreads, 0, nullptr, slices.data(), result, m, n,
         Divider((n + 3) / 4), 3, Finish{summands.data(), others.data(), {Activation::relu}});
  expectAll(c, "the product with its epilogue", [&](size_t at) {
    auto sum = static_cast<double>(bias[at % columns]);
    for (size_t i = 0; i < k; i++) sum += product<Product>(a[at / columns * k + i], b[at % columns * k + i]);
    return std::max(sum, 0.0) + static_cast<double>(residual[at]);
  });
}
STEPSIZE_TEST(multipliesInSlices) {
  expectSlices<Fma>(24, 16);
  expectSlices<Tf32>(24, 16);
  expectSlices<TensorCores>(24, 16);
  // The rows end within a group of four.
  expectSlices<Fma>(23, 7);
}

// Images of 9 × 7, with windows that reach beyond them.
struct Sizes {
  int channels, outputs, kernelHeight, kernelWidth, stride, padding;
  static constexpr int kImages = 2, kHeight = 9, kWidth = 7;
  int outHeight() const { return (kHeight + 2 * padding - kernelHeight) / stride + 1; }
  int outWidth() const { return (kWidth + 2 * padding - kernelWidth) / stride + 1; }
  int window() const { return kernelHeight * kernelWidth * channels; }
  int pixels() const { return kImages * outHeight() * outWidth(); }
  // The index of the image element in the window of an output pixel, or −1 outside.
  int at(int pixel, int tap) const {
    const int place = tap / channels;
    const int y = pixel / outWidth() % outHeight() * stride - padding + place / kernelWidth;
    const int x = pixel % outWidth() * stride - padding + place % kernelWidth;
    if (y < 0 || y >= kHeight || x < 0 || x >= kWidth) return -1;
    return ((pixel / outWidth() / outHeight() * kHeight + y) * kWidth + x) * channels + tap % channels;
  }
};

// A convolution and its gradients. The result and the gradient of the weights read windows of images, the gradient of
// the images one set of windows and weights for each phase.
template <class Tile>
void expectConvolution(const Sizes& s) {
  using Product = typename Tile::Product;
  using T = typename Product::Element;
  const int window = s.window(), pixels = s.pixels();
  const auto imageElements = static_cast<size_t>(Sizes::kImages * Sizes::kHeight * Sizes::kWidth * s.channels);
  const auto outElements = static_cast<size_t>(pixels * s.outputs);
  const auto weightElements = static_cast<size_t>(s.outputs * window);
  const std::vector<T> x = numbersOf<T>(imageElements, 14), w = numbersOf<T>(weightElements, 15),
                       g = numbersOf<T>(outElements, 16);
  Buffer<T> ofImages(x), weights(w), gradients(g);
  Buffer<float> out(outElements), ofWeights(weightElements), toImages(imageElements);
  const ImageWindows<T> windows{
      ofImages.data(), WindowShape(Sizes::kHeight, Sizes::kWidth, s.channels, s.outHeight(), s.outWidth(), s.stride,
                                   -s.padding, -s.padding, s.kernelWidth)};
  multiply<Tile>(windows, DenseLines<T>{weights.data(), window}, DenseResult<float>{out.data(), s.outputs},
                 {pixels, s.outputs, window, window});
  multiply<Tile>(Transposed<DenseLines<T>>{{gradients.data(), s.outputs}}, Transposed<ImageWindows<T>>{windows},
                 DenseResult<float>{ofWeights.data(), window}, {s.outputs, window, pixels, pixels});
  for (int phaseY = 0; phaseY < std::min(s.stride, Sizes::kHeight); phaseY++)
    for (int phaseX = 0; phaseX < std::min(s.stride, Sizes::kWidth); phaseX++) {
      const Phase ofY(phaseY, Sizes::kHeight, s.kernelHeight, s.stride, s.padding);
      const Phase ofX(phaseX, Sizes::kWidth, s.kernelWidth, s.stride, s.padding);
      const int k = ofY.taps * ofX.taps * s.outputs;
      multiply<Tile>(
          ImageWindows<T>{gradients.data(), WindowShape(s.outHeight(), s.outWidth(), s.outputs, ofY.length, ofX.length,
                                                        1, ofY.origin, ofX.origin, std::max(1, ofX.taps))},
          PhaseWeights<T>{weights.data(), s.kernelHeight, s.kernelWidth,
                          static_cast<unsigned>(s.channels) * static_cast<unsigned>(sizeof(T)), s.stride, ofY.lastTap,
                          ofX.lastTap, Divider(s.outputs), Divider(ofX.taps)},
          PhasePixels<float>{toImages.data(), Sizes::kHeight, Sizes::kWidth, s.channels, s.stride, phaseY, phaseX,
                             Divider(ofY.length), Divider(ofX.length)},
          {Sizes::kImages * ofY.length * ofX.length, s.channels, k, k});
    }

  std::vector<double> sums(outElements), weightSums(weightElements), imageSums(imageElements);
  for (int pixel = 0; pixel < pixels; pixel++)
    for (int tap = 0; tap < window; tap++) {
      const int at = s.at(pixel, tap);
      if (at < 0) continue;
      for (int output = 0; output < s.outputs; output++) {
        const auto toOut = static_cast<size_t>(pixel * s.outputs + output);
        const auto toWeight = static_cast<size_t>(output * window + tap);
        sums[toOut] += product<Product>(x[static_cast<size_t>(at)], w[toWeight]);
        weightSums[toWeight] += product<Product>(x[static_cast<size_t>(at)], g[toOut]);
        imageSums[static_cast<size_t>(at)] += product<Product>(w[toWeight], g[toOut]);
      }
    }
  expectAll(out, "the convolution", [&](size_t at) { return sums[at]; });
  expectAll(ofWeights, "the gradient of the weights", [&](size_t at) { return weightSums[at]; });
  expectAll(toImages, "the gradient of the images", [&](size_t at) { return imageSums[at]; });
}

STEPSIZE_TEST(convolvesInChunks) {
  expectConvolution<Fma::SmallTile>({4, 8, 3, 3, 1, 1});
  expectConvolution<Fma::SmallTile>({4, 16, 3, 3, 2, 1});
  expectConvolution<TensorCores::SmallTile>({8, 16, 3, 3, 2, 1});
  expectConvolution<TensorCores::SmallTile>({8, 8, 4, 3, 3, 2});
  expectConvolution<Tf32::SmallTile>({4, 8, 3, 3, 1, 1});
  expectConvolution<Tf32::SmallTile>({4, 12, 4, 3, 3, 2});
  // Some phases have no taps.
  expectConvolution<TensorCores::SmallTile>({8, 8, 1, 1, 2, 0});
  expectConvolution<TensorCores::SmallTile>({8, 8, 2, 1, 3, 0});
  // More phases than rows.
  expectConvolution<TensorCores::SmallTile>({8, 8, 5, 5, 8, 4});
}
STEPSIZE_TEST(convolvesInOtherTiles) {
  expectConvolution<TensorCores::TallTile>({8, 8, 3, 3, 1, 1});
  expectConvolution<TensorCores::WideTile>({40, 8, 3, 3, 1, 1});
  expectConvolution<TensorCores::HugeTile>({8, 16, 3, 3, 1, 1});
  expectConvolution<Tf32::WideTile>({20, 4, 3, 3, 1, 1});
}
STEPSIZE_TEST(dividesByNumbersThatAreKnownBefore) {
  const int largest = 2147483647;
  std::vector<int> divisors, dividends{0, 1, largest - 1, largest};
  for (int i = 1; i < 200; i++) divisors.push_back(i);
  for (int bit = 8; bit < 31; bit++)
    for (int more = -1; more <= 1; more++) divisors.push_back((1 << bit) + more);
  divisors.push_back(largest - 1);
  divisors.push_back(largest);
  unsigned state = 1;
  for (int i = 0; i < 200; i++) {
    state = state * 1664525u + 1013904223u;
    divisors.push_back(static_cast<int>(state >> 1 | 1));
    dividends.push_back(static_cast<int>(state >> (1 + i % 31)));
  }
  for (const int divisor : divisors) {
    const Divider by(divisor);
    // The multiples and their neighbours are the numbers at which a factor that is slightly wrong shows.
    std::vector<int> all = dividends;
    for (const int64_t quotient : {int64_t{1}, int64_t{2}, int64_t{largest} / divisor / 2, int64_t{largest} / divisor})
      for (int64_t more = -1; more <= 1; more++) {
        const int64_t number = quotient * divisor + more;
        if (number >= 0 && number <= largest) all.push_back(static_cast<int>(number));
      }
    for (const int number : all)
      if (by.quotient(number) != number / divisor)
        emulator::expect(false, std::to_string(number) + " / " + std::to_string(divisor), __FILE__, __LINE__);
  }
}

// The choice among tiles with the rates of tensor cores.
STEPSIZE_TEST(choosesTilesByWidthAndNumber) {
  enum { huge, large, tall, small };
  const TileSize tiles[] = {{256, 128, 1}, {128, 128, 0.95}, {256, 64, 0.95}, {64, 64, 0.53}};
  const auto choice = [&](int64_t m, int64_t n, int64_t slices = 1) { return fastestTile(m, n, slices, tiles); };
  STEPSIZE_EXPECT(choice(4096, 4096) == huge);
  // A layer with 64 channels would leave half of a wider tile empty.
  STEPSIZE_EXPECT(choice(524288, 64) == tall);
  STEPSIZE_EXPECT(choice(524288, 65) == huge);
  // Too few tiles for the device.
  STEPSIZE_EXPECT(choice(512, 512) == small);
  STEPSIZE_EXPECT(choice(1, 1000) == small);
  STEPSIZE_EXPECT(choice(1408, 1536) == large);
  // Slices count like tiles.
  STEPSIZE_EXPECT(choice(128, 1152, 32) == large);
}

STEPSIZE_TEST(cutsLongSumsOfSmallResults) {
  const auto expectSlicesOf = [](int64_t m, int64_t n, int64_t k, int64_t count, int64_t length) {
    const Slices slices(m, n, k);
    STEPSIZE_EXPECT(slices.count == count && slices.length == length);
  };
  expectSlicesOf(64, 576, 524288, 128, 4096);
  expectSlicesOf(64, 64, 4096, 1, 4096);
  expectSlicesOf(64, 64, 4097, 2, 4096);
  expectSlicesOf(64, 64, 0, 1, 0);
  // 256 tiles fill the device.
  expectSlicesOf(2048, 2048, 100000, 1, 100000);
  // There are at most 65,535 slices.
  expectSlicesOf(8, 8, int64_t{4096} * 65535 + 1, 32768, 8192);
}

}  // namespace
