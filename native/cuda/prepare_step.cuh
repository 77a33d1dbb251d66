// The scalars of a step, computed on the device: hyper-parameters, or the schedule at the device's own count of steps;
// clip coefficient; bias corrections. The only CUDA code with double.
#pragma once

#include "../update/prepare.h"
#include "platform.cuh"

namespace stepsize::cuda {

constexpr int kPrepareThreads = 256;

// One block; a thread per group, then per parameter. `norm` is null if nothing asked for it, `weight` if gradients are
// no sums over one.
__global__ void __launch_bounds__(kPrepareThreads)
    prepareStepKernel(update::StepTables tables, const double* norm, const float* weight, update::StepOptions options) {
  STEPSIZE_SHARED(int, applied, [1]);
  if (weight != nullptr) options.gradientScale = update::scalePerWeight(options.gradientScale, *weight);
  if (threadIdx.x == 0) applied[0] = update::beginStep(*tables.state, options, norm == nullptr ? 0.0 : *norm);
  __syncthreads();
  const bool apply = applied[0] != 0;
  for (int64_t group = threadIdx.x; group < tables.groups; group += kPrepareThreads)
    update::prepareGroup(tables, group, apply, options);
  // A parameter's thread reads what its group's has written.
  __syncthreads();
  for (int64_t parameter = threadIdx.x; parameter < tables.parameters; parameter += kPrepareThreads)
    update::prepareParameter(tables, parameter, apply, options);
}

}  // namespace stepsize::cuda
