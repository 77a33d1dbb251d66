// prepareStepKernel gives the same bits as the functions of native/update/prepare.h on the host, both with a table of
// the schedule and with hyper-parameters that the host writes.
#define STEPSIZE_TEST_MAIN
#include <cmath>
#include <limits>

#include "../../native/cuda/update.cuh"
#include "tensor_list.h"

namespace {

using namespace stepsize;
using namespace stepsize::test;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// All groups differ, and every option is on in some and off in others.
std::vector<update::Hyper> hyperOf(size_t groups) {
  std::vector<update::Hyper> hyper;
  for (size_t g = 0; g < groups; g++) {
    const auto number = static_cast<double>(g);
    const auto every = [g](size_t n) { return g % n == 0 ? 1.0 : 0.0; };
    hyper.push_back({.learningRate = 0.01 * (number + 1),
                     .weightDecay = 0.1,
                     .decoupledDecay = every(2),
                     .maximize = every(3),
                     .beta1 = 0.9 - 1e-4 * number,
                     .beta2 = 0.999 - 1e-5 * number,
                     .epsilon = 1e-8,
                     .momentum = 0.9,
                     .dampening = 0.1,
                     .nesterov = every(5),
                     .biasCorrection = every(7)});
  }
  return hyper;
}

std::vector<update::Scheduled> scheduleOf(size_t steps, size_t groups) {
  std::vector<update::Scheduled> rows;
  for (size_t row = 0; row < steps * groups; row++) {
    const double part = static_cast<double>(row + 1) / static_cast<double>(steps * groups);
    rows.push_back({0.1 * part, 0.9 * part, 0.8 * part});
  }
  return rows;
}

// The memory of a step: everything that the kernel writes, and the hyper-parameters.
struct Memory {
  Buffer<update::Hyper> hyper;
  Buffer<update::State> state;
  Buffer<update::GroupState> groups;
  Buffer<int32_t> groupOf, updates;
  Buffer<update::Scalars> scalars;

  // Each group has about three parameters.
  explicit Memory(const std::vector<update::Hyper>& hyper)
      : hyper(hyper),
        state(std::vector<update::State>(1)),
        groups(std::vector<update::GroupState>(hyper.size())),
        groupOf(3 * hyper.size() + 2),
        updates(std::vector<int32_t>(3 * hyper.size() + 2)),
        scalars(hyper.size() + groupOf.size()) {
    for (size_t i = 0; i < groupOf.size(); i++) groupOf[i] = static_cast<int32_t>(7 * i % hyper.size());
  }

  update::StepTables tables(const update::Scheduled* schedule = nullptr, int64_t steps = 0) {
    return {hyper.data(),
            static_cast<int64_t>(hyper.size()),
            schedule,
            steps,
            state.data(),
            groups.data(),
            groupOf.data(),
            updates.data(),
            static_cast<int64_t>(groupOf.size()),
            scalars.data()};
  }

  void prepare(const update::StepOptions& options, const double* norm, const update::Scheduled* schedule = nullptr,
               int64_t steps = 0, const float* weight = nullptr) {
    cuda::launch(cuda::prepareStepKernel, 1, cuda::kPrepareThreads, 0, nullptr, tables(schedule, steps), norm, weight,
                 options);
  }

  // Counts updates as the update kernel does. Every fifth parameter takes no part in every second step.
  void countUpdates(size_t step) {
    for (size_t i = 0; i < updates.size(); i++)
      if (step % 2 == 0 || i % 5 != 0) update::countUpdate(updates[i], scalars[hyper.size() + i]);
  }
};

template <class T>
bool haveSameBits(Buffer<T>& a, Buffer<T>& b) {
  return memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

void expectSame(const std::string& where, Memory& a, Memory& b) {
  expectIn(where, haveSameBits(a.scalars, b.scalars), "scalars");
  expectIn(where, haveSameBits(a.state, b.state), "state");
  expectIn(where, haveSameBits(a.groups, b.groups), "states of the groups");
  expectIn(where, haveSameBits(a.updates, b.updates), "counts of updates");
}

// Computes on the host what the kernel must compute.
void prepareOnHost(Memory& memory, const update::StepOptions& options, double norm) {
  const bool apply = update::beginStep(memory.state[0], options, norm);
  const update::StepTables tables = memory.tables();
  for (int64_t g = 0; g < tables.groups; g++) update::prepareGroup(tables, g, apply, options);
  for (int64_t i = 0; i < tables.parameters; i++) update::prepareParameter(tables, i, apply, options);
}

struct Options {
  const char* name;
  update::StepOptions options;
};
constexpr Options kOptions[] = {{"plain", {0, false, false, 1}},
                                {"clipping", {1, false, false, 0.5}},
                                {"checking", {0, true, false, 1}},
                                {"skipping", {1, true, true, 1}}};
// Depending on the options, the steps with a non-finite norm are left out, or all steps from the first one on.
const std::vector<double> kNorms = {3, 0.5, kInfinity, 0, kNan, 2};

// The last number is larger than the number of threads.
constexpr size_t kGroupCounts[] = {1, 3, 300};

STEPSIZE_TEST(scalarsHaveTheBitsOfTheHost) {
  for (const size_t groups : kGroupCounts)
    for (const Options& each : kOptions) {
      Memory kernel(hyperOf(groups)), host(hyperOf(groups));
      for (size_t step = 0; step < kNorms.size(); step++) {
        kernel.prepare(each.options, &kNorms[step]);
        prepareOnHost(host, each.options, kNorms[step]);
        kernel.countUpdates(step);
        host.countUpdates(step);
        expectSame(std::to_string(groups) + " groups, " + each.name, kernel, host);
      }
      STEPSIZE_EXPECT(kernel.state[0].iteration == static_cast<double>(kNorms.size()));
    }
}

STEPSIZE_TEST(theNormIsZeroIfThereIsNone) {
  Memory kernel(hyperOf(3)), host(hyperOf(3));
  kernel.prepare(kOptions[0].options, nullptr);
  prepareOnHost(host, kOptions[0].options, 0);
  expectSame("no norm", kernel, host);
  STEPSIZE_EXPECT(kernel.state[0].norm == 0 && kernel.scalars[0].apply == 1);
}

// Gradients of sums are divided by the total weight. If it is 0, the gradient of the step is zero.
STEPSIZE_TEST(gradientsAreDividedByTheTotalWeight) {
  for (const Options& each : kOptions)
    for (const float weight : {5.0f, 0.375f, 0.0f}) {
      Memory kernel(hyperOf(3)), host(hyperOf(3));
      update::StepOptions divided = each.options;
      divided.gradientScale = weight == 0 ? 0 : divided.gradientScale / static_cast<double>(weight);
      for (const double norm : kNorms) {
        kernel.prepare(each.options, &norm, nullptr, 0, &weight);
        prepareOnHost(host, divided, norm);
        expectSame(std::string(each.name) + ", weight " + std::to_string(weight), kernel, host);
      }
    }
}

// The row of the schedule is that of the iteration, which also counts steps that are left out. After the last row, it
// stays at the last one.
STEPSIZE_TEST(theScheduleReplacesHyperParametersOfTheHost) {
  for (const size_t groups : kGroupCounts)
    for (const size_t steps : {size_t{1}, size_t{4}})
      for (const Options& each : kOptions) {
        Buffer<update::Scheduled> rows(scheduleOf(steps, groups));
        Memory scheduled(hyperOf(groups)), written(hyperOf(groups));
        for (size_t step = 0; step < kNorms.size(); step++) {
          for (size_t g = 0; g < groups; g++) {
            const update::Scheduled& row = rows[std::min(step, steps - 1) * groups + g];
            written.hyper[g].learningRate = row.learningRate;
            written.hyper[g].beta1 = row.beta1;
            written.hyper[g].momentum = row.momentum;
          }
          scheduled.prepare(each.options, &kNorms[step], rows.data(), static_cast<int64_t>(steps));
          written.prepare(each.options, &kNorms[step]);
          expectSame(std::to_string(groups) + " groups, step " + std::to_string(step) + " of " + std::to_string(steps) +
                         ", " + each.name,
                     scheduled, written);
        }
        // The kernel does not change the hyper-parameters.
        STEPSIZE_EXPECT(scheduled.hyper[0].learningRate == hyperOf(1)[0].learningRate);
      }
}

// The scalars of a parameter follow its count of updates. The scalars of a group follow the optimizer's count.
STEPSIZE_TEST(theScalarsOfAParameterFollowItsCount) {
  Memory memory(hyperOf(3));
  const double norm = 1;
  for (size_t step = 0; step < 5; step++) {
    memory.prepare(kOptions[0].options, &norm);
    for (size_t i = 0; i < memory.groupOf.size(); i++) {
      const auto& hyper = memory.hyper[static_cast<size_t>(memory.groupOf[i])];
      const update::Scalars& scalars = memory.scalars[3 + i];
      const int update = memory.updates[i] + 1;
      const double corrected = hyper.learningRate / (1 - std::pow(hyper.beta1, update));
      const double expected = hyper.biasCorrection != 0 ? corrected : hyper.learningRate;
      STEPSIZE_EXPECT(std::fabs(scalars.stepSize / expected - 1) < 1e-6);
      STEPSIZE_EXPECT(std::fabs(scalars.secondScale * std::sqrt(1 - std::pow(hyper.beta2, update)) - 1) < 1e-6);
      STEPSIZE_EXPECT(scalars.gradientWeight == static_cast<float>(update == 1 ? 1 : 1 - hyper.dampening));
    }
    memory.countUpdates(step);
  }
  STEPSIZE_EXPECT(memory.updates[0] == 3 && memory.updates[1] == 5);
}

// A state of an earlier version has one count for all parameters.
STEPSIZE_TEST(aParameterMayHaveTheCountOfTheOptimizer) {
  Memory memory(hyperOf(2));
  memory.state[0].updates = memory.state[0].iteration = 41;
  for (size_t i = 1; i < memory.updates.size(); i++) memory.updates[i] = update::kAsManyAsAll;
  memory.prepare(kOptions[0].options, nullptr);
  STEPSIZE_EXPECT(memory.updates[0] == 0 && memory.updates[1] == 41);
  STEPSIZE_EXPECT(memory.scalars[2 + 0].gradientWeight == 1 && memory.scalars[2 + 1].gradientWeight == 0.9f);
}

STEPSIZE_TEST(powersAreCloseToTheLibrarys) {
  for (const double base : {0.0, 1e-3, 0.5, 0.9, 0.999, 0.999999, 1.0})
    for (const int64_t exponent : {0, 1, 2, 3, 10, 1000, 12345, 1000000}) {
      const double exact = std::pow(base, static_cast<double>(exponent));
      STEPSIZE_EXPECT(std::fabs(update::power(base, exponent) - exact) <= 1e-12);
    }
}

// The state is a tensor that a program can write. AddressSanitizer detects a read outside the table.
STEPSIZE_TEST(anInvalidStateReadsNoRowOutsideTheTable) {
  constexpr size_t kSteps = 4, kGroups = 3;
  struct Case {
    double iteration;  // before the step
    size_t row;
    uint32_t rounding;  // the iteration that indexes random numbers
  };
  const double infinity = kInfinity;
  const Case cases[] = {{kNan, 0, 0},
                        {-infinity, 0, 0},
                        {-1e300, 0, 0},
                        {-1, 0, 0},
                        {-0.5, 0, 0},
                        {2, 2, 2},
                        {2.9, 2, 2},
                        {3, 3, 3},
                        {4, 3, 4},
                        {0x1p31 - 1, 3, 0x7fffffff},
                        {0x1p31, 3, 0x7fffffff},
                        {0x1p63, 3, 0x7fffffff},
                        {1e300, 3, 0x7fffffff},
                        {infinity, 3, 0x7fffffff}};
  Buffer<update::Scheduled> rows(scheduleOf(kSteps, kGroups));
  for (const Case& each : cases) {
    Memory memory(hyperOf(kGroups));
    memory.state[0].iteration = each.iteration;
    memory.prepare(kOptions[0].options, nullptr, rows.data(), kSteps);
    const std::string where = "iteration " + std::to_string(each.iteration);
    for (size_t g = 0; g < kGroups; g++) {
      const update::Scheduled& row = rows[each.row * kGroups + g];
      expectIn(where, memory.groups[g].learningRate == row.learningRate, "the row's learning rate");
      expectIn(where, memory.scalars[g].momentum == static_cast<float>(row.momentum), "the row's momentum");
      expectIn(where, memory.scalars[g].iteration == each.rounding, "iteration");
    }
  }
}

}  // namespace
