// The functions of one or two elements that CPU loops and CUDA kernels share. The transcendental functions are those of
// the platform or of approximations.h, so the backends agree to a few units in the last place, not to the bit.
#pragma once

#include <math.h>

#include "approximations.h"
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
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return reciprocal(1.0f + exponential(-x)); }
};
// NaN stays NaN, so that a ReLU does not hide a network that has diverged.
struct Relu {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return x < 0.0f ? 0.0f : x; }
};
struct ReluGradient {
  STEPSIZE_HOST_DEVICE float operator()(float output, float gradient) const { return output > 0.0f ? gradient : 0.0f; }
};

struct AddRelu {
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return Relu{}(a + b); }
};

// GELU, x·Φ(x) with Φ the distribution function of the standard normal distribution (Hendrycks, Gimpel,
// arXiv:1606.08415). Its derivative is Φ(x) + x·φ(x).
struct Gelu {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return x * normalDistribution(x); }
};
struct GeluGradient {
  STEPSIZE_HOST_DEVICE float operator()(float x, float gradient) const {
    const float density = 0.39894228f * bell(x);
    return gradient * (normalDistribution(x) + x * density);
  }
};
// SiLU, x·σ(x). Its derivative is σ·(1 + x·(1 − σ)).
struct Silu {
  STEPSIZE_HOST_DEVICE float operator()(float x) const { return x * Sigmoid{}(x); }
};
struct SiluGradient {
  STEPSIZE_HOST_DEVICE float operator()(float x, float gradient) const {
    const float sigma = Sigmoid{}(x);
    return gradient * (sigma * (1.0f + x * (1.0f - sigma)));
  }
};

// log(1 + eˣ) without overflow, accurate to a few units in the last place even if the result is tiny.
STEPSIZE_HOST_DEVICE float softplus(float x) { return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x))); }

// The binary cross-entropy of a logit x with target y in [0, 1] and weight w of the positive class, w·y·log(1 + e⁻ˣ) +
// (1 − y)·log(1 + eˣ), and its derivative in x. Each term is computed by itself, so that nothing cancels.
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

// The gradient of a sum, given the gradient g of the mean sum/weight: g/weight. If g equals the weight the result is
// exactly 1, even if the weight is 0 and the mean is 0/0. This lets a caller add up the sums of several means.
STEPSIZE_HOST_DEVICE float shareOf(float g, float weight) { return g == weight ? 1.0f : g / weight; }

// f with its operands exchanged.
template <class F>
struct Swapped {
  F f;
  STEPSIZE_HOST_DEVICE float operator()(float a, float b) const { return f(b, a); }
};

}  // namespace stepsize::pointwise
