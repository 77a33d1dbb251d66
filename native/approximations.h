// The exponential, the reciprocal and the normal distribution inside of other functions. A CPU takes them from the C
// library. A GPU has instructions for 2^x and 1/x, with which the first two take two and one instead of eight and ten.
// The emulator computes the formulas of a GPU from exact functions.
//
// Source of the errors of single instructions: PTX ISA, "Floating Point Instructions", ex2 and rcp.
#pragma once

#include <math.h>

#include "host_device.h"

namespace stepsize {

constexpr float kLog2E = 1.44269504f;

// 2^x on a GPU, with a relative error of 2^-22. A denormal result is 0.
STEPSIZE_HOST_DEVICE float powerOfTwo(float x) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  const float result = exp2f(x);
  return result < 0x1p-126f ? 0.0f : result;
#endif
}

// e^x. The rounding of x·log2(e) is relative to x, so on a GPU the relative error is up to 2^-22 + |x|·2^-23.7. It is
// for functions to which a large |x| contributes little: x·e^x is below 0.4 for x < 0.
STEPSIZE_HOST_DEVICE float exponential(float x) {
#if defined(__CUDACC__) || defined(STEPSIZE_EMULATED)
  return powerOfTwo(x * kLog2E);
#else
  return expf(x);
#endif
}

// 1/x, on a GPU with an error of one unit in the last place. There a denormal number counts as 0.
STEPSIZE_HOST_DEVICE float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return 1.0f / x;
#endif
}

// e^(−x²/2)
STEPSIZE_HOST_DEVICE float bell(float x) {
#if defined(__CUDACC__) || defined(STEPSIZE_EMULATED)
  return powerOfTwo(x * x * (-0.5f * kLog2E));
#else
  return expf(-0.5f * x * x);
#endif
}

// Φ(x), the distribution function of the standard normal distribution.
//
// On a GPU it is, for x ≤ 0, e^(−x²/2) times a polynomial in t = 1/(1 + 0.29·|x|), of the form that Abramowitz and
// Stegun have for erf (7.1.26). The coefficients were fitted so that the largest error of Φ(x)·max(1, |x|) is smallest,
// 2^-24, while the relative error stays below 2^-12 from x = −13 on. With all roundings, x·Φ(x) is off by at most 2^-22
// times the larger of 1 and its magnitude.
STEPSIZE_HOST_DEVICE float normalDistribution(float x) {
#if defined(__CUDACC__) || defined(STEPSIZE_EMULATED)
  const float t = reciprocal(fmaf(0.29f, fabsf(x), 1.0f));
  float sum = -0.08981399f;
  sum = fmaf(sum, t, 0.28837014f);
  sum = fmaf(sum, t, -0.0978257f);
  sum = fmaf(sum, t, 0.18237183f);
  sum = fmaf(sum, t, 0.09997487f);
  sum = fmaf(sum, t, 0.11692279f);
  const float tail = sum * t * bell(x);
  return x < 0.0f ? tail : 1.0f - tail;
#else
  return 0.5f * (1.0f + erff(x * 0.70710678f));
#endif
}

}  // namespace stepsize
