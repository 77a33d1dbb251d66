// Compares causal attention and its gradients with plain loops in double, in float32 and in bfloat16 on tensor cores.
// The tolerance of bfloat16 is the effect of rounding the operands.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/attention.cuh"

#include "../../native/cuda/attention_tensor_core.cuh"
#include "close_numbers.h"

namespace {

using namespace stepsize;
using namespace stepsize::cuda;

constexpr int kHeads = 2;
constexpr float kScale = 0.3f;

template <class T>
std::vector<double> doublesOf(Buffer<T>& values) {
  std::vector<double> result;
  for (size_t i = 0; i < values.size(); i++) result.push_back(static_cast<double>(toFloat(values[i])));
  return result;
}

// A sum and the sum of its terms' magnitudes. Rounding errors of terms are proportional to the latter.
struct Sum {
  double value = 0, size = 0;
  void add(double term) {
    value += term;
    size += std::abs(term);
  }
};

// Attention of arrays [length][kHeads][size], and the gradients of Σ g·O.
struct Reference {
  int length, size;
  std::vector<double> q, k, v, g, p, maxima, sums;
  std::vector<Sum> out, dQ, dK, dV;

  size_t at(int position, int head, int d) const { return static_cast<size_t>((position * kHeads + head) * size + d); }
  double dot(const std::vector<double>& a, int i, const std::vector<double>& b, int j, int head) const {
    double sum = 0;
    for (int d = 0; d < size; d++) sum += a[at(i, head, d)] * b[at(j, head, d)];
    return sum;
  }
  size_t pair(int head, int i, int j) const { return static_cast<size_t>((head * length + i) * length + j); }
  size_t row(int head, int i) const { return static_cast<size_t>(head * length + i); }
  template <class F>
  void forPairs(const F& f) const {
    for (int h = 0; h < kHeads; h++)
      for (int i = 0; i < length; i++)
        for (int j = 0; j <= i; j++) f(h, i, j);
  }

  void forward() {
    p.resize(static_cast<size_t>(kHeads * length * length));
    maxima.assign(static_cast<size_t>(kHeads * length), -INFINITY);
    sums.resize(maxima.size());
    out.resize(q.size());
    forPairs([&](int h, int i, int j) {
      double& score = p[pair(h, i, j)];
      score = dot(q, i, k, j, h) * static_cast<double>(kScale);
      maxima[row(h, i)] = std::max(maxima[row(h, i)], score);
    });
    forPairs([&](int h, int i, int j) {
      double& score = p[pair(h, i, j)];
      score = std::exp(score - maxima[row(h, i)]);
      sums[row(h, i)] += score;
    });
    forPairs([&](int h, int i, int j) { p[pair(h, i, j)] /= sums[row(h, i)]; });
    forPairs([&](int h, int i, int j) {
      for (int d = 0; d < size; d++) out[at(i, h, d)].add(p[pair(h, i, j)] * v[at(j, h, d)]);
    });
  }
  // `result` is the output that the backward pass reads.
  void backward(const std::vector<double>& result) {
    for (auto* sums : {&dQ, &dK, &dV}) sums->resize(q.size());
    forPairs([&](int h, int i, int j) {
      const double delta = dot(g, i, result, i, h), probability = p[pair(h, i, j)];
      const double dS = probability * (dot(g, i, v, j, h) - delta) * static_cast<double>(kScale);
      for (int d = 0; d < size; d++) {
        dQ[at(i, h, d)].add(dS * k[at(j, h, d)]);
        dK[at(j, h, d)].add(dS * q[at(i, h, d)]);
        dV[at(j, h, d)].add(probability * g[at(i, h, d)]);
      }
    });
  }
};

template <class T>
struct Attention {
  AttentionShape shape;
  Buffer<T> q, k, v, g, out, dQ, dK, dV;
  Buffer<float> maxima, inverseSums;
  Buffer<QueryNumbers> numbers;
  Reference reference;

  Attention(int length, int size) : Attention(length, size, static_cast<size_t>(length * kHeads * size)) {}
  Attention(int length, int size, size_t count)
      : shape{length, kHeads, size},
        q(numbersOf<T>(count, 15)),
        k(numbersOf<T>(count, 16)),
        v(numbersOf<T>(count, 17)),
        g(numbersOf<T>(count, 18)),
        out(count),
        dQ(count),
        dK(count),
        dV(count),
        maxima(static_cast<size_t>(length * kHeads)),
        inverseSums(static_cast<size_t>(length * kHeads)),
        numbers(static_cast<size_t>(length * kHeads)),
        reference{length, size, doublesOf(q), doublesOf(k), doublesOf(v), doublesOf(g), {}, {}, {}, {}, {}, {}, {}} {
    reference.forward();
  }
  AttentionGradientTensors<T> tensors() {
    return {q.data(), k.data(), v.data(), g.data(), numbers.data(), dQ.data(), dK.data(), dV.data()};
  }
  dim3 grid(int rows) const { return {shape.tiles(rows) * kHeads, 1, 1}; }

  void computeNumbers() {
    launch(attentionNumbersKernel<T>, 3, dim3(kAttentionThreadsX, kAttentionThreadsY, 1), 0, nullptr, out.data(),
           g.data(), maxima.data(), inverseSums.data(), numbers.data(), static_cast<int64_t>(numbers.size()), shape);
    reference.backward(doublesOf(out));
  }
  void expectForward() {
    expectAll(maxima, "the largest score", [&](size_t i) { return reference.maxima[i]; });
    expectAll(inverseSums, "1/Σ", [&](size_t i) { return 1 / reference.sums[i]; });
    expectSums(out, reference.out, "the output");
  }
  void expectBackward() {
    expectSums(dQ, reference.dQ, "the queries' gradient");
    expectSums(dK, reference.dK, "the keys' gradient");
    expectSums(dV, reference.dV, "the values' gradient");
  }
  // In bfloat16 one factor of each term and the sum are rounded, each by up to half a step of 8 bits.
  void expectSums(Buffer<T>& got, const std::vector<Sum>& expected, const char* what) {
    const double share = sizeof(T) == 2 ? 1.0 / 256 : 0;
    for (size_t i = 0; i < got.size(); i++) {
      const auto [value, size] = expected[i];
      const double error = std::abs(static_cast<double>(toFloat(got[i])) - value);
      if (error <= share * (size + std::abs(value)) + 2e-5 * (1 + size)) continue;
      emulator::expect(false, std::string(what) + " at " + std::to_string(i), __FILE__, __LINE__);
      return;
    }
  }
};

// The shared memory of a block on compute capability 8.6 and 8.9, the smallest of the supported devices.
constexpr size_t kMinSharedBytes = 99 << 10;

template <int Chunks>
void expectInFloat32(int length, int size) {
  Attention<float> a(length, size);
  const dim3 block(kAttentionThreadsX, kAttentionThreadsY, 1), grid = a.grid(kAttentionTile);
  const auto start = [&](auto kernel, size_t tiles, auto... arguments) {
    emulator::sharedAllowances().allow(reinterpret_cast<const void*>(kernel), kMinSharedBytes);
    launch(kernel, grid, block, tiles * Tile::floats(size) * sizeof(float), nullptr, arguments...);
  };
  start(attentionKernel<Chunks, float>, 3, a.q.data(), a.k.data(), a.v.data(), a.out.data(), a.maxima.data(),
        a.inverseSums.data(), a.shape, kScale);
  a.expectForward();
  a.computeNumbers();
  start(attentionQueryGradientKernel<Chunks, float>, kGradientTiles<Chunks>, a.tensors(), a.shape, kScale);
  start(attentionKeyGradientKernel<Chunks, float>, kGradientTiles<Chunks>, a.tensors(), a.shape, kScale);
  a.expectBackward();
}

// The sequences have more than two tiles. Head sizes include some that are not a multiple of a lane's share or of four.
STEPSIZE_TEST(attendsInFloat32) {
  expectInFloat32<1>(70, 20);
  expectInFloat32<1>(70, 30);
  expectInFloat32<2>(34, 57);
  expectInFloat32<4>(34, 128);
}
// The largest heads. Tensors of this size share one buffer in shared memory, one after the other.
STEPSIZE_TEST(attendsWithLargeHeads) {
  expectInFloat32<8>(70, 150);
  expectInFloat32<8>(34, 256);
}

template <int Size>
void expectOnTensorCores(int length, int size) {
  Attention<BFloat16> a(length, size);
  const auto start = [&](auto kernel, int rows, size_t bytes, auto... arguments) {
    emulator::sharedAllowances().allow(reinterpret_cast<const void*>(kernel), static_cast<int>(bytes));
    launch(kernel, a.grid(rows), kHeadThreads, bytes, nullptr, arguments...);
  };
  start(attentionTensorKernel<Size>, kBlockRows<kOutputFragments<Size>>, kForwardBytes<Size>, a.q.data(), a.k.data(),
        a.v.data(), a.out.data(), a.maxima.data(), a.inverseSums.data(), a.shape, kScale);
  a.expectForward();
  a.computeNumbers();
  start(attentionQueryGradientTensorKernel<Size>, kBlockRows<kQueryFragments<Size>>, kQueryGradientBytes<Size>,
        a.tensors(), a.shape, kScale);
  start(attentionKeyGradientTensorKernel<Size>, kBlockRows<kKeyFragments<Size>>, kKeyGradientBytes<Size>, a.tensors(),
        a.shape, kScale);
  a.expectBackward();
}

// Sequences of one to three tiles, most with an incomplete last one. A block has one tile or two, of which the second
// may lie behind the sequence. Some heads fill their tile, others do not.
STEPSIZE_TEST(attendsOnTensorCores) {
  expectOnTensorCores<32>(150, 24);
  expectOnTensorCores<64>(130, 64);
  expectOnTensorCores<64>(200, 40);
  expectOnTensorCores<128>(70, 120);
  expectOnTensorCores<32>(3, 8);
}

// Several sequences, and blocks that take several rows each: a row's numbers are stored by head and position.
STEPSIZE_TEST(computesNumbersOfQueries) {
  constexpr int kSequences = 4, kLength = 5, kSize = 8;
  for (const int heads : {1, 3, 40}) {
    const size_t rows = static_cast<size_t>(kSequences * kLength * heads), count = rows * kSize;
    Buffer<float> out(numbers(count, 1)), g(numbers(count, 2)), maxima(numbers(rows, 3)), inverseSums(numbers(rows, 4));
    Buffer<QueryNumbers> result(rows);
    launch(attentionNumbersKernel<float>, 2, dim3(kAttentionThreadsX, kAttentionThreadsY, 1), 0, nullptr, out.data(),
           g.data(), maxima.data(), inverseSums.data(), result.data(), static_cast<int64_t>(rows),
           AttentionShape{kLength, heads, kSize});
    for (size_t number = 0; number < rows; number++) {
      const size_t position = number % kLength, head = number / kLength % static_cast<size_t>(heads);
      const size_t sequence = number / kLength / static_cast<size_t>(heads);
      const size_t row = (sequence * kLength + position) * static_cast<size_t>(heads) + head;
      double delta = 0;
      for (size_t d = 0; d < kSize; d++) delta += product(out[row * kSize + d], g[row * kSize + d]);
      const bool isRight = isClose(result[number].delta, delta) && result[number].inverseSum == inverseSums[number] &&
                           isClose(result[number].shift, static_cast<double>(maxima[number]) * std::log2(std::exp(1)));
      emulator::expect(isRight, "the numbers of query " + std::to_string(number), __FILE__, __LINE__);
    }
  }
}

}  // namespace
