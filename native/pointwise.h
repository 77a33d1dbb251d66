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

struct AddRelu {
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return Relu{}(a + b); }
};

// x·Φ(x), with the normal distribution's Φ (Hendrycks, Gimpel, arXiv:1606.08415), and Φ(x) + x·φ(x).
struct Gelu {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return x * (0.5f * (1.0f + erff(x * 0.70710678f))); }
};
struct GeluGradient {
  STEPSIZE_HOST_DEVICE float operator()(float x, float gradient) const {
    const float below = 0.5f * (1.0f + erff(x * 0.70710678f)), density = 0.39894228f * expf(-0.5f * x * x);
    return gradient * (below + x * density);
  }
};
// x·σ(x), and σ·(1 + x·(1 − σ)).
struct Silu {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return x * Sigmoid{}(x); }
};
struct SiluGradient {
  STEPSIZE_HOST_DEVICE float operator()(float x, float gradient) const {
    const float sigma = Sigmoid{}(x);
    return gradient * (sigma * (1.0f + x * (1.0f - sigma)));
  }
};

// f with its operands exchanged.
template <class F>
struct Swapped {
  F f;
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return f(b, a); }
};

}  // namespace stepsize::pointwise
