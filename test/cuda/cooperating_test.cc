// Compares kernels whose threads cooperate through shared memory or shuffles with plain loops in double. A missing
// barrier shows in another thread order or in the race detector. The tests of operations cover values, gradients and
// shapes in general.
#define STEPSIZE_TEST_MAIN
#include <cmath>
#include <cstring>
#include <utility>

#include "../../native/cuda/batch_norm.cuh"
#include "../../native/cuda/embedding.cuh"
#include "../../native/cuda/layer_norm.cuh"
#include "../../native/cuda/reduce.cuh"
#include "../../native/cuda/rotary.cuh"
#include "../../native/cuda/softmax.cuh"
#include "close_numbers.h"

namespace {

using namespace stepsize::cuda;
using stepsize::emulator::Buffer;

// Numbers of columns for rows of a warp and of a block, so that the last pass has fewer columns than threads, or all.
constexpr int kColumns[] = {5, 77, 513, 700};

constexpr int kRowStarts = 16;  // more than the elements that move at once

template <class F>
void forRowGroups(const F& f) {
  for (const int columns : kColumns) {
    f(columns, RowGroup<kWarp>{});
    f(columns, RowGroup<kRowThreads>{});
  }
}

double logSumOf(const std::vector<float>& x, size_t row, size_t columns) {
  double sum = 0;
  for (size_t j = 0; j < columns; j++) sum += std::exp(static_cast<double>(x[row * columns + j]));
  return std::log(sum);
}

}  // namespace

STEPSIZE_TEST(sumsOfRowsInParts) {
  constexpr int64_t outer = 2, length = kRowPart + 100;
  const std::vector<float> x = numbers(outer * length, 1);
  Buffer<float> in(x), sums(outer * 2);
  launch(sumRowsKernel<float, float>, 3, kReduceThreads, 0, nullptr, in.data(), sums.data(),
         SumShape{outer, length, 1, 2}, 0.5f);
  expectAll(sums, "a part", [&](size_t task) {
    double sum = 0;
    for (int64_t i = task % 2 ? kRowPart : 0; i < (task % 2 ? length : kRowPart); i++)
      sum += x[task / 2 * static_cast<size_t>(length) + static_cast<size_t>(i)];
    return sum / 2;
  });
}

STEPSIZE_TEST(sumsOfColumnsInParts) {
  constexpr size_t outer = 2, length = kColumnChunk + 9, inner = 40;
  const std::vector<float> x = numbers(outer * length * inner, 2);
  Buffer<float> in(x), sums(outer * 2 * inner);
  launch(sumColumnsKernel<float, float>, 3, kColumnThreads, 0, nullptr, in.data(), sums.data(),
         SumShape{outer, length, inner, 2}, 1.0f);
  expectAll(sums, "a part", [&](size_t at) {
    const size_t part = at / inner % 2, o = at / inner / 2;
    double sum = 0;
    for (size_t i = part * kColumnChunk; i < std::min(length, (part + 1) * kColumnChunk); i++)
      sum += x[(o * length + i) * inner + at % inner];
    return sum;
  });
}

// There are more parts than a block merges at once, and more columns than a block has lanes.
STEPSIZE_TEST(mergesParts) {
  constexpr size_t outer = 2, parts = kMergeRows + 5, inner = kMergeLanes + 3;
  const std::vector<float> x = numbers(outer * parts * inner, 20);
  Buffer<float> in(x), out(outer * inner);
  launch(addPartsKernel<float>, 3, kMergeThreads, 0, nullptr, in.data(), out.data(), SumShape{outer, 0, inner, parts},
         0.5f);
  expectAll(out, "a sum", [&](size_t at) {
    double sum = 0;
    for (size_t part = 0; part < parts; part++) sum += x[(at / inner * parts + part) * inner + at % inner];
    return sum / 2;
  });
}

// Every thread stores its value, although only row 0 has the result. Otherwise the compiler could remove the reads of
// the other rows, and a race among them would not show.
__global__ void mergeForAllKernel(const float* parts, float* out, int64_t count) {
  out[threadIdx.x] = mergeParts<float>(
      count, true, [&](int64_t part) { return parts[part * kMergeLanes + mergeLane()]; },
      [](float a, float b) { return a + b; });
}
STEPSIZE_TEST(mergesPartsWithoutRaces) {
  constexpr size_t parts = 2 * kMergeRows + 3;
  const std::vector<float> x = numbers(parts * kMergeLanes, 25);
  Buffer<float> in(x), out(kMergeThreads), ofRow0(kMergeLanes);
  launch(mergeForAllKernel, 1, kMergeThreads, 0, nullptr, in.data(), out.data(), int64_t{parts});
  for (size_t lane = 0; lane < kMergeLanes; lane++) ofRow0[lane] = out[lane];
  expectAll(ofRow0, "a column's sum", [&](size_t lane) {
    double sum = 0;
    for (size_t part = 0; part < parts; part++) sum += x[part * kMergeLanes + lane];
    return sum;
  });
}

STEPSIZE_TEST(countsCorrectPredictions) {
  constexpr size_t rows = 50, columns = 131;
  std::vector<float> x = numbers(rows * columns, 3);
  std::vector<int32_t> labels(rows);
  for (size_t r = 0; r < rows; r++) {
    labels[r] = static_cast<int32_t>(r);
    if (r % 3 == 0) x[r * columns + r] = 2;
  }
  Buffer<float> in(x), count(1);
  Buffer<int32_t> at(labels), largest(rows);
  launch(argmaxKernel<float>, 2, kReduceThreads, 0, nullptr, in.data(), largest.data(), rows,
         static_cast<int>(columns));
  size_t expected = 0;
  for (size_t r = 0; r < rows; r++) {
    const auto first = x.begin() + static_cast<ptrdiff_t>(r * columns);
    const auto where = std::max_element(first, first + static_cast<ptrdiff_t>(columns)) - first;
    STEPSIZE_EXPECT(largest[r] == static_cast<int32_t>(where));
    expected += where == static_cast<ptrdiff_t>(r);
  }
  launch(countEqualKernel, 1, kReduceThreads, 0, nullptr, largest.data(), at.data(), rows, -100, count.data());
  STEPSIZE_EXPECT(count[0] == static_cast<float>(expected));
}

// Most rows begin between two groups that are aligned.
STEPSIZE_TEST(softmaxOfShortAndLongRows) {
  static constexpr size_t rows = 11;
  forRowGroups([](int columns, auto group) {
    using Group = decltype(group);
    const auto wide = static_cast<size_t>(columns);
    const std::vector<float> x = numbers(rows * wide, 4), g = numbers(rows * wide, 5);
    Buffer<float> in(x), out(rows * wide), gradient(g), dx(rows * wide);
    launch(logSoftmaxKernel<Group, float>, 2, kRowThreads, 0, nullptr, in.data(), out.data(), rows, columns);
    expectAll(out, "log-softmax", [&](size_t i) { return x[i] - logSumOf(x, i / wide, wide); });
    launch(logSoftmaxGradientKernel<Group, float>, 2, kRowThreads, 0, nullptr, out.data(), gradient.data(), dx.data(),
           rows, columns);
    expectAll(dx, "its gradient", [&](size_t i) {
      double sum = 0;
      for (size_t j = 0; j < wide; j++) sum += g[i / wide * wide + j];
      return g[i] - std::exp(x[i] - logSumOf(x, i / wide, wide)) * sum;
    });
  });
}

// Sums of rows that begin at any place, of a length that leaves columns before and after the groups.
template <class Group, class T>
__global__ void sumOfRowKernel(const T* rows, float* sums, int columns) {
  Group::forRows(kRowStarts, [&](int64_t start) {
    const T* row = rows + start;
    const float sum = sumOfRow<Group>(row, columns, headOf(columns, row));
    if (Group::thread() == 0) sums[start] = sum;
  });
}
template <class T>
void expectRowSums() {
  forRowGroups([](int columns, auto group) {
    const std::vector<T> x = numbersOf<T>(static_cast<size_t>(columns + kRowStarts), 26);
    Buffer<T> in(x);
    Buffer<float> sums(kRowStarts);
    launch(sumOfRowKernel<decltype(group), T>, 2, kRowThreads, 0, nullptr, in.data(), sums.data(), columns);
    expectAll(sums, "the sum of a row", [&](size_t start) {
      double sum = 0;
      for (size_t j = 0; j < static_cast<size_t>(columns); j++)
        sum += static_cast<double>(stepsize::toFloat(x[start + j]));
      return sum;
    });
  });
}
STEPSIZE_TEST(rowsThatBeginAnywhere) {
  expectRowSums<float>();
  expectRowSums<stepsize::BFloat16>();
}

// The labels include an ignored one, one with item weight 0, and one that is no class. All options are set.
STEPSIZE_TEST(crossEntropyReportsOneInvalidLabel) {
  static constexpr size_t rows = 11;
  forRowGroups([](int columns, auto group) {
    using Group = decltype(group);
    const auto wide = static_cast<size_t>(columns);
    const std::vector<float> x = numbers(rows * wide, 6), g = numbers(rows, 9);
    std::vector<float> ofClasses = numbers(wide, 7), ofItems = numbers(rows, 8);
    std::vector<int32_t> labels(rows, 3);
    labels[7] = columns;
    labels[4] = -100;
    ofItems[5] = 0;
    Buffer<float> in(x), classWeights(ofClasses), itemWeights(ofItems), gradients(g), losses(rows), weights(rows),
        maxima(rows), inverseSums(rows), sums(3), dx(rows * wide);
    Buffer<int32_t> at(labels);
    Buffer<FaultLog> log(std::vector<FaultLog>(1));
    const CrossEntropyRows options{at.data(), classWeights.data(), itemWeights.data(), -100, columns, 0.1f};
    launch(crossEntropyKernel<Group, float>, 2, kRowThreads, 0, nullptr, in.data(), options, losses.data(),
           weights.data(), maxima.data(), inverseSums.data(), rows, FaultReport{log.data(), 5});
    const auto counts = [&](size_t r) { return r != 4 && r != 5; };
    const auto ofLabel = [&](size_t r) { return r == 7 ? 1.0 : static_cast<double>(ofClasses[3]); };
    const auto logProbability = [&](size_t r, size_t j) { return x[r * wide + j] - logSumOf(x, r, wide); };
    expectAll(losses, "a loss", [&](size_t r) {
      double all = 0;
      for (size_t j = 0; j < wide; j++) all += ofClasses[j] * logProbability(r, j);
      const double labelTerm = r == 7 ? 0 : ofLabel(r) * logProbability(r, 3);
      return counts(r) ? -ofItems[r] * (0.9 * labelTerm + 0.1 * all / columns) : 0;
    });
    expectAll(weights, "a weight", [&](size_t r) { return counts(r) ? ofItems[r] * ofLabel(r) : 0; });
    const Fault& fault = log[0].faults[0];
    STEPSIZE_EXPECT(log[0].count == 1 && fault.kind == static_cast<int>(FaultKind::label) && fault.source == 5);
    STEPSIZE_EXPECT(fault.numbers[0] == columns && fault.numbers[1] == 7);
    launch(addLossesKernel, 1, kRowThreads, 0, nullptr, losses.data(), weights.data(), rows, sums.data(),
           sums.data() + 1, sums.data() + 2);
    double sum = 0, weight = 0;
    for (size_t r = 0; r < rows; r++) {
      sum += losses[r];
      weight += weights[r];
    }
    STEPSIZE_EXPECT(isClose(sums[0], sum) && isClose(sums[1], weight) && isClose(sums[2], sum / weight));
    launch(crossEntropyGradientKernel<Group, float>, 2, kRowThreads, 0, nullptr, in.data(), options, maxima.data(),
           inverseSums.data(), LossGradient{gradients.data(), sums.data() + 1, true, false}, dx.data(), rows,
           FaultReport{log.data(), 5});
    double classSum = 0;
    for (const float w : ofClasses) classSum += static_cast<double>(w);
    expectAll(dx, "its gradient", [&](size_t i) {
      const size_t r = i / wide, j = i % wide;
      if (!counts(r)) return 0.0;
      const double share = 0.9 * ofLabel(r) + 0.1 / columns * classSum;
      const double target = (r != 7 && j == 3 ? 0.9 * ofLabel(r) : 0) + 0.1 / columns * ofClasses[j];
      return g[r] * ofItems[r] * (std::exp(logProbability(r, j)) * share - target);
    });
  });
}

STEPSIZE_TEST(normalizesShortAndLongRows) {
  static constexpr size_t rows = 9;
  forRowGroups([](int columns, auto group) {
    using Group = decltype(group);
    const auto wide = static_cast<size_t>(columns);
    const std::vector<float> x = numbers(rows * wide, 7), g = numbers(rows * wide, 8);
    Buffer<float> in(x), gradient(g), y(rows * wide), means(rows), inverses(rows), dx(rows * wide);
    launch(rowNormKernel<true, Group, float>, 2, kRowThreads, 0, nullptr, in.data(), nullptr, nullptr, y.data(),
           means.data(), inverses.data(), rows, columns, 1e-5f);
    const auto statistics = [&](size_t row) {
      double mean = 0, squares = 0;
      for (size_t j = 0; j < wide; j++) mean += x[row * wide + j] / static_cast<double>(columns);
      for (size_t j = 0; j < wide; j++) squares += std::pow(x[row * wide + j] - mean, 2);
      return std::pair{mean, 1 / std::sqrt(squares / columns + 1e-5)};
    };
    expectAll(y, "LayerNorm", [&](size_t i) {
      const auto [mean, inverse] = statistics(i / wide);
      return (x[i] - mean) * inverse;
    });
    launch(rowNormGradientKernel<true, Group, float>, 2, kRowThreads, 0, nullptr, in.data(), gradient.data(),
           means.data(), inverses.data(), nullptr, dx.data(), rows, columns);
    expectAll(dx, "its gradient", [&](size_t i) {
      const size_t row = i / wide;
      const auto [mean, inverse] = statistics(row);
      double shared = 0, along = 0;
      for (size_t j = row * wide; j < (row + 1) * wide; j++) {
        shared += g[j] / static_cast<double>(columns);
        along += g[j] * (x[j] - mean) * inverse / columns;
      }
      return inverse * (g[i] - shared - (x[i] - mean) * inverse * along);
    });
  });
}

STEPSIZE_TEST(gradientsOfTheFactorsOfANorm) {
  constexpr size_t rows = kColumnChunk + 30, columns = 70, parts = 2;
  const std::vector<float> x = numbers(rows * columns, 21), g = numbers(rows * columns, 22);
  const std::vector<float> mean = numbers(rows, 23), inverse = numbers(rows, 24);
  Buffer<float> in(x), gradient(g), means(mean), inverses(inverse), sums(parts * 2 * columns), dGamma(columns),
      dBeta(columns);
  constexpr unsigned tiles = (columns - 1) / kColumnTile<float> + 1, blocks = (columns - 1) / kMergeLanes + 1;
  launch(rowNormColumnsKernel<true, float>, tiles * parts, kColumnThreads, 0, nullptr, in.data(), gradient.data(),
         means.data(), inverses.data(), sums.data(), rows, static_cast<int>(columns));
  launch(addColumnPartsKernel<float>, blocks, kMergeThreads, 0, nullptr, sums.data(), parts, static_cast<int>(columns),
         dGamma.data(), dBeta.data());
  expectAll(dGamma, "γ's gradient", [&](size_t c) {
    double sum = 0;
    for (size_t r = 0; r < rows; r++)
      sum += static_cast<double>(g[r * columns + c]) * (x[r * columns + c] - mean[r]) * inverse[r];
    return sum;
  });
  expectAll(dBeta, "β's gradient", [&](size_t c) {
    double sum = 0;
    for (size_t r = 0; r < rows; r++) sum += g[r * columns + c];
    return sum;
  });
}

// Compares the statistics of a batch, per part and as a whole, with plain loops.
template <class T>
void expectStatistics(size_t rows, size_t channels) {
  const std::vector<T> x = numbersOf<T>(rows * channels, 9);
  const auto rowsOfPart = static_cast<size_t>(columnPartOf(static_cast<int64_t>(rows)));
  const auto parts = static_cast<size_t>(columnParts(static_cast<int64_t>(rows)));
  const size_t tiles = (channels - 1) / kColumnTile<T> + 1;
  Buffer<T> in(x);
  Buffer<float> sums(parts * 2 * channels);
  launch(batchStatisticsKernel<T>, static_cast<unsigned>(parts * tiles), kColumnThreads, 0, nullptr, in.data(),
         sums.data(), static_cast<int64_t>(rows), static_cast<int>(channels));
  const auto statistics = [&](size_t c, size_t first, size_t last) {
    const auto at = [&](size_t r) { return static_cast<double>(stepsize::toFloat(x[r * channels + c])); };
    double mean = 0, deviations = 0;
    for (size_t r = first; r < last; r++) mean += at(r) / static_cast<double>(last - first);
    for (size_t r = first; r < last; r++) deviations += std::pow(at(r) - mean, 2);
    return std::pair{mean, deviations};
  };
  expectAll(sums, "statistics", [&](size_t at) {
    const size_t part = at / channels / 2;
    const auto [mean, deviations] =
        statistics(at % channels, part * rowsOfPart, std::min(rows, (part + 1) * rowsOfPart));
    return at / channels % 2 ? deviations : mean;
  });
  const std::vector<float> ones(channels, 1), zeros(channels);
  const std::vector<T> gammas(channels, stepsize::castElement<T>(1.0f)), betas(channels);
  Buffer<T> gamma(gammas), beta(betas);
  Buffer<float> runningMean(zeros), runningVariance(ones), mean(channels), inverse(channels), scale(channels),
      shift(channels);
  launch(mergeStatisticsKernel<T>, static_cast<unsigned>((channels - 1) / kMergeLanes + 1), kMergeThreads, 0, nullptr,
         sums.data(), static_cast<int64_t>(rows), static_cast<int>(channels), 1e-5, 0.25f,
         BatchNormTensors<T>{gamma.data(), beta.data(), runningMean.data(), runningVariance.data(), mean.data(),
                             inverse.data(), scale.data(), shift.data()});
  const auto n = static_cast<double>(rows);
  std::vector<std::pair<double, double>> all;
  for (size_t c = 0; c < channels; c++) all.push_back(statistics(c, 0, rows));
  expectAll(mean, "the mean", [&](size_t c) { return all[c].first; });
  expectAll(inverse, "1/√(variance + ε)", [&](size_t c) { return 1 / std::sqrt(all[c].second / n + 1e-5); });
  expectAll(runningVariance, "the running variance", [&](size_t c) { return 0.75 + 0.25 * all[c].second / (n - 1); });
}

// There are more parts than a block merges at once; whole tiles and incomplete ones.
STEPSIZE_TEST(statisticsOfABatch) {
  expectStatistics<float>(kMergeRows * kColumnChunk + 30, 6);
  expectStatistics<float>(kColumnChunk + 30, kColumnTile<float> + 6);
  expectStatistics<stepsize::BFloat16>(kColumnChunk + 30, kColumnTile<stepsize::BFloat16>);
}

// With more rows than the most parts have, a part has several chunks, of which the last is incomplete.
STEPSIZE_TEST(statisticsOfSeveralChunksPerPart) {
  expectStatistics<float>(kMostColumnParts * kColumnChunk + kColumnChunk + 30, 1);
}

// Launches the kernels of the embedding gradient as sequence_operations.cu does, but with few blocks.
template <class T>
void embeddingGradient(const std::vector<int32_t>& ids, Buffer<T>& gradient, Buffer<T>& out, int64_t rows, int width,
                       unsigned blocks = 3) {
  const int64_t count = static_cast<int64_t>(ids.size()), parts = (count + kEmbeddingPart - 1) / kEmbeddingPart;
  const int64_t chunks = (count + kIdChunk - 1) / kIdChunk, keyCount = chunks * kIdChunk;
  Buffer<int32_t> in(ids);
  Buffer<IdKey> sorted(static_cast<size_t>(keyCount)), merged(static_cast<size_t>(keyCount));
  Buffer<float> partials(static_cast<size_t>(2 * parts * width));
  IdKey *keys = sorted.data(), *others = merged.data();
  launch(sortIdsKernel, static_cast<unsigned>(chunks), kIdChunk / 2, 0, nullptr, in.data(), keys, count);
  for (int64_t length = kIdChunk; length < keyCount; length *= kIdRuns) {
    launch(mergeIdsKernel, blocks, kMergeIdsThreads, 0, nullptr, keys, others, keyCount, length);
    std::swap(keys, others);
  }
  for (int64_t i = 1; i < keyCount; i++) STEPSIZE_EXPECT(keys[i - 1].bits < keys[i].bits);
  launch(embeddingGradientKernel<T>, blocks, kEmbeddingThreads, 0, nullptr, keys, gradient.data(), out.data(),
         partials.data(), parts, rows, width);
  if (parts > 1)
    launch(addEmbeddingPartsKernel<T>, blocks, kMergeThreads, 0, nullptr, keys, partials.data(), out.data(), parts,
           rows, width);
}

// Compares the gradient of an embedding table of `rows` rows with a plain loop.
void expectEmbeddingGradient(const std::vector<int32_t>& ids, size_t rows, size_t width) {
  const std::vector<float> g = numbers(ids.size() * width, 14);
  Buffer<float> gradient(g), out(std::vector<float>(rows * width));
  embeddingGradient(ids, gradient, out, static_cast<int64_t>(rows), static_cast<int>(width));
  std::vector<double> expected(rows * width);
  for (size_t i = 0; i < ids.size(); i++)
    if (ids[i] >= 0 && ids[i] < static_cast<int64_t>(rows))
      for (size_t j = 0; j < width; j++) expected[static_cast<size_t>(ids[i]) * width + j] += g[i * width + j];
  expectAll(out, "a row", [&](size_t at) { return expected[at]; });
}

// The positions fill several chunks. Some ids occur in one chunk only, and some have no row.
STEPSIZE_TEST(embeddingGradientAddsEachIdOnce) {
  constexpr size_t count = 2 * kIdChunk + 40, rows = 9;
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; i++)
    ids[i] = i < kIdChunk ? static_cast<int32_t>(i * i % 5) : 4 + static_cast<int32_t>(i % 4);
  ids[3] = -1;
  ids[kIdChunk] = rows;
  ids[count - 1] = INT32_MAX;
  expectEmbeddingGradient(ids, rows, 6);
}

// Parts end at the end of an id, inside an id, and between two ids that begin in earlier parts. Rows are shorter and
// longer than those that a block takes at once, and aligned or not.
STEPSIZE_TEST(embeddingGradientAddsPartsOfAnId) {
  for (const size_t width : {5, 8, 4 * kEmbeddingThreads + 6}) {
    const auto repeated = [&](const std::vector<size_t>& counts) {
      std::vector<int32_t> ids;
      for (size_t id = 0; id < counts.size(); id++) ids.insert(ids.end(), counts[id], static_cast<int32_t>(id));
      // The positions of an id are not neighbours. None of the numbers of ids below is a multiple of 11.
      std::vector<int32_t> mixed(ids.size());
      for (size_t i = 0; i < ids.size(); i++) mixed[i * 11 % ids.size()] = ids[i];
      expectEmbeddingGradient(mixed, counts.size() + 1, width);
    };
    repeated({kEmbeddingPart, kEmbeddingPart, 1});
    repeated({1, kEmbeddingPart, kEmbeddingPart - 2, kEmbeddingPart + 2, 3});
    repeated({kEmbeddingPart - 1, 2, 4 * kEmbeddingPart, 0, 1});
    repeated({3});
    repeated({kEmbeddingPart});
    repeated({kEmbeddingPart + 1});
  }
}

// All positions have one id. There are more parts than a block adds at once.
STEPSIZE_TEST(embeddingGradientOfOneIdEverywhere) {
  expectEmbeddingGradient(std::vector<int32_t>((2 * kMergeRows + 3) * kEmbeddingPart - 9, 1), 3, 6);
}

// More chunks than one launch merges: 16 and 1 merge to 17, of which the last is not full. The ids of text: the id of
// rank r has a probability proportional to 1/(r + 2.7).
STEPSIZE_TEST(embeddingGradientOfIdsOfText) {
  // With 17 chunks the race detector takes 15 seconds, and it would see no accesses that 3 chunks lack.
  const size_t count = stepsize::emulator::detectsRaces() ? 3000 : kIdRuns * kIdChunk + 700;
  constexpr size_t rows = 300;
  std::vector<double> upTo;
  for (size_t rank = 0; rank < rows; rank++)
    upTo.push_back((rank > 0 ? upTo.back() : 0) + 1 / (static_cast<double>(rank) + 2.7));
  const std::vector<float> random = numbers(count, 15);
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; i++) {
    const double place = (random[i] + 1) / 2 * upTo.back();
    ids[i] = static_cast<int32_t>(std::upper_bound(upTo.begin(), upTo.end(), place) - upTo.begin());
  }
  ids[5] = -1;
  ids[count - 1] = INT32_MIN;
  expectEmbeddingGradient(ids, rows, 3);
}

// The bits of a sum do not depend on the number of blocks. A bfloat16 sum is the float32 sum, rounded once.
STEPSIZE_TEST(embeddingGradientHasOneOrder) {
  constexpr size_t count = 3 * kEmbeddingPart + 5, width = 12, rows = 4;
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; i++) ids[i] = static_cast<int32_t>(i % 5 == 0 ? 3 : i * i % 3);
  const auto g = numbersOf<stepsize::BFloat16>(count * width, 16);
  std::vector<float> widened;
  for (const stepsize::BFloat16 x : g) widened.push_back(stepsize::toFloat(x));
  Buffer<stepsize::BFloat16> low(g), lowOut(std::vector<stepsize::BFloat16>(rows * width));
  Buffer<float> full(widened), fullOut(std::vector<float>(rows * width)), again(std::vector<float>(rows * width));
  embeddingGradient(ids, low, lowOut, rows, width);
  embeddingGradient(ids, full, fullOut, rows, width);
  embeddingGradient(ids, full, again, rows, width, 1);
  STEPSIZE_EXPECT(std::memcmp(fullOut.data(), again.data(), rows * width * sizeof(float)) == 0);
  for (size_t i = 0; i < rows * width; i++)
    STEPSIZE_EXPECT(lowOut[i].bits == stepsize::castElement<stepsize::BFloat16>(fullOut[i]).bits);
}

// There are more pairs than angles in shared memory at once, incomplete groups, and more sequences than share angles.
STEPSIZE_TEST(rotatesPairsByTheirPosition) {
  constexpr size_t length = 3, positions = length * (kRotarySequences + 2), heads = 2, half = kRotaryThreads + 6,
                   size = 2 * half;
  const std::vector<float> x = numbers(positions * heads * size, 19);
  Buffer<float> in(x), out(x.size());
  launch(rotaryKernel<float>, 2, kRotaryThreads, 0, nullptr, in.data(), out.data(),
         HeadShape{positions, length, heads, static_cast<int>(size)}, std::log2(1e4), 1.0f);
  expectAll(out, "a rotated number", [&](size_t at) {
    const size_t i = at % size % half, first = at / size * size + i;
    const auto position = static_cast<double>(at / size / heads % length);
    const double angle = position * std::pow(1e4, -2.0 * static_cast<double>(i) / size);
    const double a = x[first], b = x[first + half];
    return at % size < half ? a * std::cos(angle) - b * std::sin(angle) : b * std::cos(angle) + a * std::sin(angle);
  });
}
