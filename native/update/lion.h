// The update rule Lion: the sign of an interpolated momentum, with decoupled weight decay.
//
//   c ← β1·m + (1 − β1)·g,   p ← p·(1 − lr·decay) − lr·sign(c),   m ← β2·m + (1 − β2)·g
//
// In float32, Lion reads parameter, gradient and momentum and writes parameter and momentum: 20 bytes per parameter.
//
// Source: Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, algorithm 2.
#pragma once

#include "denormals.h"
#include "scalars.h"

namespace stepsize::update {

// Lion for one element.
STEPSIZE_HOST_DEVICE void lion(float& parameter, float gradient, float& m, const Scalars& s) {
  const float g = __builtin_fmaf(s.coupledDecay, parameter, scaledGradient(gradient, s));
  const float c = __builtin_fmaf(s.beta1, m, s.oneMinusBeta1 * g);
  // The sign of 0 is 0, and a NaN passes on to the parameter.
  const float direction = c > 0.0f ? 1.0f : c < 0.0f ? -1.0f : c;
  parameter = flushed(__builtin_fmaf(-s.stepSize, direction, parameter * s.decayFactor));
  m = flushed(__builtin_fmaf(s.beta2, m, s.oneMinusBeta2 * g));
}

}  // namespace stepsize::update
