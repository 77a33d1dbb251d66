// The update rule SGD with momentum, dampening, Nesterov momentum and coupled weight decay, with the semantics of
// torch.optim.SGD:
//
//   g ← scale·gradient + decay·p,   b ← momentum·b + (1 − dampening)·g,   p ← p − lr·(g or b or g + momentum·b)
//
// In float32, SGD with momentum reads parameter, gradient and buffer and writes parameter and buffer: 20 bytes per
// parameter. Without momentum it moves 12.
#pragma once

#include "denormals.h"
#include "scalars.h"

namespace stepsize::update {

// SGD without momentum for one element.
STEPSIZE_HOST_DEVICE void sgd(float& parameter, float gradient, const Scalars& s) {
  const float g = __builtin_fmaf(s.coupledDecay, parameter, scaledGradient(gradient, s));
  parameter = flushed(__builtin_fmaf(-s.stepSize, g, parameter));
}

// SGD with momentum for one element.
STEPSIZE_HOST_DEVICE void sgdMomentum(float& parameter, float gradient, float& buffer, const Scalars& s) {
  const float g = __builtin_fmaf(s.coupledDecay, parameter, scaledGradient(gradient, s));
  buffer = flushed(__builtin_fmaf(s.momentum, buffer, s.gradientWeight * g));
  const float direction = __builtin_fmaf(s.directBuffer, buffer, s.directGradient * g);
  parameter = flushed(__builtin_fmaf(-s.stepSize, direction, parameter));
}

}  // namespace stepsize::update
