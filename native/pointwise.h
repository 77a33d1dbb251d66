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

// log(1 + eˣ), without overflow, and exact to a few units in the last place also where it is tiny.
STEPSIZE_HOST_DEVICE float softplus(float x) { return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x))); }

// Of a logit x, with the target y from 0 to 1 and the weight w of the positive class: w·y·log(1 + e⁻ˣ) +
// (1 − y)·log(1 + eˣ), and its derivative by x. Every term is computed by itself, so that nothing cancels.
struct BinaryCrossEntropy {
  STEPSIZE_HOST_DEVICE float operator()(float x, float y, float w) const {
    return w * y * softplus(-x) + (1.0f - y) * softplus(x);
  }
};
struct BinaryCrossEntropyGradient {
  STEPSIZE_HOST_DEVICE float operator()(float x, float y, float w) const {
    return (1.0f - y) * Sigmoid{}(x)-w * y * Sigmoid{}(-x);
  }
};

// The gradient of a sum from the gradient g of the mean, sum/weight. Where g is the weight it is 1 exactly, also if
// nothing counts and the mean is 0/0: so sums of several means are added up.
STEPSIZE_HOST_DEVICE float shareOf(float g, float weight) { return g == weight ? 1.0f : g / weight; }

// f with its operands exchanged.
template <class F>
struct Swapped {
  F f;
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return f(b, a); }
};

}  // namespace stepsize::pointwise
