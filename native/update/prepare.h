// Turns one group's hyper-parameters into the scalars of the next step, on the device. The only place where a step
// uses double: once per group and step it costs nothing, and 1 − β^t loses digits in float32.
#pragma once

#include <cmath>

#include "scalars.h"

namespace stepsize::update {

struct StepOptions {
  double maxNorm;  // 0: no clipping
  bool checkFinite;
  bool skipNonFinite;  // count and go on; otherwise the first non-finite gradient stops all later updates
  double gradientScale;
};

// What gradients that are sums over this total weight are multiplied by. Where nothing counted they are zero, and stay.
STEPSIZE_HOST_DEVICE double scalePerWeight(double scale, float weight) {
  return weight == 0.0f ? 0.0 : scale / static_cast<double>(weight);
}

// Decides once per step whether it is applied, and advances the counters. `gradientNorm` is that of the gradient as it
// came. If nobody checks, a norm that is not finite does what it does in PyTorch's clip_grad_norm_: a NaN makes every
// gradient NaN, an infinity makes the finite ones 0.
STEPSIZE_HOST_DEVICE bool beginStep(State& state, const StepOptions& options, double gradientNorm) {
  const bool finite = gradientNorm - gradientNorm == 0;
  const bool stopped = state.stoppedAt != 0;
  const bool refused = options.checkFinite && !finite;
  state.iteration += 1;
  state.norm = __builtin_fabs(gradientNorm * options.gradientScale);
  // The 1e-6 is that of PyTorch's clip_grad_norm_.
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

// What a gradient is multiplied by, as two factors: one float32 holds only what lies between 1e-38 and 1e38, and the
// clip coefficient of large gradients, or the scale of small ones, may be beyond. The second is 1 as a rule.
STEPSIZE_HOST_DEVICE void setGradientScale(Scalars& s, double factor) {
  const double size = __builtin_fabs(factor);
  const bool small = size < 0x1p-100 && size > 0, large = size > 0x1p+100 && size - size == 0;
  // The larger factor comes second if both shrink, and last if both enlarge: what lies between is no further from 1
  // than what comes out.
  s.gradientScale = static_cast<float>(small ? factor * 0x1p+100 : large ? 0x1p+100 : factor);
  s.gradientRescale = static_cast<float>(small ? 0x1p-100 : large ? factor * 0x1p-100 : 1);
}

// A count out of a tensor that anybody may have written, from 0 to `most`: what is not a number counts as 0.
STEPSIZE_HOST_DEVICE int64_t countOf(double value, int64_t most) {
  return !(value > 0) ? 0 : value < static_cast<double>(most) ? static_cast<int64_t>(value) : most;
}

constexpr int64_t kMostCount = 0x7fffffff;

// base^exponent by repeated squaring. No library's pow has the same bits everywhere.
STEPSIZE_HOST_DEVICE double power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}

// `update` counts the updates of the parameter from 1, this one included. The bias is corrected as PyTorch does it, by
// 1 − β^update with the beta of this step, also if a schedule moves it.
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
  // PyTorch starts a buffer with the gradient itself, undamped; it is zero before the parameter's first update.
  s.gradientWeight = static_cast<float>(update <= 1 ? 1 : 1 - hyper.dampening);
  s.directGradient = nesterov ? 1.0f : 0.0f;
  s.directBuffer = static_cast<float>(nesterov ? hyper.momentum : 1);
  s.iteration = static_cast<uint32_t>(countOf(state.iteration - 1, kMostCount));
  return s;
}

// What a step is prepared from, and what comes of it.
struct StepTables {
  const Hyper* hyper;  // [groups]
  int64_t groups;
  const Scheduled* schedule;  // [steps, groups]; null if the host writes the hyper-parameters of each step
  int64_t steps;
  State* state;
  GroupState* groupStates;  // [groups]
  const int32_t* groupOf;   // [parameters]
  int32_t* updates;         // [parameters]: how often each was updated; the update itself counts
  int64_t parameters;
  // [groups + parameters]: first those of a parameter that was updated as often as the optimizer has made updates, per
  // group, then those of each parameter, which as a rule are the same.
  Scalars* scalars;
};

STEPSIZE_HOST_DEVICE Hyper hyperOf(const StepTables& tables, int64_t group) {
  Hyper hyper = tables.hyper[group];
  if (tables.schedule == nullptr) return hyper;
  // The last row holds beyond the schedule's end.
  const int64_t step = countOf(tables.state->iteration - 1, tables.steps - 1);
  const Scheduled& scheduled = tables.schedule[step * tables.groups + group];
  hyper.learningRate = scheduled.learningRate;
  hyper.beta1 = scheduled.beta1;
  hyper.momentum = scheduled.momentum;
  return hyper;
}

// The updates before this step, of a parameter that took part in all of them.
STEPSIZE_HOST_DEVICE int64_t updatesBefore(const State& state, bool apply) {
  return countOf(state.updates - (apply ? 1 : 0), kMostCount);
}

STEPSIZE_HOST_DEVICE void prepareGroup(const StepTables& tables, int64_t group, bool apply,
                                       const StepOptions& options) {
  const Hyper hyper = hyperOf(tables, group);
  tables.groupStates[group].learningRate = hyper.learningRate;
  tables.scalars[group] = scalarsOf(hyper, *tables.state, updatesBefore(*tables.state, apply) + 1, apply, options);
}

// After prepareGroup of all groups.
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
