// Tensor cores and asynchronous copies as the emulator understands the PTX ISA, and the matrix product made of them:
// both tiles, every layout, copies of 16 bytes and of elements, slices of k.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/convolution.cuh"
#include "../../native/cuda/tensor_gemm.cuh"
#include "close_numbers.h"

namespace {

using namespace stepsize;
using namespace stepsize::cuda;

std::vector<BFloat16> rounded(const std::vector<float>& values) {
  std::vector<BFloat16> result(values.size());
  for (size_t i = 0; i < values.size(); i++) result[i] = toBFloat16(values[i]);
  return result;
}

// Element `column` of row `row` of matrix `matrix` is 100·matrix + 10·row + column.
__global__ void loadNumbered(uint4* plain, uint4* transposed) {
  STEPSIZE_SHARED(uint16_t, rows, [32][8]);
  const unsigned lane = threadIdx.x;
  for (unsigned column = 0; column < 8; column++)
    rows[lane][column] = static_cast<uint16_t>(100 * (lane / 8) + 10 * (lane % 8) + column);
  __syncthreads();
  uint32_t r[4];
  loadMatrices<false>(r, rows[lane]);
  plain[lane] = make_uint4(r[0], r[1], r[2], r[3]);
  loadMatrices<true>(r, rows[lane]);
  transposed[lane] = make_uint4(r[0], r[1], r[2], r[3]);
}

STEPSIZE_TEST(loadsMatricesByLanes) {
  Buffer<uint4> plain(32), transposed(32);
  launch(loadNumbered, 1, 32, 0, nullptr, plain.data(), transposed.data());
  for (unsigned lane = 0; lane < 32; lane++) {
    const unsigned row = lane / 4, column = lane % 4 * 2;
    const unsigned words[4] = {plain[lane].x, plain[lane].y, plain[lane].z, plain[lane].w};
    const unsigned turned[4] = {transposed[lane].x, transposed[lane].y, transposed[lane].z, transposed[lane].w};
    for (unsigned matrix = 0; matrix < 4; matrix++) {
      const unsigned first = 100 * matrix + 10 * row + column;
      STEPSIZE_EXPECT(words[matrix] == (first | (first + 1) << 16));
      const unsigned other = 100 * matrix + 10 * column + row;
      STEPSIZE_EXPECT(turned[matrix] == (other | (other + 10) << 16));
    }
  }
}

// A [16][16], B [16][8] and C [16][8], row-major, by the layout that tensor_core.cuh states.
__global__ void multiplyFragments(const BFloat16* a, const BFloat16* b, float* c) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4 * 2;
  const auto ofA = [&](unsigned row, unsigned column) {
    return static_cast<uint32_t>(a[row * 16 + column].bits) | static_cast<uint32_t>(a[row * 16 + column + 1].bits)
                                                                  << 16;
  };
  const auto ofB = [&](unsigned row) {
    return static_cast<uint32_t>(b[row * 8 + g].bits) | static_cast<uint32_t>(b[(row + 1) * 8 + g].bits) << 16;
  };
  const uint32_t left[4] = {ofA(g, t), ofA(g + 8, t), ofA(g, t + 8), ofA(g + 8, t + 8)};
  const uint32_t right[2] = {ofB(t), ofB(t + 8)};
  float sums[4] = {c[g * 8 + t], c[g * 8 + t + 1], c[(g + 8) * 8 + t], c[(g + 8) * 8 + t + 1]};
  multiplyAdd(sums, left, right);
  c[g * 8 + t] = sums[0];
  c[g * 8 + t + 1] = sums[1];
  c[(g + 8) * 8 + t] = sums[2];
  c[(g + 8) * 8 + t + 1] = sums[3];
}

STEPSIZE_TEST(multipliesFragments) {
  const std::vector<BFloat16> a = rounded(numbers(16 * 16, 1)), b = rounded(numbers(16 * 8, 2));
  const std::vector<float> before = numbers(16 * 8, 3);
  Buffer<BFloat16> left(a), right(b);
  Buffer<float> c(before);
  launch(multiplyFragments, 1, 32, 0, nullptr, left.data(), right.data(), c.data());
  expectAll(c, "the product", [&](size_t at) {
    double sum = static_cast<double>(before[at]);
    for (size_t k = 0; k < 16; k++)
      sum += static_cast<double>(toFloat(a[at / 8 * 16 + k])) * static_cast<double>(toFloat(b[k * 8 + at % 8]));
    return sum;
  });
}

// Two groups: three pieces, of which one is zeros, then one piece. What is seen before either wait, and after each.
__global__ void copyInGroups(const uint4* from, uint4* seen) {
  STEPSIZE_SHARED(uint4, to, [4]);
  copyAsync16(&to[0], &from[0], false);
  copyAsync16(&to[1], &from[1], true);
  copyAsync16(&to[2], &from[2], false);
  commitCopies();
  copyAsync16(&to[3], &from[3], false);
  commitCopies();
  for (int i = 0; i < 4; i++) seen[i] = to[i];
  waitForCopies<1>();
  for (int i = 0; i < 4; i++) seen[4 + i] = to[i];
  waitForCopies<0>();
  for (int i = 0; i < 4; i++) seen[8 + i] = to[i];
}

STEPSIZE_TEST(copiesArriveWhenTheyAreWaitedFor) {
  std::vector<uint4> values;
  for (unsigned i = 0; i < 4; i++) values.push_back(make_uint4(i + 1, i + 2, i + 3, i + 4));
  Buffer<uint4> from(values), seen(12);
  launch(copyInGroups, 1, 1, 0, nullptr, from.data(), seen.data());
  const unsigned nothing = 0xffffffffu;
  for (size_t i = 0; i < 4; i++) STEPSIZE_EXPECT(seen[i].x == nothing && seen[i].w == nothing);
  const unsigned first[] = {1, 0, 3, nothing}, last[] = {4, 0, 6, nothing};
  for (size_t i = 0; i < 4; i++) STEPSIZE_EXPECT(seen[4 + i].x == first[i] && seen[4 + i].w == last[i]);
  for (size_t i = 0; i < 3; i++) STEPSIZE_EXPECT(seen[8 + i].x == first[i]);
  STEPSIZE_EXPECT(seen[11].x == 4 && seen[11].w == 7);
}

__global__ void copyFromOdd(const BFloat16* from) {
  STEPSIZE_SHARED(uint4, to, [1]);
  copyAsync16(to, from + 1, false);
}

__global__ void loadFromOdd(uint32_t* out) {
  STEPSIZE_SHARED(uint16_t, rows, [33 * 8]);
  uint32_t r[4];
  loadMatrices<false>(r, rows + threadIdx.x * 8 + 1);
  out[threadIdx.x] = r[0];
}

STEPSIZE_TEST(refusesAddressesThatAreNotAligned) {
  Buffer<BFloat16> from(16);
  Buffer<uint32_t> out(32);
  emulator::expectError("cp.async at", [&] { launch(copyFromOdd, 1, 1, 0, nullptr, from.data()); });
  emulator::expectError("ldmatrix at", [&] { launch(loadFromOdd, 1, 32, 0, nullptr, out.data()); });
}

constexpr int kInChunks = 3;

template <class A, class B, class C, class Tile>
void multiply(const A& a, const B& b, C* c, GemmShape shape, unsigned chunks) {
  const auto tiles = [](int size) { return static_cast<unsigned>((size + Tile::kLines - 1) / Tile::kLines); };
  const auto slices = static_cast<unsigned>((shape.k + shape.slice - 1) / shape.slice);
  const auto kernel = tensorGemmKernel<A, B, C, Tile>;
  emulator::sharedAllowances().allow(reinterpret_cast<const void*>(kernel), Tile::kSharedBytes);
  launch(kernel, dim3(tiles(shape.m) * tiles(shape.n), slices, 1), Tile::kThreads, Tile::kSharedBytes, nullptr, shape,
         a, b, c, chunks, Epilogue<BFloat16>{});
}

// Of a stored [m,k] or [k,m] and b stored [n,k] or [k,n].
template <class Tile>
void expectProducts(int m, int n, int k, unsigned chunks) {
  const std::vector<BFloat16> a = rounded(numbers(static_cast<size_t>(m * k), 10));
  const std::vector<BFloat16> b = rounded(numbers(static_cast<size_t>(k * n), 11));
  Buffer<BFloat16> left(a), right(b);
  const GemmShape shape{m, n, k, k};
  const auto expectSums = [&](Buffer<float>& c, bool turnedA, bool turnedB) {
    expectAll(c, "the product", [&](size_t at) {
      const int row = static_cast<int>(at) / n, column = static_cast<int>(at) % n;
      double sum = 0;
      for (int i = 0; i < k; i++)
        sum += static_cast<double>(toFloat(a[static_cast<size_t>(turnedA ? i * m + row : row * k + i)])) *
               static_cast<double>(toFloat(b[static_cast<size_t>(turnedB ? column * k + i : i * n + column)]));
      return sum;
    });
  };
  using Lines = DenseLines<BFloat16>;
  using Depths = Transposed<Lines>;
  const Lines rowsOfA{left.data(), k}, columnsOfB{right.data(), k};
  const Depths turnedA{{left.data(), m}}, rowsOfB{{right.data(), n}};
  Buffer<float> c(static_cast<size_t>(m * n));
  multiply<Lines, Lines, float, Tile>(rowsOfA, columnsOfB, c.data(), shape, chunks);
  expectSums(c, false, true);
  multiply<Lines, Depths, float, Tile>(rowsOfA, rowsOfB, c.data(), shape, chunks);
  expectSums(c, false, false);
  multiply<Depths, Depths, float, Tile>(turnedA, rowsOfB, c.data(), shape, chunks);
  expectSums(c, true, false);
  multiply<Depths, Lines, float, Tile>(turnedA, columnsOfB, c.data(), shape, chunks);
  expectSums(c, true, true);
}

// More stages than the ring has, and ends that fill no tile.
STEPSIZE_TEST(multipliesInLargeTiles) { expectProducts<LargeTile>(136, 144, 200, kInChunks); }
STEPSIZE_TEST(multipliesInSmallTiles) { expectProducts<SmallTile>(72, 80, 264, kInChunks); }
STEPSIZE_TEST(multipliesFewerStagesThanTheRingHas) { expectProducts<SmallTile>(8, 8, 8, kInChunks); }
STEPSIZE_TEST(multipliesElementByElement) { expectProducts<SmallTile>(67, 5, 35, 0); }

STEPSIZE_TEST(multipliesInSlicesOnTensorCores) {
  constexpr int m = 24, n = 16, k = 160, slice = 64;
  const std::vector<BFloat16> a = rounded(numbers(m * k, 12)), b = rounded(numbers(n * k, 13));
  const std::vector<float> bias = numbers(n, 17), residual = numbers(m * n, 18);
  Buffer<BFloat16> left(a), right(b);
  Buffer<float> summands(bias), others(residual);
  Buffer<float> slices(3 * m * n), c(m * n);
  multiply<DenseLines<BFloat16>, DenseLines<BFloat16>, float, SmallTile>({left.data(), k}, {right.data(), k},
                                                                         slices.data(), {m, n, k, slice}, kInChunks);
  launch(addSlicesKernel<float>, 2, kGemmThreads, 0, nullptr, slices.data(), c.data(), int64_t{m} * n, 3,
         Epilogue<float>{summands.data(), others.data(), n, {Activation::relu}});
  expectAll(c, "the product with what follows it", [&](size_t at) {
    auto sum = static_cast<double>(bias[at % n]);
    for (size_t i = 0; i < k; i++)
      sum += static_cast<double>(toFloat(a[at / n * k + i])) * static_cast<double>(toFloat(b[at % n * k + i]));
    return std::max(sum, 0.0) + static_cast<double>(residual[at]);
  });
}

// Three images of 9 × 7, a window of 3 × 3 that moves by 2: weights' gradients and outputs, both loaders of windows.
template <int Channels>
void expectConvolution(unsigned chunks) {
  constexpr int images = 3, height = 9, width = 7, outHeight = 5, outWidth = 4, outputs = 16, window = 9 * Channels;
  constexpr int pixels = images * outHeight * outWidth;
  const ConvolutionShape s{height, width, Channels, outHeight, outWidth, outputs, 3, 3, 2, 1};
  const std::vector<BFloat16> x = rounded(numbers(images * height * width * Channels, 14));
  const std::vector<BFloat16> w = rounded(numbers(outputs * window, 15)), g = rounded(numbers(pixels * outputs, 16));
  Buffer<BFloat16> ofImages(x), weights(w), gradients(g), out(pixels * outputs);
  Buffer<float> ofWeights(outputs * window);
  const auto seen = [&](int pixel, int tap) {
    const int y = pixel / outWidth % outHeight * 2 - 1 + tap / Channels / 3;
    const int column = pixel % outWidth * 2 - 1 + tap / Channels % 3, image = pixel / outWidth / outHeight;
    if (y < 0 || y >= height || column < 0 || column >= width) return 0.0;
    const int at = ((image * height + y) * width + column) * Channels + tap % Channels;
    return static_cast<double>(toFloat(x[static_cast<size_t>(at)]));
  };
  multiply<ImageWindows<BFloat16>, DenseLines<BFloat16>, BFloat16, SmallTile>(
      {ofImages.data(), s}, {weights.data(), window}, out.data(), {pixels, outputs, window, window}, chunks);
  for (int at = 0; at < pixels * outputs; at++) {
    double sum = 0;
    for (int tap = 0; tap < window; tap++)
      sum +=
          seen(at / outputs, tap) * static_cast<double>(toFloat(w[static_cast<size_t>(at % outputs * window + tap)]));
    // Rounded once: half a step of 8 bits.
    const auto got = static_cast<double>(toFloat(out[static_cast<size_t>(at)]));
    STEPSIZE_EXPECT(std::abs(got - sum) <= std::abs(sum) / 256 + 1e-5);
  }
  multiply<Transposed<DenseLines<BFloat16>>, Transposed<ImageWindows<BFloat16>>, float, SmallTile>(
      {{gradients.data(), outputs}}, {{ofImages.data(), s}}, ofWeights.data(), {outputs, window, pixels, pixels},
      chunks);
  expectAll(ofWeights, "the gradient of the weights", [&](size_t at) {
    double sum = 0;
    for (int pixel = 0; pixel < pixels; pixel++)
      sum += seen(pixel, static_cast<int>(at) % window) *
             static_cast<double>(toFloat(g[static_cast<size_t>(pixel * outputs + static_cast<int>(at) / window)]));
    return sum;
  });
}

STEPSIZE_TEST(convolvesInChunks) { expectConvolution<8>(kInChunks); }
STEPSIZE_TEST(convolvesElementByElement) { expectConvolution<3>(0); }

}  // namespace
