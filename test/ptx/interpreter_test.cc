// Tests of the PTX interpreter: that it computes correctly, and that it detects errors of a kernel. Each launch runs
// the PTX that nvcc made from examples.cuh.
#define STEPSIZE_TEST_MAIN
#include "interpreter.h"

#include <cmath>
#include <filesystem>

#include "../emulator/cuda_runtime_emulated.h"
#include "../emulator/kernel_test.h"
#include "examples.cuh"
#include "settings.h"

namespace {

using namespace stepsize::cuda;
using stepsize::emulator::expectError;
using stepsize::ptx::Schedule;

constexpr Schedule kSchedules[] = {Schedule::inOrder, Schedule::random, Schedule::switching, Schedule::diverging};

// Device memory; a kernel may not access addresses that the runtime did not allocate.
template <class T>
class Array {
 public:
  explicit Array(size_t count) : count_(count) { cudaMalloc(&data_, count * sizeof(T)); }
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    cudaMemcpyAsync(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice);
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { cudaFree(data_); }
  T* data() { return data_; }
  std::vector<T> values() {
    std::vector<T> values(count_);
    cudaMemcpyAsync(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  size_t count_;
  T* data_ = nullptr;
};

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = static_cast<float>(std::sin(1.0 + 3.0 * static_cast<double>(i)));
  return values;
}

// Runs `work` in every schedule, with the checks on.
template <class Work>
void inEverySchedule(const Work& work) {
  const auto kept = stepsize::ptx::settings();
  for (const Schedule schedule : kSchedules)
    for (uint64_t seed = 1; seed <= 3; seed++) {
      stepsize::ptx::settings() = {schedule, seed, true, 0};
      work();
    }
  stepsize::ptx::settings() = kept;
}

// Expects that at least one schedule detects the error of a kernel.
template <class Work>
void expectFound(const char* part, const Work& work) {
  bool isFound = false;
  inEverySchedule([&] {
    try {
      work();
    } catch (const stepsize::emulator::Error& error) {
      isFound = isFound || strstr(error.what(), part) != nullptr;
      stepsize::emulator::expect(strstr(error.what(), part) != nullptr, error.what(), __FILE__, __LINE__);
    }
  });
  stepsize::emulator::expect(isFound, std::string("nothing was found: ") + part, __FILE__, __LINE__);
}

}  // namespace

STEPSIZE_TEST(seesTheOrderThatNvccChose) {
  const std::vector<float> moments = numbers(32), gradients = numbers(64);
  Array<float> m(moments), g(gradients), out(32);
  launch(plantedOrderKernel, 1, 32, 0, nullptr, m.data(), g.data(), out.data());
  const std::vector<float> moved = m.values(), results = out.values();
  for (size_t i = 0; i < 32; i++) {
    float moment = moments[i];
    const float ofThisCompiler = plantedOrder(moment, gradients[i]);
    STEPSIZE_EXPECT(moved[i] == moment);
    STEPSIZE_EXPECT(ofThisCompiler == moment);
    STEPSIZE_EXPECT(results[i] == moments[i]);
  }
}

// This includes the kernels that no test launches.
STEPSIZE_TEST(knowsTheInstructionsOfAllKernels) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../Release/ptx";
  size_t kernels = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) kernels += stepsize::ptx::decodeAll(file.path());
  STEPSIZE_EXPECT(kernels > 200);
}

STEPSIZE_TEST(computesAsHardwareDoes) {
  std::vector<float> x = numbers(32), y(32);
  for (size_t i = 0; i < 32; i++) y[i] = x[(i + 5) % 32] + 2;
  x[3] = -0.0f;
  x[4] = INFINITY;
  x[5] = 1e-40f;
  Array<float> a(x), b(y), out(8 * 32);
  launch(arithmeticKernel, 1, 32, 0, nullptr, a.data(), b.data(), out.data());
  const std::vector<float> got = out.values();
  for (size_t i = 0; i < 32; i++) {
    const float* results = &got[8 * i];
    // Without contraction there are two roundings. The variable makes this compiler round twice as well.
    const float rounded = x[i] * y[i];
    STEPSIZE_EXPECT(results[0] == rounded + 1.0f);
    STEPSIZE_EXPECT(results[1] == std::fma(x[i], y[i], 1.0f));
    STEPSIZE_EXPECT(results[2] == x[i] / y[i]);
    STEPSIZE_EXPECT(results[3] == std::sqrt(std::fabs(x[i])));
    // CUDA documents an error of two units in the last place.
    const double exact = std::exp(static_cast<double>(x[i]));
    STEPSIZE_EXPECT(results[4] == INFINITY ? x[i] == INFINITY
                                           : std::abs(static_cast<double>(results[4]) - exact) <= 2 * 1.2e-7 * exact);
    STEPSIZE_EXPECT(results[5] == std::fmin(x[i], y[i]));
    STEPSIZE_EXPECT(results[6] == (x[i] == INFINITY ? 2147483647.0f : std::trunc(x[i] * 100.0f)));
    STEPSIZE_EXPECT(results[7] == stepsize::toFloat(stepsize::toBFloat16(x[i])));
  }
}

STEPSIZE_TEST(multipliesInTf32) {
  std::vector<float> a = numbers(16 * 8), b = numbers(8 * 8);
  a[0] = 1 + 0x1p-11f;  // a tie, which goes to the even 1
  a[1] = 1 + 0x3p-11f;  // a tie, which goes to the even 1 + 2⁻⁹
  // The significand as a whole number of 11 bits.
  const auto rounded = [](float x) {
    int exponent = 0;
    const double significand = std::frexp(static_cast<double>(x), &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(significand, 11)), exponent - 11);
  };
  STEPSIZE_EXPECT(rounded(a[0]) == 1 && rounded(a[1]) == 1 + 0x1p-9);
  Array<float> left(a), right(b), out(16 * 8);
  launch(tf32Kernel<true>, 1, 32, 0, nullptr, left.data(), right.data(), out.data());
  const std::vector<float> got = out.values();
  for (size_t at = 0; at < got.size(); at++) {
    double sum = 0;
    for (size_t k = 0; k < 8; k++) sum += rounded(a[at / 8 * 8 + k]) * rounded(b[8 * k + at % 8]);
    STEPSIZE_EXPECT(got[at] == static_cast<float>(sum));
  }
  expectError("not rounded to TF32",
              [&] { launch(tf32Kernel<false>, 1, 32, 0, nullptr, left.data(), right.data(), out.data()); });
}

STEPSIZE_TEST(joinsLanesThatDiverged) {
  const auto stepsOf = [](int n) {
    int steps = 0;
    for (; n != 1; steps++) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    return steps;
  };
  inEverySchedule([&] {
    Array<int> out(64);
    launch(divergingKernel, 1, 64, 0, nullptr, out.data());
    const std::vector<int> got = out.values();
    for (int i = 0; i < 64; i++) STEPSIZE_EXPECT(got[static_cast<size_t>(i)] == stepsOf(i + 1) + stepsOf((i ^ 1) + 1));
  });
}

STEPSIZE_TEST(findsARaceInSharedMemory) {
  const std::vector<float> x = numbers(64);
  inEverySchedule([&] {
    Array<float> in(x), out(64);
    launch(sharedSumKernel<true>, 1, 64, 0, nullptr, in.data(), out.data());
    const std::vector<float> got = out.values();
    for (size_t i = 0; i < 64; i++) STEPSIZE_EXPECT(got[i] == x[i] + x[63 - i]);
  });
  // If a thread reads before the other one has written, the memory is uninitialized.
  const auto kept = stepsize::ptx::settings();
  stepsize::ptx::settings() = {Schedule::inOrder, 1, true, 0};
  Array<float> in(x), out(64);
  const auto run = [&] { launch(sharedSumKernel<false>, 1, 64, 0, nullptr, in.data(), out.data()); };
  expectError("uninitialized shared memory", run);
  stepsize::ptx::settings() = kept;
}

STEPSIZE_TEST(findsWhatWasNeverWritten) {
  expectFound("read of uninitialized shared memory", [] {
    Array<float> out(32);
    launch(uninitializedKernel, 1, 32, 0, nullptr, out.data());
  });
}

STEPSIZE_TEST(findsMissingFences) {
  inEverySchedule([] {
    Array<float> partial(8), out(1);
    Array<unsigned> finished(std::vector<unsigned>{0});
    launch(lastBlockKernel<true>, 8, 64, 0, nullptr, partial.data(), finished.data(), out.data());
    STEPSIZE_EXPECT(out.values()[0] == 36.0f);
  });
  expectFound("race, read after write by", [] {
    Array<float> partial(8), out(1);
    Array<unsigned> finished(std::vector<unsigned>{0});
    launch(lastBlockKernel<false>, 8, 64, 0, nullptr, partial.data(), finished.data(), out.data());
  });
}

STEPSIZE_TEST(findsReadsOfCopiesUnderWay) {
  const std::vector<float4> x(32, float4{1, 2, 3, 4});
  inEverySchedule([&] {
    Array<float4> in(x), out(32);
    launch(asyncCopyKernel<true>, 1, 32, 0, nullptr, in.data(), out.data());
    STEPSIZE_EXPECT(out.values()[17].z == 3.0f);
  });
  expectFound("read of uninitialized shared memory", [&] {
    Array<float4> in(x), out(32);
    launch(asyncCopyKernel<false>, 1, 32, 0, nullptr, in.data(), out.data());
  });
}

STEPSIZE_TEST(findsDeadlocks) {
  expectFound("deadlock", [] {
    Array<int> out(std::vector<int>(32));
    launch(deadlockKernel, 1, 32, 0, nullptr, out.data());
  });
}

STEPSIZE_TEST(findsAccessesOutOfBounds) {
  Array<float> x(8);
  expectError("write of 4 bytes outside of any allocation",
              [&] { launch(outOfBoundsKernel, 1, 1, 0, nullptr, x.data(), 1 << 20); });
  expectError("misaligned", [&] {
    launch(outOfBoundsKernel, 1, 1, 0, nullptr, reinterpret_cast<float*>(reinterpret_cast<char*>(x.data()) + 2), 0);
  });
}
