// Tests the emulator's tensor cores and asynchronous copies against the PTX ISA.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/tensor_core.cuh"

#include "../../native/bfloat16.h"
#include "close_numbers.h"

namespace {

using namespace stepsize;
using namespace stepsize::cuda;

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
    const unsigned columnWords[4] = {transposed[lane].x, transposed[lane].y, transposed[lane].z, transposed[lane].w};
    for (unsigned matrix = 0; matrix < 4; matrix++) {
      const unsigned first = 100 * matrix + 10 * row + column;
      STEPSIZE_EXPECT(words[matrix] == (first | (first + 1) << 16));
      const unsigned other = 100 * matrix + 10 * column + row;
      STEPSIZE_EXPECT(columnWords[matrix] == (other | (other + 10) << 16));
    }
  }
}

// Computes C = A·B + C for row-major A [16][16], B [16][8] and C [16][8], with the layout that tensor_core.cuh
// describes.
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
  const std::vector<BFloat16> a = numbersOf<BFloat16>(16 * 16, 1), b = numbersOf<BFloat16>(16 * 8, 2);
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

// Computes C = A·B + C in TF32 for row-major A [16][8], B [8][8] and C [16][8], with the layout that tensor_core.cuh
// describes.
template <bool Rounds>
__global__ void multiplyTf32Fragments(const float* a, const float* b, float* c) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
  const auto word = [](float x) { return Rounds ? roundedToTf32(x) : __float_as_uint(x); };
  const uint32_t left[4] = {word(a[g * 8 + t]), word(a[(g + 8) * 8 + t]), word(a[g * 8 + t + 4]),
                            word(a[(g + 8) * 8 + t + 4])};
  const uint32_t right[2] = {word(b[t * 8 + g]), word(b[(t + 4) * 8 + g])};
  const unsigned column = 2 * t;
  float sums[4] = {c[g * 8 + column], c[g * 8 + column + 1], c[(g + 8) * 8 + column], c[(g + 8) * 8 + column + 1]};
  multiplyAdd<true>(sums, left, right);
  c[g * 8 + column] = sums[0];
  c[g * 8 + column + 1] = sums[1];
  c[(g + 8) * 8 + column] = sums[2];
  c[(g + 8) * 8 + column + 1] = sums[3];
}

STEPSIZE_TEST(multipliesFragmentsInTf32) {
  const std::vector<float> a = numbers(16 * 8, 1), b = numbers(8 * 8, 2), before = numbers(16 * 8, 3);
  Buffer<float> left(a), right(b), c(before);
  launch(multiplyTf32Fragments<true>, 1, 32, 0, nullptr, left.data(), right.data(), c.data());
  const auto rounded = [](float x) { return static_cast<double>(floatOfBits(roundedToTf32(x))); };
  expectAll(c, "the product", [&](size_t at) {
    double sum = static_cast<double>(before[at]);
    for (size_t k = 0; k < 8; k++) sum += rounded(a[at / 8 * 8 + k]) * rounded(b[k * 8 + at % 8]);
    return sum;
  });
  emulator::expectError("not rounded to TF32", [&] {
    launch(multiplyTf32Fragments<false>, 1, 32, 0, nullptr, left.data(), right.data(), c.data());
  });
}

STEPSIZE_TEST(roundsToTf32) {
  const auto rounded = [](float x) { return floatOfBits(roundedToTf32(x)); };
  constexpr float unit = 0x1p-10f;  // the distance of neighbours from 1 to 2
  for (const float x : {0.0f, -0.0f, 1.0f, 1 + unit, -1.5f, 0x1p-126f, 0x1.ffcp127f, INFINITY, -INFINITY})
    STEPSIZE_EXPECT(__float_as_uint(rounded(x)) == __float_as_uint(x));
  // Ties go to even.
  STEPSIZE_EXPECT(rounded(1 + unit / 2) == 1);
  STEPSIZE_EXPECT(rounded(1 + unit / 2 + 0x1p-23f) == 1 + unit);
  STEPSIZE_EXPECT(rounded(1 + 3 * unit / 2) == 1 + 2 * unit);
  STEPSIZE_EXPECT(rounded(-1 - 3 * unit / 2 + 0x1p-23f) == -1 - unit);
  // The mantissa carries into the exponent.
  STEPSIZE_EXPECT(rounded(2 - 0x1p-23f) == 2);
  STEPSIZE_EXPECT(rounded(0x1.fffffep127f) == INFINITY);
  for (const uint32_t nan : {0x7fffffffu, 0x7fc00000u, 0xffffffffu, 0x7f800001u})
    STEPSIZE_EXPECT(rounded(floatOfBits(nan)) != rounded(floatOfBits(nan)));
  for (const float x : numbers(1000, 4)) {
    const auto value = static_cast<double>(x);
    STEPSIZE_EXPECT(std::abs(static_cast<double>(rounded(x)) - value) <= 0x1p-11 * std::abs(value));
  }
}

// There are two groups: three copies, one of them zeros, and one copy. `seen` has the target before the first wait and
// after each wait.
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

STEPSIZE_TEST(copiesArriveAtTheWait) {
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

STEPSIZE_TEST(refusesMisalignedAddresses) {
  Buffer<BFloat16> from(16);
  Buffer<uint32_t> out(32);
  emulator::expectError("cp.async at", [&] { launch(copyFromOdd, 1, 1, 0, nullptr, from.data()); });
  emulator::expectError("ldmatrix at", [&] { launch(loadFromOdd, 1, 32, 0, nullptr, out.data()); });
}

}  // namespace
