// Tests that correct kernels give correct results in every thread order and without a report of a sanitizer, and that
// the same checks stop kernels with a planted fault. Faults that end the program are STEPSIZE_FAULTs and run one by
// one.
#define STEPSIZE_TEST_MAIN
#include "examples.cuh"

#include "faults.cuh"
#include "kernel_test.h"

namespace {

using namespace stepsize;
using namespace stepsize::emulator;
using stepsize::cuda::launch;

// Small integers, so that sums are exact in any order.
std::vector<float> integers(size_t count, unsigned seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 24) - 128.0f;
  }
  return values;
}

// The number of wrong elements of a + b.
template <class Kernel>
int wrongSums(Kernel kernel, int n) {
  Buffer<float> a(integers(n, 1)), b(integers(n, 2)), sum(n);
  const int blocks = (n + examples::kThreads - 1) / examples::kThreads;
  launch(kernel, blocks, examples::kThreads, 0, nullptr, a.data(), b.data(), sum.data(), n);
  int wrong = 0;
  for (int i = 0; i < n; i++) wrong += !(sum[i] == a[i] + b[i]);
  return wrong;
}

STEPSIZE_TEST(vectorsOfAnyLengthAreAdded) {
  for (const int n : {1, 3, 4, 127, 128, 129, 1000, 1023}) STEPSIZE_EXPECT(wrongSums(examples::addVectors, n) == 0);
}

STEPSIZE_TEST(aLostTailIsFound) {
  STEPSIZE_EXPECT(wrongSums(faults::lostTail, 1024) == 0);
  STEPSIZE_EXPECT(wrongSums(faults::lostTail, 1000) == 1000 % faults::kThreads);
}

STEPSIZE_TEST(blocksAreSummed) {
  for (const int n : {1, 100, 128, 1000}) {
    const int blocks = (n + examples::kThreads - 1) / examples::kThreads;
    Buffer<float> x(integers(n, 3)), sums(blocks);
    launch(examples::sumBlocks, blocks, examples::kThreads, 0, nullptr, x.data(), n, sums.data());
    for (int block = 0; block < blocks; block++) {
      float sum = 0;
      for (int i = block * examples::kThreads; i < n && i < (block + 1) * examples::kThreads; i++) sum += x[i];
      STEPSIZE_EXPECT(sums[block] == sum);
    }
  }
}

STEPSIZE_TEST(theLastBlockFinishesTheSum) {
  constexpr int kCount = 5001, kBlocks = 23;
  Buffer<float> x(integers(kCount, 4)), partial(kBlocks), total(1);
  Buffer<unsigned> finished(std::vector<unsigned>{0});
  float sum = 0;
  for (int i = 0; i < kCount; i++) sum += x[i];
  for (int round = 0; round < 2; round++) {
    total[0] = NAN;
    launch(examples::sumAll, kBlocks, examples::kThreads, 0, nullptr, x.data(), kCount, partial.data(), finished.data(),
           total.data());
    STEPSIZE_EXPECT(total[0] == sum && finished[0] == 0);
  }
}

STEPSIZE_TEST(aMatrixIsTransposed) {
  constexpr int kRows = 37, kColumns = 50, kTile = examples::kTile;
  Buffer<float> in(integers(kRows * kColumns, 5)), out(kRows * kColumns);
  launch(examples::transpose, dim3((kColumns + kTile - 1) / kTile, (kRows + kTile - 1) / kTile), dim3(kTile, kTile), 0,
         nullptr, in.data(), out.data(), kRows, kColumns);
  for (int row = 0; row < kRows; row++)
    for (int column = 0; column < kColumns; column++)
      STEPSIZE_EXPECT(out[column * kRows + row] == in[row * kColumns + column]);
}

STEPSIZE_TEST(dynamicSharedMemoryIsSizedByTheLaunch) {
  Buffer<float> in(integers(300, 6)), out(300);
  launch(examples::reverseStretches<float>, 3, 100, 100 * sizeof(float), nullptr, in.data(), out.data());
  for (int i = 0; i < 300; i++) STEPSIZE_EXPECT(out[i] == in[i / 100 * 100 + 99 - i % 100]);
}

// A missing barrier shows as results that depend on the thread order, or as NaN from memory that was not written.
template <class Run>
bool dependsOnOrder(const Run& run) {
  std::vector<float> first;
  for (const NamedOrder& named : kOrders) {
    settings().order = named.order;
    settings().seed = named.seed;
    const std::vector<float> result = run();
    if (first.empty()) first = result;
    if (memcmp(first.data(), result.data(), result.size() * sizeof(float)) != 0) return true;
    for (const float value : result)
      if (value != value) return true;
  }
  return false;
}

template <class Kernel>
std::vector<float> results(Kernel kernel, unsigned threads) {
  Buffer<float> in(integers(256, 7)), out(threads);
  launch(kernel, 1, threads, 0, nullptr, in.data(), out.data());
  return out.values();
}

// Does nothing: the check for order dependence must be able to pass.
__global__ void copies(const float* in, float* out) { out[threadIdx.x] = in[threadIdx.x]; }

STEPSIZE_TEST(missingBarriersAreFound) {
  settings().workers = 1;
  if (detectsRaces()) {
    expectError("race (", [] { results(faults::missingBarrier, faults::kThreads); });
    expectError("faults.cuh:", [] { results(faults::missingBarrier, faults::kThreads); });
    expectError("race (", [] { results(faults::missingSecondBarrier, faults::kThreads); });
    expectError("race (", [] { results(faults::missingWarpBarrier, 32); });
    expectError("race (", [] { results(faults::warpBarrierForBlock, faults::kThreads); });
    expectError("race (", [] { results(faults::overwritesWhatOthersRead, 32); });
    return;
  }
  STEPSIZE_EXPECT(!dependsOnOrder([] { return results(copies, 128); }));
  STEPSIZE_EXPECT(dependsOnOrder([] { return results(faults::missingBarrier, faults::kThreads); }));
  STEPSIZE_EXPECT(dependsOnOrder([] { return results(faults::missingSecondBarrier, faults::kThreads); }));
  STEPSIZE_EXPECT(dependsOnOrder([] { return results(faults::missingWarpBarrier, 32); }));
}

STEPSIZE_TEST(racesBetweenThreadsAndBlocksAreFound) {
  if (!detectsRaces()) return;
  Buffer<float> out(std::vector<float>(128, 0.0f));
  expectError("race (", [&] { launch(faults::plainAdd, 1, 64, 0, nullptr, out.data()); });
  expectError("race (between blocks)", [&] { launch(faults::overlappingBlocks, 2, 128, 0, nullptr, out.data()); });
  launch(faults::overlappingBlocks, 1, 128, 0, nullptr, out.data());
}

STEPSIZE_TEST(divergentBarriersAreFound) {
  Buffer<float> out(128);
  expectError("faults.cuh:", [&] { launch(faults::divergentBarrier, 1, 128, 0, nullptr, out.data()); });
  expectError("while others wait at", [&] { launch(faults::divergentBarrier, 1, 128, 0, nullptr, out.data()); });
}

STEPSIZE_TEST(deadlocksAreFound) {
  Buffer<float> out(64);
  const auto run = [&] { launch(faults::waitsForEachOther, 1, 64, 0, nullptr, out.data()); };
  expectError("deadlock in block (0,0,0): 64 of 64 threads wait", run);
  expectError("warp 0 lane 0: __shfl_xor_sync mask ffffffff at", run);
  expectError("warp 1 lane 20: __syncthreads at", run);
  // A kernel that was stopped in the middle leaves nothing behind.
  STEPSIZE_EXPECT(wrongSums(examples::addVectors, 1000) == 0);
}

STEPSIZE_TEST(wrongMasksAreFound) {
  Buffer<float> out(32);
  expectError("the mask lacks the calling lane",
              [&] { launch(faults::maskWithoutItself, 1, 32, 0, nullptr, out.data()); });
  const auto differ = [&] { launch(faults::collectivesDiffer, 1, 32, 0, nullptr, out.data()); };
  expectError("warp collective mismatch: ", differ);
  expectError("__shfl_xor_sync mask ffffffff at", differ);
  expectError("__ballot_sync mask ffffffff at", differ);
  settings().strictMasks = true;
  expectError("returned", [&] { launch(faults::masksDisagree, 1, 32, 0, nullptr, out.data()); });
}

STEPSIZE_TEST(unwrittenSharedMemoryIsNaN) {
  Buffer<float> out(std::vector<float>(128, 0.0f));
  launch(faults::readsUnwrittenShared, 1, 128, 0, nullptr, out.data());
  for (int i = 0; i < 128; i++) STEPSIZE_EXPECT(out[i] != out[i]);
}

STEPSIZE_FAULT(writesBeyondEnd) {
  Buffer<float> out(1000);
  launch(faults::writesBeyondEnd, 8, faults::kThreads, 0, nullptr, out.data());
}
STEPSIZE_FAULT(writesBeyondShared) {
  Buffer<float> out(128);
  launch(faults::writesBeyondShared, 1, faults::kThreads, 0, nullptr, out.data());
}
STEPSIZE_FAULT(writesBeyondDynamicShared) {
  Buffer<float> out(128);
  launch(faults::writesBeyondDynamicShared, 1, faults::kThreads, 127 * sizeof(float), nullptr, out.data());
}
STEPSIZE_FAULT(storesMisaligned) {
  Buffer<float> out(128);
  launch(faults::storesMisaligned, 1, 16, 0, nullptr, out.data());
}

}  // namespace
