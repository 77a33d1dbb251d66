// The scalars of a step, computed on the device: hyper-parameters, or the schedule at the device's own count of steps;
// clip coefficient; bias corrections. The only CUDA code with double.
#pragma once

#include "../update/prepare.h"
#include "platform.cuh"

namespace stepsize::cuda {

constexpr int kPrepareThreads = 256;

struct ScheduleTable {
  const update::Scheduled* rows;  // [steps, groups]; null where the host writes the hyper-parameters of each step
  int64_t steps;
};

// One block; a thread per group. `norm` may be null where nothing asked for it.
__global__ void __launch_bounds__(kPrepareThreads)
    prepareStepKernel(const update::Hyper* hyper, int groups, update::State* state, update::GroupState* groupStates,
                      const double* norm, ScheduleTable schedule, update::StepOptions options,
                      update::Scalars* scalars) {
  STEPSIZE_SHARED(int, applied, [1]);
  if (threadIdx.x == 0) applied[0] = update::beginStep(*state, options, norm == nullptr ? 0.0 : *norm);
  __syncthreads();
  for (int group = static_cast<int>(threadIdx.x); group < groups; group += kPrepareThreads) {
    update::Hyper own = hyper[group];
    if (schedule.rows != nullptr)
      own = update::withScheduled(own, update::scheduledAt(schedule.rows, schedule.steps, groups, group, *state));
    scalars[group] = update::prepareGroup(own, *state, groupStates[group], applied[0] != 0, options);
  }
}

}  // namespace stepsize::cuda
