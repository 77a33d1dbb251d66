// Tests of the emulator itself: each of CUDA's collectives behaves as the programming guide says.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/platform.cuh"
#include "kernel_test.h"

namespace {

using namespace stepsize::emulator;
using stepsize::cuda::launch;

__global__ void whereAmI(unsigned* out) {
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] =
      threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x + 10000 * blockIdx.y + 100000 * blockIdx.z;
}

STEPSIZE_TEST(threadsAndBlocksAreNumbered) {
  const dim3 grid(3, 2, 2), block(4, 3, 2);
  Buffer<unsigned> out(12 * 24);
  launch(whereAmI, grid, block, 0, nullptr, out.data());
  STEPSIZE_EXPECT(out[0] == 0);
  STEPSIZE_EXPECT(out[23] == 123);
  STEPSIZE_EXPECT(out[24 * 4 + 5] == 11011);  // block (1,1,0), thread (1,1,0)
  STEPSIZE_EXPECT(out[12 * 24 - 1] == 112123);
}

__global__ void shuffles(const int* in, int4* whole, int4* parts) {
  const int value = in[threadIdx.x];
  const unsigned all = 0xffffffffu;
  whole[threadIdx.x] = make_int4(__shfl_sync(all, value, 5), __shfl_xor_sync(all, value, 3),
                                 __shfl_down_sync(all, value, 2), __shfl_up_sync(all, value, 2));
  parts[threadIdx.x] = make_int4(__shfl_sync(all, value, 5, 8), __shfl_xor_sync(all, value, 8, 8),
                                 __shfl_down_sync(all, value, 2, 8), __shfl_up_sync(all, value, 2, 8));
}

STEPSIZE_TEST(shufflesMoveValuesBetweenLanes) {
  std::vector<int> values(64);
  for (int i = 0; i < 64; i++) values[i] = 100 + i;
  Buffer<int> in(values);
  Buffer<int4> whole(64), parts(64);
  launch(shuffles, 1, 64, 0, nullptr, in.data(), whole.data(), parts.data());
  for (int i = 0; i < 64; i++) {
    const int lane = i % 32, warp = 100 + i / 32 * 32, part = 100 + i / 8 * 8, inPart = i % 8;
    STEPSIZE_EXPECT(whole[i].x == warp + 5);
    STEPSIZE_EXPECT(whole[i].y == warp + (lane ^ 3));
    STEPSIZE_EXPECT(whole[i].z == (lane + 2 < 32 ? 102 + i : 100 + i));
    STEPSIZE_EXPECT(whole[i].w == (lane >= 2 ? 98 + i : 100 + i));
    STEPSIZE_EXPECT(parts[i].x == part + 5);
    // A lane cannot read beyond its part of the warp: lanes 8 to 15 may read the part below, the others keep their
    // values.
    STEPSIZE_EXPECT(parts[i].y == (i & 8 ? 100 + i - 8 : 100 + i));
    STEPSIZE_EXPECT(parts[i].z == (inPart + 2 < 8 ? 102 + i : 100 + i));
    STEPSIZE_EXPECT(parts[i].w == (inPart >= 2 ? 98 + i : 100 + i));
  }
}

__global__ void shuffleOfDoubles(double* out) { out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, out[threadIdx.x], 1); }

STEPSIZE_TEST(shufflesMoveEightBytes) {
  std::vector<double> values(32);
  for (int i = 0; i < 32; i++) values[i] = 1 + i * 1e-12;
  Buffer<double> out(values);
  launch(shuffleOfDoubles, 1, 32, 0, nullptr, out.data());
  for (int i = 0; i < 32; i++) STEPSIZE_EXPECT(out[i] == values[i ^ 1]);
}

__global__ void votes(uint4* out) {
  const unsigned lane = threadIdx.x % 32;
  out[threadIdx.x] = make_uint4(__ballot_sync(0xffffffffu, lane & 1), __any_sync(0xffffffffu, lane == 7),
                                __all_sync(0xffffffffu, lane < 32), __all_sync(0xffffffffu, lane != 7));
}

STEPSIZE_TEST(votesCountEveryLane) {
  Buffer<uint4> out(32);
  launch(votes, 1, 32, 0, nullptr, out.data());
  for (int i = 0; i < 32; i++)
    STEPSIZE_EXPECT(out[i].x == 0xaaaaaaaau && out[i].y == 1 && out[i].z == 1 && out[i].w == 0);
}

// Half-warps with different masks in divergent code, and a warp whose upper half has returned.
__global__ void partialWarps(float* out) {
  if (threadIdx.x >= 48) return;
  float value = static_cast<float>(threadIdx.x);
  if (threadIdx.x < 16)
    for (int lanes = 8; lanes > 0; lanes >>= 1) value += __shfl_xor_sync(0x0000ffffu, value, lanes);
  else if (threadIdx.x < 32)
    for (int lanes = 8; lanes > 0; lanes >>= 1) value += __shfl_down_sync(0xffff0000u, value, lanes, 16);
  else
    value = __shfl_sync(0xffffffffu, value, 3);
  __syncthreads();
  out[threadIdx.x] = value;
}

STEPSIZE_TEST(lanesMayReturnEarlyAndDiverge) {
  Buffer<float> out(std::vector<float>(64, -1.0f));
  launch(partialWarps, 1, 64, 0, nullptr, out.data());
  STEPSIZE_EXPECT(out[0] == 120 && out[15] == 120);
  STEPSIZE_EXPECT(out[16] == 376);
  STEPSIZE_EXPECT(out[32] == 35 && out[47] == 35);
  STEPSIZE_EXPECT(out[48] == -1);
}

// Lane 0 has a collective with lane 2 before it has one with lane 1, which may get there first.
__global__ void meetsOneAfterTheOther(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  if (lane == 2) out[2] = __shfl_sync(0b101u, lane, 0);
  if (lane == 0) out[0] = __shfl_sync(0b101u, lane, 2);
  if (lane < 2) out[lane] += 10 * __shfl_sync(0b011u, lane + 1, 1 - lane);
}

STEPSIZE_TEST(groupsOfLanesMayWaitForEachOther) {
  Buffer<int> out(std::vector<int>(3, 0));
  launch(meetsOneAfterTheOther, 1, 3, 0, nullptr, out.data());
  STEPSIZE_EXPECT(out[0] == 22 && out[1] == 10 && out[2] == 0);
}

__global__ void readsReturnedLane(float* out) {
  if (threadIdx.x >= 16) return;
  out[threadIdx.x] = __shfl_sync(0xffffffffu, 1.0f, 20);
}

STEPSIZE_TEST(aReturnedLaneShufflesNaN) {
  Buffer<float> out(std::vector<float>(16, 0.0f));
  launch(readsReturnedLane, 1, 32, 0, nullptr, out.data());
  for (int i = 0; i < 16; i++) STEPSIZE_EXPECT(out[i] != out[i]);
  // CUDA allows such a mask, but it is rarely intended.
  settings().strictMasks = true;
  for (const Order order : {Order::forward, Order::reverse}) {
    settings().order = order;
    expectError("returned", [&] { launch(readsReturnedLane, 1, 32, 0, nullptr, out.data()); });
  }
}

__global__ void barriers(int* order, int4* results) {
  STEPSIZE_SHARED(int, arrived, [1]);
  if (threadIdx.x == 0) arrived[0] = 0;
  __syncthreads();
  atomicAdd(&arrived[0], 1);
  __syncthreads();
  order[threadIdx.x] = arrived[0];
  const int small = threadIdx.x < 10;
  const int count = __syncthreads_count(small), any = __syncthreads_or(small), all = __syncthreads_and(small);
  results[threadIdx.x] = make_int4(count, any, all, __syncthreads_and(1));
}

STEPSIZE_TEST(aBarrierWaitsForAllThreads) {
  Buffer<int> order(96);
  Buffer<int4> results(96);
  launch(barriers, 1, 96, 0, nullptr, order.data(), results.data());
  for (int i = 0; i < 96; i++) {
    STEPSIZE_EXPECT(order[i] == 96);
    STEPSIZE_EXPECT(results[i].x == 10 && results[i].y == 1 && results[i].z == 0 && results[i].w == 1);
  }
}

// The last thread returns when all others may already be waiting.
__global__ void returnsBeforeBarrier(float* out) {
  if (threadIdx.x == 95 || threadIdx.x == 0) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

STEPSIZE_TEST(aBarrierDoesNotWaitForReturnedThreads) {
  Buffer<float> out(std::vector<float>(96, 0.0f));
  launch(returnsBeforeBarrier, 1, 96, 0, nullptr, out.data());
  for (int i = 0; i < 96; i++) STEPSIZE_EXPECT(out[i] == (i == 0 || i == 95 ? 0.0f : 1.0f));
}

__global__ void warpExchange(const float* in, float* out) {
  STEPSIZE_SHARED(float, all, [32]);
  all[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  out[threadIdx.x] = all[31 - threadIdx.x];
}

STEPSIZE_TEST(aWarpBarrierOrdersItsWarp) {
  std::vector<float> values(32);
  for (int i = 0; i < 32; i++) values[i] = static_cast<float>(i);
  Buffer<float> in(values), out(32);
  launch(warpExchange, 1, 32, 0, nullptr, in.data(), out.data());
  for (int i = 0; i < 32; i++) STEPSIZE_EXPECT(out[i] == static_cast<float>(31 - i));
}

struct Counters {
  float sum;
  int largest, smallest;
  unsigned ring, bits, firsts;
  unsigned long long wide;
};

__global__ void atomics(Counters* counters) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&counters->sum, 1.0f);
  atomicMax(&counters->largest, i);
  atomicMin(&counters->smallest, -i);
  atomicInc(&counters->ring, 6);
  atomicOr(&counters->bits, 1u << i % 32);
  atomicAdd(&counters->wide, 1ull << 32);
  if (atomicCAS(&counters->firsts, 0u, 1u) == 0u) atomicExch(&counters->firsts, 7u);
}

STEPSIZE_TEST(atomicsLoseNothing) {
  Buffer<Counters> counters(std::vector<Counters>{{0, -1, 1, 0, 0, 0, 0}});
  launch(atomics, 50, 100, 0, nullptr, counters.data());
  const Counters& c = counters[0];
  STEPSIZE_EXPECT(c.sum == 5000 && c.largest == 4999 && c.smallest == -4999);
  STEPSIZE_EXPECT(c.ring == 5000 % 7 && c.bits == 0xffffffffu && c.firsts == 7 && c.wide == 5000ull << 32);
}

template <int kValue>
__device__ int sharedOfTemplate() {
  STEPSIZE_SHARED(int, value, [1]);
  value[0] = kValue;
  return value[0];
}

__global__ void separateVariables(int* out) {
  STEPSIZE_SHARED(int, first, [4]);
  STEPSIZE_SHARED(int, second, [4]);
  STEPSIZE_SHARED(double, grid, [2][3]);
  first[0] = 1;
  second[0] = 2;
  grid[1][2] = 3;
  const int a = sharedOfTemplate<10>(), b = sharedOfTemplate<20>();
  out[0] = first[0] + second[0] + static_cast<int>(grid[1][2]) + a + b;
  out[1] = sizeof(first) == 16 && sizeof(grid) == 48;
  out[2] = reinterpret_cast<uintptr_t>(&grid) % 16 == 0;
}

STEPSIZE_TEST(sharedVariablesAreSeparate) {
  Buffer<int> out(3);
  launch(separateVariables, 1, 1, 0, nullptr, out.data());
  STEPSIZE_EXPECT(out[0] == 36 && out[1] == 1 && out[2] == 1);
}

__global__ void roundsToBfloat16(const float* in, unsigned short* out) {
  out[threadIdx.x] = __bfloat16_as_ushort(__float2bfloat16_rn(in[threadIdx.x]));
}

STEPSIZE_TEST(bfloat16RoundsToNearestEven) {
  // 1, halfway down to even, just above halfway, halfway up to even, overflow, −∞, NaN.
  Buffer<float> in(std::vector<float>{1.0f, __uint_as_float(0x3f808000u), __uint_as_float(0x3f808001u),
                                      __uint_as_float(0x3f818000u), 3.4e38f, -INFINITY, NAN});
  const unsigned short expected[] = {0x3f80, 0x3f80, 0x3f81, 0x3f82, 0x7f80, 0xff80, 0x7fff};
  Buffer<unsigned short> out(7);
  launch(roundsToBfloat16, 1, 7, 0, nullptr, in.data(), out.data());
  for (int i = 0; i < 7; i++) STEPSIZE_EXPECT(out[i] == expected[i]);
}

__global__ void nothing() {}
__global__ void tooMuchShared() {
  STEPSIZE_SHARED(float, all, [3000]);
  all[threadIdx.x] = 0;
}
__global__ void traps() { __trap(); }

STEPSIZE_TEST(launchesThatADeviceRefusesThrow) {
  expectError("invalid block (1025,1,1)", [] { launch(nothing, 1, 1025, 0, nullptr); });
  expectError("invalid block (32,33,1)", [] { launch(nothing, 1, dim3(32, 33), 0, nullptr); });
  expectError("invalid block (1,1,65)", [] { launch(nothing, 1, dim3(1, 1, 65), 0, nullptr); });
  expectError("invalid block (0,1,1)", [] { launch(nothing, 1, 0, 0, nullptr); });
  expectError("invalid grid (0,1,1)", [] { launch(nothing, 0, 32, 0, nullptr); });
  expectError("invalid grid (1,65536,1)", [] { launch(nothing, dim3(1, 65536), 32, 0, nullptr); });
  expectError("over the limit of 49152", [] { launch(nothing, 1, 32, 49153, nullptr); });
  // Static and dynamic shared memory share one limit.
  expectError("shared memory: 49156 bytes", [] { launch(tooMuchShared, 1, 32, 49156 - 12000, nullptr); });
  launch(tooMuchShared, 1, 32, 49152 - 12000, nullptr);
  expectError("block (0,0,0) thread (0,0,0): __trap()", [] { launch(traps, 1, 1, 0, nullptr); });
  launch(nothing, 1, 1024, 49152, nullptr);
}

__global__ void recordsTurn(int* turn, int* next) { turn[threadIdx.x] = atomicAdd(next, 1); }

STEPSIZE_TEST(ordersPermuteThreads) {
  const auto turns = [](Order order, uint64_t seed) {
    settings().order = order;
    settings().seed = seed;
    Buffer<int> turn(64), next(std::vector<int>{0});
    launch(recordsTurn, 1, 64, 0, nullptr, turn.data(), next.data());
    return turn.values();
  };
  std::vector<int> forward, backward;
  for (int i = 0; i < 64; i++) {
    forward.push_back(i);
    backward.push_back(63 - i);
  }
  STEPSIZE_EXPECT(turns(Order::forward, 1) == forward);
  STEPSIZE_EXPECT(turns(Order::reverse, 1) == backward);
  STEPSIZE_EXPECT(turns(Order::random, 1) == turns(Order::random, 1));
  STEPSIZE_EXPECT(turns(Order::random, 1) != turns(Order::random, 2));
  STEPSIZE_EXPECT(turns(Order::random, 1) != forward);
}

__global__ void recordsBeginAndEnd(int* begin, int* end, int* next) {
  begin[threadIdx.x] = atomicAdd(next, 1);
  __syncwarp();
  __syncwarp();
  end[threadIdx.x] = atomicAdd(next, 1);
}

STEPSIZE_TEST(greedyOrdersLetAWarpRunAhead) {
  // The turn at which each warp's first thread begins and its last one ends.
  const auto turns = [](Order order) {
    settings().order = order;
    Buffer<int> begin(64), end(64), next(std::vector<int>{0});
    launch(recordsBeginAndEnd, 1, 64, 0, nullptr, begin.data(), end.data(), next.data());
    const std::vector<int> b = begin.values(), e = end.values();
    return std::vector<int>{*std::min_element(b.begin(), b.begin() + 32), *std::max_element(e.begin(), e.begin() + 32),
                            *std::min_element(b.begin() + 32, b.end()), *std::max_element(e.begin() + 32, e.end())};
  };
  STEPSIZE_EXPECT((turns(Order::greedy) == std::vector<int>{0, 63, 64, 127}));
  STEPSIZE_EXPECT((turns(Order::greedyReverse) == std::vector<int>{64, 127, 0, 63}));
  const std::vector<int> forward = turns(Order::forward);
  STEPSIZE_EXPECT(forward[1] > forward[2]);  // warp 1 begins before warp 0 has ended
}

struct RecordingStream : CUstream_st {
  std::vector<std::function<void()>> recorded;
  void submit(const std::function<void()>& work) override { recorded.push_back(work); }
};

__global__ void add(int* sum, int value) { atomicAdd(sum, value); }

STEPSIZE_TEST(aStreamMayKeepALaunchForLater) {
  RecordingStream stream;
  Buffer<int> sum(std::vector<int>{0});
  int value = 2;
  launch(add, 1, 1, 0, &stream, sum.data(), value);
  value = 100;  // NOLINT(clang-analyzer-deadcode.DeadStores): the launch keeps the earlier value
  expectError("invalid block", [&] { launch(add, 1, 2000, 0, &stream, sum.data(), 1); });
  STEPSIZE_EXPECT(sum[0] == 0 && stream.recorded.size() == 1);
  for (int replay = 0; replay < 3; replay++) stream.recorded[0]();
  STEPSIZE_EXPECT(sum[0] == 6);
}

// Each of these fails; they test the test framework.
STEPSIZE_FAULT(failsAnExpectation) { STEPSIZE_EXPECT(1 + 1 == 3); }
STEPSIZE_FAULT(missesAnError) {
  expectError("deadlock", [] { launch(nothing, 1, 32, 0, nullptr); });
}
STEPSIZE_FAULT(throwsFromATest) { launch(nothing, 1, 2000, 0, nullptr); }

}  // namespace
