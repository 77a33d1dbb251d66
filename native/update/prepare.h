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

// The step that has begun, counted from 0, at most `last`. The state is a tensor that anybody may have written: what is
// not a number counts as 0.
STEPSIZE_HOST_DEVICE int64_t stepOf(const State& state, int64_t last) {
  const double step = state.iteration - 1;
  return !(step > 0) ? 0 : step < static_cast<double>(last) ? static_cast<int64_t>(step) : last;
}

// What the schedule says of a group at the step that has begun; its last row holds beyond its end.
STEPSIZE_HOST_DEVICE const Scheduled& scheduledAt(const Scheduled* schedule, int64_t steps, int64_t groups,
                                                  int64_t group, const State& state) {
  return schedule[stepOf(state, steps - 1) * groups + group];
}

STEPSIZE_HOST_DEVICE Hyper withScheduled(Hyper hyper, const Scheduled& scheduled) {
  hyper.learningRate = scheduled.learningRate;
  hyper.beta1 = scheduled.beta1;
  hyper.momentum = scheduled.momentum;
  return hyper;
}

STEPSIZE_HOST_DEVICE Scalars prepareGroup(const Hyper& hyper, const State& state, GroupState& group, bool apply,
                                          const StepOptions& options) {
  group.learningRate = hyper.learningRate;
  if (apply) {
    group.beta1Power *= hyper.beta1;
    group.beta2Power *= hyper.beta2;
  }
  const double lr = hyper.learningRate;
  const bool decoupled = hyper.decoupledDecay != 0;
  const bool nesterov = hyper.nesterov != 0;
  Scalars s;
  s.apply = apply ? 1.0f : 0.0f;
  setGradientScale(s, (hyper.maximize != 0 ? -1 : 1) * state.coefficient * options.gradientScale);
  s.coupledDecay = static_cast<float>(decoupled ? 0 : hyper.weightDecay);
  s.decayFactor = static_cast<float>(decoupled ? 1 - lr * hyper.weightDecay : 1);
  s.stepSize = static_cast<float>(hyper.biasCorrection != 0 ? lr / (1 - group.beta1Power) : lr);
  s.beta1 = static_cast<float>(hyper.beta1);
  s.oneMinusBeta1 = static_cast<float>(1 - hyper.beta1);
  s.beta2 = static_cast<float>(hyper.beta2);
  s.oneMinusBeta2 = static_cast<float>(1 - hyper.beta2);
  s.secondScale = static_cast<float>(1 / std::sqrt(1 - group.beta2Power));
  s.epsilon = static_cast<float>(hyper.epsilon);
  s.momentum = static_cast<float>(hyper.momentum);
  // PyTorch starts the buffer with the gradient itself, undamped; the buffer is zero before the first update.
  s.gradientWeight = static_cast<float>(state.updates <= 1 ? 1 : 1 - hyper.dampening);
  s.directGradient = nesterov ? 1.0f : 0.0f;
  s.directBuffer = static_cast<float>(nesterov ? hyper.momentum : 1);
  s.iteration = static_cast<uint32_t>(stepOf(state, 0x7fffffff));
  return s;
}

}  // namespace stepsize::update
