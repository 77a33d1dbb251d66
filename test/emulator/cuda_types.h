// CUDA's built-in types, and the qualifiers that have no meaning on a CPU.
#pragma once

#include <cstddef>
#include <cstdint>

// NOLINTBEGIN(bugprone-reserved-identifier, bugprone-macro-parentheses): the names are CUDA's, and types take none.

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  // NOLINTNEXTLINE(google-explicit-constructor): a launch says `launch(kernel, blocks, threads, …)`.
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// The alignments are those of a device. A misaligned vector access is an error there, and UBSan reports it here.
#define STEPSIZE_VECTOR2(name, type, alignment) \
  struct alignas(alignment) name {              \
    type x, y;                                  \
  };                                            \
  inline name make_##name(type x, type y) { return {x, y}; }
#define STEPSIZE_VECTOR4(name, type, alignment) \
  struct alignas(alignment) name {              \
    type x, y, z, w;                            \
  };                                            \
  inline name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }

STEPSIZE_VECTOR2(float2, float, 8)
STEPSIZE_VECTOR2(int2, int, 8)
STEPSIZE_VECTOR2(uint2, unsigned, 8)
STEPSIZE_VECTOR2(ushort2, unsigned short, 4)
STEPSIZE_VECTOR2(double2, double, 16)
STEPSIZE_VECTOR2(longlong2, long long, 16)
STEPSIZE_VECTOR2(ulonglong2, unsigned long long, 16)
STEPSIZE_VECTOR4(float4, float, 16)
STEPSIZE_VECTOR4(int4, int, 16)
STEPSIZE_VECTOR4(uint4, unsigned, 16)
STEPSIZE_VECTOR4(ushort4, unsigned short, 8)
STEPSIZE_VECTOR4(uchar4, unsigned char, 4)

#undef STEPSIZE_VECTOR2
#undef STEPSIZE_VECTOR4

// NOLINTEND(bugprone-reserved-identifier, bugprone-macro-parentheses)
