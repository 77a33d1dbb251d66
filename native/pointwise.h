// What is computed of one element, or of two: for the loops of the CPU and the kernels of CUDA. The transcendental
// functions are the platform's own, so the two agree to a few units in the last place and not to the bit.
#pragma once

#include <math.h>

#include "host_device.h"

namespace stepsize::pointwise {

struct Add {
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return a + b; }
};
struct Subtract {
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return a - b; }
};
struct Multiply {
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return a * b; }
};
struct Divide {
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return a / b; }
};

struct Affine {
  float scale, shift;
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return x * scale + shift; }
};
struct Exp {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return expf(x); }
};
struct Log {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return logf(x); }
};
struct Sqrt {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return sqrtf(x); }
};
struct Square {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return x * x; }
};
struct Tanh {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return tanhf(x); }
};
struct Sigmoid {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return 1.0f / (1.0f + expf(-x)); }
};
// NaN stays NaN: a network that diverged must not look healthy behind a ReLU.
struct Relu {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return x < 0.0f ? 0.0f : x; }
};
struct ReluGradient {
  STEPSIZE_HOST_DEVICE float operator()(float output, float gradient) const { return output > 0.0f ? gradient : 0.0f; }
};

// f with its operands exchanged.
template <class F>
struct Swapped {
  F f;
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return f(b, a); }
};

}  // namespace stepsize::pointwise
