// prepareStepKernel gives the bits that the functions of native/update/prepare.h give on the host, with the schedule's
// table as with hyper-parameters that the host writes.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/prepare_step.cuh"

#include <cmath>
#include <limits>

#include "tensor_list.h"

namespace {

using namespace stepsize;
using namespace stepsize::test;
using cuda::ScheduleTable;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// No two groups alike, and every option on in some and off in others.
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

// What a step works on: all that the kernel writes, and the hyper-parameters.
struct Memory {
  Buffer<update::Hyper> hyper;
  Buffer<update::State> state;
  Buffer<update::GroupState> groups;
  Buffer<update::Scalars> scalars;

  explicit Memory(const std::vector<update::Hyper>& hyper)
      : hyper(hyper),
        state(std::vector<update::State>(1)),
        groups(std::vector<update::GroupState>(hyper.size(), {1, 1, 0})),
        scalars(hyper.size()) {}

  void prepare(const update::StepOptions& options, const double* norm, const ScheduleTable& schedule = {nullptr, 0}) {
    cuda::launch(cuda::prepareStepKernel, 1, cuda::kPrepareThreads, 0, nullptr, hyper.data(),
                 static_cast<int>(hyper.size()), state.data(), groups.data(), norm, schedule, options, scalars.data());
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
}

// What the kernel must do, on the host.
void prepareOnHost(Memory& memory, const update::StepOptions& options, double norm) {
  const bool apply = update::beginStep(memory.state[0], options, norm);
  for (size_t g = 0; g < memory.hyper.size(); g++)
    memory.scalars[g] = update::prepareGroup(memory.hyper[g], memory.state[0], memory.groups[g], apply, options);
}

struct Options {
  const char* name;
  update::StepOptions options;
};
constexpr Options kOptions[] = {{"plain", {0, false, false, 1}},
                                {"clipping", {1, false, false, 0.5}},
                                {"checking", {0, true, false, 1}},
                                {"skipping", {1, true, true, 1}}};
// A step is left out in the middle, or all from there on.
const std::vector<double> kNorms = {3, 0.5, kInfinity, 0, kNan, 2};

// One group, a few, more than there are threads.
constexpr size_t kGroupCounts[] = {1, 3, 300};

STEPSIZE_TEST(scalarsArePreparedLikeOnTheHost) {
  for (const size_t groups : kGroupCounts)
    for (const Options& each : kOptions) {
      Memory kernel(hyperOf(groups)), host(hyperOf(groups));
      for (const double norm : kNorms) {
        kernel.prepare(each.options, &norm);
        prepareOnHost(host, each.options, norm);
        expectSame(std::to_string(groups) + " groups, " + each.name, kernel, host);
      }
      STEPSIZE_EXPECT(kernel.state[0].iteration == static_cast<double>(kNorms.size()));
    }
}

STEPSIZE_TEST(withoutANormItIsZero) {
  Memory kernel(hyperOf(3)), host(hyperOf(3));
  kernel.prepare(kOptions[0].options, nullptr);
  prepareOnHost(host, kOptions[0].options, 0);
  expectSame("no norm", kernel, host);
  STEPSIZE_EXPECT(kernel.state[0].norm == 0 && kernel.scalars[0].apply == 1);
}

// Steps that are left out count in the schedule: its row is that of the iteration, and the last one beyond its end.
STEPSIZE_TEST(theScheduleGivesWhatTheHostWouldWrite) {
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
          scheduled.prepare(each.options, &kNorms[step], {rows.data(), static_cast<int64_t>(steps)});
          written.prepare(each.options, &kNorms[step]);
          expectSame(std::to_string(groups) + " groups, step " + std::to_string(step) + " of " + std::to_string(steps) +
                         ", " + each.name,
                     scheduled, written);
        }
        // The hyper-parameters themselves stay as the host wrote them.
        STEPSIZE_EXPECT(scheduled.hyper[0].learningRate == hyperOf(1)[0].learningRate);
      }
}

// A state is a tensor, which anybody may have written. Beyond the table lies nothing: AddressSanitizer would see it.
STEPSIZE_TEST(aStateOfNonsenseReadsNoRowThatIsNotThere) {
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
    memory.prepare(kOptions[0].options, nullptr, {rows.data(), kSteps});
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
