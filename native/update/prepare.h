// Turns the hyper-parameters of each group into the scalars of the next step, on the device. This is computed in
// float64, because 1 − β^t loses digits in float32. It runs once per group and step, so the cost does not matter.
#pragma once

#include <cmath>

#include "scalars.h"

namespace stepsize::update {

// The options of prepareStep.
struct StepOptions {
  double maxNorm;  // 0: no clipping
  bool checkFinite;
  bool skipNonFinite;  // count the step and go on; otherwise the first non-finite gradient stops all later updates
  double gradientScale;
};

// The gradient scale if gradients are sums over this total weight. If the weight is 0, nothing was counted, the
// gradients are zero, and they stay zero.
STEPSIZE_HOST_DEVICE double scalePerWeight(double scale, float weight) {
  return weight == 0.0f ? 0.0 : scale / static_cast<double>(weight);
}

// Decides whether this step is applied, and advances the counters; runs once per step. `gradientNorm` is the norm of
// the gradient before scaling. Without checkFinite, a norm that is not finite has the effect that it has in PyTorch's
// clip_grad_norm_: a NaN makes every gradient NaN, an infinity makes finite gradients 0.
STEPSIZE_HOST_DEVICE bool beginStep(State& state, const StepOptions& options, double gradientNorm) {
  const bool finite = gradientNorm - gradientNorm == 0;
  const bool stopped = state.stoppedAt != 0;
  const bool refused = options.checkFinite && !finite;
  state.iteration += 1;
  state.norm = __builtin_fabs(gradientNorm * options.gradientScale);
  // PyTorch's clip_grad_norm_ adds the same 1e-6.
  const double coefficient = options.maxNorm > 0 ? options.maxNorm / (state.norm + 1e-6) : 1;
  state.coefficient = coefficient > 1 ? 1 : coefficient;
  if (refused && !stopped) {
    state.skipped += 1;
    if (!options.skipNonFinite) state.stoppedAt = state.iteration;
  }
  const bool apply = !refused && !stopped;
  if (apply) state.updates += 1;
  return apply;
}

// Sets the factor of the gradient as two float32 numbers. One float32 only holds 1e-38 to 1e38, and the clip
// coefficient of large gradients, or the scale of small ones, may be outside. The second factor is usually 1.
STEPSIZE_HOST_DEVICE void setGradientScale(Scalars& s, double factor) {
  const double size = __builtin_fabs(factor);
  const bool small = size < 0x1p-100 && size > 0, large = size > 0x1p+100 && size - size == 0;
  // Both factors shrink or both enlarge, so the intermediate product underflows or overflows only if the result does.
  s.gradientScale = static_cast<float>(small ? factor * 0x1p+100 : large ? 0x1p+100 : factor);
  s.gradientRescale = static_cast<float>(small ? 0x1p-100 : large ? factor * 0x1p-100 : 1);
}

// A count from a tensor that any code may have written, clamped to [0, most]. NaN counts as 0.
STEPSIZE_HOST_DEVICE int64_t countOf(double value, int64_t most) {
  return !(value > 0) ? 0 : value < static_cast<double>(most) ? static_cast<int64_t>(value) : most;
}

// The largest count.
constexpr int64_t kMaxCount = 0x7fffffff;

// base^exponent by repeated squaring, because no library's pow has the same bits everywhere.
STEPSIZE_HOST_DEVICE double power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}

// The scalars of a group or parameter. `update` is the number of the parameter's updates, from 1, including this one.
// The bias is corrected as in PyTorch, by 1 − β^update with the beta of this step, even if a schedule changes beta.
STEPSIZE_HOST_DEVICE Scalars scalarsOf(const Hyper& hyper, const State& state, int64_t update, bool apply,
                                       const StepOptions& options) {
  const double lr = hyper.learningRate;
  const bool decoupled = hyper.decoupledDecay != 0;
  const bool nesterov = hyper.nesterov != 0;
  Scalars s;
  s.apply = apply ? 1.0f : 0.0f;
  setGradientScale(s, (hyper.maximize != 0 ? -1 : 1) * state.coefficient * options.gradientScale);
  s.coupledDecay = static_cast<float>(decoupled ? 0 : hyper.weightDecay);
  s.decayFactor = static_cast<float>(decoupled ? 1 - lr * hyper.weightDecay : 1);
  s.stepSize = static_cast<float>(hyper.biasCorrection != 0 ? lr / (1 - power(hyper.beta1, update)) : lr);
  s.beta1 = static_cast<float>(hyper.beta1);
  s.oneMinusBeta1 = static_cast<float>(1 - hyper.beta1);
  s.beta2 = static_cast<float>(hyper.beta2);
  s.oneMinusBeta2 = static_cast<float>(1 - hyper.beta2);
  s.secondScale = static_cast<float>(1 / std::sqrt(1 - power(hyper.beta2, update)));
  s.epsilon = static_cast<float>(hyper.epsilon);
  s.momentum = static_cast<float>(hyper.momentum);
  // PyTorch initialises the buffer with the undamped gradient. Here the buffer is zero before the first update of the
  // parameter.
  s.gradientWeight = static_cast<float>(update <= 1 ? 1 : 1 - hyper.dampening);
  s.directGradient = nesterov ? 1.0f : 0.0f;
  s.directBuffer = static_cast<float>(nesterov ? hyper.momentum : 1);
  s.iteration = static_cast<uint32_t>(countOf(state.iteration - 1, kMaxCount));
  return s;
}

// The inputs and outputs of prepareStep.
struct StepTables {
  const Hyper* hyper;  // [groups]
  int64_t groups;
  const Scheduled* schedule;  // [steps, groups]; null if the host writes the hyper-parameters of each step
  int64_t steps;
  State* state;
  GroupState* groupStates;  // [groups]
  const int32_t* groupOf;   // [parameters]
  int32_t* updates;         // [parameters]: the number of updates of each; the update operation advances it
  int64_t parameters;
  // [groups + parameters]. The rows of the groups come first; they are for parameters that took part in every update of
  // the optimizer. The rows of the parameters follow; they usually equal the row of their group.
  Scalars* scalars;
};

// The hyper-parameters of a group at this step.
STEPSIZE_HOST_DEVICE Hyper hyperOf(const StepTables& tables, int64_t group) {
  Hyper hyper = tables.hyper[group];
  if (tables.schedule == nullptr) return hyper;
  // Beyond the end of the schedule the last row applies.
  const int64_t step = countOf(tables.state->iteration - 1, tables.steps - 1);
  const Scheduled& scheduled = tables.schedule[step * tables.groups + group];
  hyper.learningRate = scheduled.learningRate;
  hyper.beta1 = scheduled.beta1;
  hyper.momentum = scheduled.momentum;
  return hyper;
}

// The number of updates before this step of a parameter that took part in all of them.
STEPSIZE_HOST_DEVICE int64_t updatesBefore(const State& state, bool apply) {
  return countOf(state.updates - (apply ? 1 : 0), kMaxCount);
}

// Writes the scalars of one group.
STEPSIZE_HOST_DEVICE void prepareGroup(const StepTables& tables, int64_t group, bool apply,
                                       const StepOptions& options) {
  const Hyper hyper = hyperOf(tables, group);
  tables.groupStates[group].learningRate = hyper.learningRate;
  tables.scalars[group] = scalarsOf(hyper, *tables.state, updatesBefore(*tables.state, apply) + 1, apply, options);
}

// Writes the scalars of one parameter. Runs after prepareGroup of all groups.
STEPSIZE_HOST_DEVICE void prepareParameter(const StepTables& tables, int64_t parameter, bool apply,
                                           const StepOptions& options) {
  const int64_t group = countOf(tables.groupOf[parameter], tables.groups - 1);
  const int64_t common = updatesBefore(*tables.state, apply);
  int32_t& updates = tables.updates[parameter];
  if (updates < 0) updates = static_cast<int32_t>(common);
  tables.scalars[tables.groups + parameter] =
      updates == common ? tables.scalars[group]
                        : scalarsOf(hyperOf(tables, group), *tables.state, int64_t{updates} + 1, apply, options);
}

}  // namespace stepsize::update
