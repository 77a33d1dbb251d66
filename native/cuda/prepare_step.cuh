// Computes the scalars of a step on the device: hyper-parameters, or the schedule at the step that the device has
// counted; the clip coefficient; the bias corrections. update/prepare.h has the arithmetic, which is float64. The
// kernel moves about 300 bytes per group and 150 per parameter.
#pragma once

#include "../update/prepare.h"
#include "platform.cuh"

namespace stepsize::cuda {

constexpr int kPrepareThreads = 256;

// One block, with a thread per group and then per parameter. `norm` is null if nothing needs it. `weight` is null if
// the gradients are not sums over a weight.
__global__ void __launch_bounds__(kPrepareThreads)
    prepareStepKernel(update::StepTables tables, const double* norm, const float* weight, update::StepOptions options) {
  STEPSIZE_SHARED(int, applied, [1]);
  if (weight != nullptr) options.gradientScale = update::scalePerWeight(options.gradientScale, *weight);
  if (threadIdx.x == 0) applied[0] = update::beginStep(*tables.state, options, norm == nullptr ? 0.0 : *norm);
  __syncthreads();
  const bool apply = applied[0] != 0;
  for (int64_t group = threadIdx.x; group < tables.groups; group += kPrepareThreads)
    update::prepareGroup(tables, group, apply, options);
  // The thread of a parameter reads what the thread of its group has written.
  __syncthreads();
  for (int64_t parameter = threadIdx.x; parameter < tables.parameters; parameter += kPrepareThreads)
    update::prepareParameter(tables, parameter, apply, options);
}

}  // namespace stepsize::cuda
