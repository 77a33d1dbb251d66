// The update rules Adam and AdamW and their AMSGrad variants, with the semantics of torch.optim.Adam and
// torch.optim.AdamW:
//
//   g ← scale·gradient + coupledDecay·p,   m ← β1·m + (1 − β1)·g,   v ← β2·v + (1 − β2)·g²
//   p ← p·(1 − lr·decoupledDecay) − lr/(1 − β1^t) · m / (√v/√(1 − β2^t) + ε)
//
// AMSGrad uses the running maximum of v under the root. In float32, Adam reads 16 bytes per parameter and writes 12;
// AMSGrad reads 20 and writes 16.
#pragma once

#include "denormals.h"
#include "scalars.h"

namespace stepsize::update {

// Updates both moments and returns v.
STEPSIZE_HOST_DEVICE float adamMoments(float parameter, float gradient, float& m, float& v, const Scalars& s) {
  const float g = __builtin_fmaf(s.coupledDecay, parameter, scaledGradient(gradient, s));
  m = flushed(__builtin_fmaf(s.beta1, m, s.oneMinusBeta1 * g));
  const float toSquare = squarable(g);
  v = flushed(__builtin_fmaf(s.beta2, v, s.oneMinusBeta2 * toSquare * toSquare));
  return v;
}

// Updates the parameter; `second` is v, or its running maximum.
STEPSIZE_HOST_DEVICE void adamApply(float& parameter, float m, float second, const Scalars& s) {
  const float denominator = __builtin_fmaf(__builtin_sqrtf(second), s.secondScale, s.epsilon);
  parameter = flushed(__builtin_fmaf(-s.stepSize, m / denominator, parameter * s.decayFactor));
}

// Adam and AdamW for one element.
STEPSIZE_HOST_DEVICE void adam(float& parameter, float gradient, float& m, float& v, const Scalars& s) {
  // This call does not stand among the next call's arguments, because there the compiler may read `m` before or after
  // it.
  const float second = adamMoments(parameter, gradient, m, v, s);
  adamApply(parameter, m, second, s);
}

// Adam and AdamW with AMSGrad for one element.
STEPSIZE_HOST_DEVICE void adamAmsgrad(float& parameter, float gradient, float& m, float& v, float& maximum,
                                      const Scalars& s) {
  const float second = adamMoments(parameter, gradient, m, v, s);
  // A NaN stays NaN, as with torch.maximum; both `>` and `==` are false for NaN.
  maximum = flushed(second > maximum || second != second ? second : maximum);
  adamApply(parameter, m, maximum, s);
}

}  // namespace stepsize::update
