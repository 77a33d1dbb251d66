// Compares the kernel of the gradient norm with a sum in the order of native/update/norm.h and with a sum in double.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/gradient_norm.cuh"

#include <cmath>
#include <limits>

#include "tensor_list.h"

namespace {

using namespace stepsize;
using namespace stepsize::test;
using cuda::Chunk;

std::vector<uint64_t> sizesOf(const TensorList& gradients) {
  std::vector<uint64_t> sizes;
  for (size_t t = 0; t < gradients.tensors(); t++) sizes.push_back(gradients.elements(t));
  return sizes;
}

double normOf(const TensorList& gradients, unsigned blocks) {
  const std::vector<Chunk> chunks = cuda::chunksOf(sizesOf(gradients));
  Buffer<double> partial(chunks.size()), norm(1);
  Buffer<unsigned> finished(std::vector<unsigned>{0});
  launch(gradients.low() ? cuda::gradientNormKernel<BFloat16> : cuda::gradientNormKernel<float>, blocks,
         cuda::kNormThreads, 0, nullptr, chunks.data(), static_cast<uint32_t>(chunks.size()), gradients.addresses(),
         partial.data(), finished.data(), norm.data());
  // The kernel resets the counter for the next step.
  STEPSIZE_EXPECT(finished[0] == 0);
  STEPSIZE_EXPECT(gradients.isMemoryBeforeUnchanged());
  return norm[0];
}

// Adds the second half to the first until one value is left.
template <class T>
T folded(std::vector<T> values) {
  for (size_t half = values.size() / 2; half > 0; half /= 2)
    for (size_t i = 0; i < half; i++) values[i] += values[i + half];
  return values[0];
}

// Folds 256 values: each of the eight warps of 32, then the results of the warps.
template <class T>
T foldedByWarps(const std::vector<T>& values) {
  std::vector<T> warps;
  for (size_t warp = 0; warp < 8; warp++)
    warps.push_back(folded(std::vector<T>(values.begin() + static_cast<ptrdiff_t>(warp * 32),
                                          values.begin() + static_cast<ptrdiff_t>(warp * 32 + 32))));
  return folded(warps);
}

// The sum of a chunk's squares in float32. Each element is first multiplied by `scale`.
float chunkAsDescribed(const TensorList& gradients, size_t t, size_t begin, float scale) {
  std::vector<float> lanes(1024), values(256);
  for (size_t i = 0; i < 16384 && begin + i < gradients.elements(t); i++) {
    const float x = gradients.value(t, begin + i) * scale;
    lanes[i % 1024] = std::fma(x, x, lanes[i % 1024]);
  }
  for (size_t v = 0; v < 256; v++)
    values[v] = (lanes[4 * v] + lanes[4 * v + 1]) + (lanes[4 * v + 2] + lanes[4 * v + 3]);
  return foldedByWarps(values);
}

double normAsDescribed(const TensorList& gradients) {
  std::vector<double> values(256);
  size_t chunk = 0;
  for (size_t t = 0; t < gradients.tensors(); t++)
    for (size_t begin = 0; begin < gradients.elements(t); begin += 16384) {
      const float plain = chunkAsDescribed(gradients, t, begin, 1);
      const float scale = plain >= 0x1p-100f && std::isfinite(plain) ? 1 : plain < 0x1p-100f ? 0x1p100f : 0x1p-80f;
      const double sum = scale == 1 ? plain : chunkAsDescribed(gradients, t, begin, scale);
      values[chunk++ % 256] += sum / scale / scale;
    }
  return std::sqrt(foldedByWarps(values));
}

double normInDouble(const TensorList& gradients) {
  double sum = 0;
  for (size_t t = 0; t < gradients.tensors(); t++)
    for (size_t i = 0; i < gradients.elements(t); i++) sum += std::pow(static_cast<double>(gradients.value(t, i)), 2);
  return std::sqrt(sum);
}

// No term is negative, so each rounding changes a sum by a factor of at most 1 ± 2^-24. A square takes part in 16
// roundings in its lane, 2 in its value and 8 in the folds of its chunk. The chunks are added in float64. The root
// halves the relative error.
double bound() { return (16.0 + 2 + 8 + 1) / 2 * 0x1p-24; }

void expectRightNorm(const std::string& name, const TensorList& gradients, const std::vector<unsigned>& otherBlocks) {
  const double norm = normOf(gradients, 1);
  expectIn(name, sameBits(norm, normAsDescribed(gradients)), "summed in the order of update/norm.h");
  const double exact = normInDouble(gradients);
  expectIn(name, std::fabs(norm - exact) <= bound() * exact, "close to the sum in double");
  for (const unsigned blocks : otherBlocks)
    expectIn(name, sameBits(normOf(gradients, blocks), norm), "the same for any number of blocks");
}

// Chunks that take several iterations occur with every alignment. The tails have from zero to three elements of a
// thread's four.
TensorList manySizes(bool low) {
  TensorList gradients(low);
  const size_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 255, 1023, 1024, 1025, 2050, 4099, 16383, 16384, 16385, 33001};
  size_t offset = 0;
  for (const size_t size : sizes) {
    gradients.add(numbers(size, size), offset % 8);
    offset += 3;
  }
  return gradients;
}

STEPSIZE_TEST(theNormIsRightForAnySizes) {
  // There are fewer blocks than chunks, or more.
  expectRightNorm("float32", manySizes(false), {2, 3, 40});
  expectRightNorm("bfloat16", manySizes(true), {2, 3, 40});
}

// A sum in another order has the same bits about half of the time, because the root hides differences. So there are
// many small sums. In each, few elements outweigh the rest, and only the first `lanes` of the 1,024 lanes are not zero.
void expectInOrder(const char* name, size_t tensors, size_t elements, size_t lanes, size_t sums) {
  for (const bool low : {false, true})
    for (size_t salt = 0; salt < sums; salt++) {
      TensorList gradients(low);
      for (size_t t = 0; t < tensors; t++) {
        std::vector<float> values = numbers(elements, salt * tensors + t);
        for (size_t i = 0; i < elements; i++) values[i] = i % 1024 < lanes ? values[i] * values[i] * values[i] : 0;
        gradients.add(values, 0);
      }
      expectIn(name, sameBits(normOf(gradients, 1), normAsDescribed(gradients)), low ? "bfloat16" : "float32");
    }
}

STEPSIZE_TEST(theNormIsSummedInItsOrder) {
  expectInOrder("one iteration of a thread", 1, 4, 4, 20);
  expectInOrder("many iterations of a thread", 1, 5120, 4, 20);
  expectInOrder("one iteration and three elements more", 1, 1027, 3, 20);
  expectInOrder("one iteration of a warp", 1, 128, 128, 20);
  expectInOrder("many iterations of a block", 1, 8192, 1024, 10);
  expectInOrder("chunks", 20, 2, 2, 15);
  expectInOrder("chunks in several warps", 40, 1, 1, 8);
}

STEPSIZE_TEST(theNormIsRightForAnyAlignment) {
  for (const bool low : {false, true})
    for (size_t offset = 0; offset < 8; offset++) {
      TensorList one(low);
      one.add(numbers(2055, offset), offset);
      expectIn("offset " + std::to_string(offset), sameBits(normOf(one, 1), normAsDescribed(one)), "the norm");
    }
}

STEPSIZE_TEST(theNormOfMoreChunksThanThreads) {
  for (const bool low : {false, true}) {
    TensorList gradients(low);
    for (size_t t = 0; t < 520; t++) gradients.add(numbers(1, t), t % 8);
    const double norm = normOf(gradients, 7);
    STEPSIZE_EXPECT(sameBits(norm, normAsDescribed(gradients)));
    STEPSIZE_EXPECT(std::fabs(norm - normInDouble(gradients)) <= bound() * normInDouble(gradients));
  }
}

// One of the 256 values gets 2.25 from its first chunk, and a little more than a quarter of a float64's last digit from
// each of two later chunks. Added one after the other, the two are lost. Added together first, they would change the
// root.
STEPSIZE_TEST(aValueAddsItsChunksFromTheFirst) {
  TensorList gradients(false);
  for (size_t t = 0; t < 520; t++) {
    std::vector<float> values(6);
    if (t == 3)
      values[0] = 1.5f;
    else if (t % 256 == 3)
      values[0] = 0.75f * 0x1p-26f;
    gradients.add(values, 0);
  }
  STEPSIZE_EXPECT(normOf(gradients, 1) == 1.5);
  STEPSIZE_EXPECT(normAsDescribed(gradients) == 1.5);
}

// The squares of a chunk overflow or underflow in float32. Other chunks, or the same chunk, have values of another
// size.
STEPSIZE_TEST(theNormIsRightForEveryFiniteGradient) {
  const float scales[] = {0x1p-149f, 0x1p-140f, 0x1p-126f, 0x1p-90f, 0x1p-75f, 0x1p-60f, 0x1p-50f, 0x1p-49f,
                          1,         0x1p56f,   0x1p57f,   0x1p63f,  0x1p64f,  0x1p100f, 0x1p126f};
  for (const bool low : {false, true})
    for (const float scale : scales)
      for (const float other : {0.0f, 0x1p-149f, 0x1p-70f, 1.0f, 0x1p70f, 0x1p127f}) {
        // The accesses depend only on whether a chunk is summed twice, so the race detector needs one of these values.
        if (stepsize::emulator::detectsRaces() && other != 0x1p70f) continue;
        TensorList gradients(low);
        // Only one of the values gets more than a chunk, because the emulator is slow with many elements.
        std::vector<float> values = numbers(other == 1.0f ? 16390 : 1100, 7);
        for (float& value : values) value = std::copysign(scale * (1 + std::fabs(value)), value);
        gradients.add(std::vector<float>(values.begin(), values.begin() + 40), 1);
        gradients.add({other, -other, 0}, 0);
        gradients.add(values, 3);
        expectRightNorm("scale " + std::to_string(std::log2(scale)) + " beside " + std::to_string(other), gradients,
                        {2, 5});
        // Both sizes in one chunk.
        TensorList together(low);
        values.resize(1200);
        values[1100] = other;
        together.add(values, 0);
        expectRightNorm("scale " + std::to_string(std::log2(scale)) + " with " + std::to_string(other), together, {2});
      }
}

// The largest float32 numbers. Their norm does not fit into float32.
STEPSIZE_TEST(theNormMayExceedFloat32) {
  const float largest = std::numeric_limits<float>::max();
  TensorList gradients(false);
  gradients.add(std::vector<float>(40000, -largest), 0);
  const double norm = normOf(gradients, 2), exact = 200.0 * largest;
  STEPSIZE_EXPECT(std::fabs(norm - exact) <= bound() * exact);
}

STEPSIZE_TEST(theNormOfNothingIsZero) {
  for (const bool low : {false, true}) {
    TensorList gradients(low);
    STEPSIZE_EXPECT(sameBits(normOf(gradients, 3), 0.0));
    for (int i = 0; i < 2; i++) gradients.add({}, 0);
    STEPSIZE_EXPECT(sameBits(normOf(gradients, 3), 0.0));
    gradients.add(std::vector<float>(1000), 1);
    STEPSIZE_EXPECT(sameBits(normOf(gradients, 3), 0.0));
  }
}

STEPSIZE_TEST(theNormOfNonFiniteGradientsIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const bool low : {false, true})
    for (const size_t place : {size_t{0}, size_t{1030}, size_t{2054}}) {
      const auto normWith = [&](float value) {
        TensorList gradients(low);
        gradients.add(numbers(100, 1), 0);
        std::vector<float> values = numbers(2055, 2);
        values[place] = value;
        gradients.add(values, 3);
        gradients.add(numbers(100, 3), 0);
        return normOf(gradients, 2);
      };
      STEPSIZE_EXPECT(normWith(infinity) == infinity);
      STEPSIZE_EXPECT(normWith(-infinity) == infinity);
      STEPSIZE_EXPECT(std::isnan(normWith(nan)));
      STEPSIZE_EXPECT(std::isnan(normWith(-nan)));
    }
}

}  // namespace
