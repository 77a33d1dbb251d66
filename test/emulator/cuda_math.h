// CUDA's loads and stores with cache hints, intrinsics and bit functions. Functions that are approximate on a device
// are exact here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "block_runner.h"

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's.

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, T value) {
  *address = value;
}
template <class T>
void __stcg(T* address, T value) {
  *address = value;
}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
// Whole periods are removed exactly, as on a device.
inline void sincospi(double x, double* sine, double* cosine) {
  const double angle = std::fmod(x, 2.0) * 3.14159265358979323846;
  *sine = std::sin(angle);
  *cosine = std::cos(angle);
}

// These are macros, because the C library's <math.h> declares functions with these names.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __fdividef(a, b) ((a) / (b))
#define __fsqrt_rn(x) sqrtf(x)
#define __frcp_rn(x) (1.0f / (x))
#define __fadd_rn(a, b) ((a) + (b))
#define __fmul_rn(a, b) ((a) * (b))
#define __fdiv_rn(a, b) ((a) / (b))
#define __fmaf_rn(a, b, c) fmaf(a, b, c)

namespace stepsize::emulator {

template <class To, class From>
To bitsAs(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace stepsize::emulator

inline unsigned __float_as_uint(float x) { return stepsize::emulator::bitsAs<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return stepsize::emulator::bitsAs<float>(x); }
inline int __float_as_int(float x) { return stepsize::emulator::bitsAs<int>(x); }
inline float __int_as_float(int x) { return stepsize::emulator::bitsAs<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }

template <class T>
constexpr std::enable_if_t<std::is_arithmetic_v<T>, T> min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr std::enable_if_t<std::is_arithmetic_v<T>, T> max(T a, T b) {
  return a < b ? b : a;
}

[[noreturn]] inline void __trap() {
  const stepsize::emulator::OutsideKernel outside;
  stepsize::emulator::runner->fail("__trap()");
}

// NOLINTEND(bugprone-reserved-identifier)
