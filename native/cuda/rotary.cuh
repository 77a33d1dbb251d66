// Rotary position embedding; cpu/kernels/rotary.h has the formula. A block takes one position and all of its heads,
// because all heads rotate by the same angles. Each element is read once and written once. Angles are computed once per
// position in float64, because at position 10⁵ a float32 angle is wrong by a hundredth. They are in units of π, whose
// multiples can be removed exactly.
#pragma once

#include "grid_loops.cuh"

namespace stepsize::cuda {

constexpr int kRotaryThreads = 128;  // pairs of numbers whose angles are in shared memory at once

// The shape of x.
struct HeadShape {
  int64_t positions;  // positions of all sequences
  int length, heads, size;
};

// `log2Base` is the logarithm of the base of the frequencies; `direction` is −1 for the gradient, otherwise 1.
template <class T>
__global__ void __launch_bounds__(kRotaryThreads)
    rotaryKernel(const T* x, T* out, HeadShape s, double log2Base, float direction) {
  STEPSIZE_SHARED(float2, angles, [kRotaryThreads]);
  const int half = s.size / 2, thread = static_cast<int>(threadIdx.x);
  const bool aligned = half % 4 == 0 && isAligned16(x) && isAligned16(out);
  for (int64_t position = blockIdx.x; position < s.positions; position += gridDim.x)
    for (int first = 0; first < half; first += kRotaryThreads) {
      const int pairs = min(kRotaryThreads, half - first), groups = (pairs + 3) / 4;
      __syncthreads();
      if (thread < pairs) {
        double sine = 0, cosine = 0;
        const double frequency = exp2(-2.0 * (first + thread) / s.size * log2Base);
        sincospi(static_cast<double>(position % s.length) * frequency * 0.31830988618379067, &sine, &cosine);
        angles[thread] = make_float2(static_cast<float>(cosine), direction * static_cast<float>(sine));
      }
      __syncthreads();
      for (int t = thread; t < s.heads * groups; t += kRotaryThreads) {
        const int group = t % groups * 4, elements = min(4, pairs - group);
        const int64_t at = (position * s.heads + t / groups) * s.size + first + group;
        float a[4] = {}, b[4] = {};
        loadGroup(x + at, aligned, elements, a);
        loadGroup(x + at + half, aligned, elements, b);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          if (e >= elements) continue;
          const float2 angle = angles[group + e];
          const float turned = a[e] * angle.x - b[e] * angle.y;
          b[e] = b[e] * angle.x + a[e] * angle.y;
          a[e] = turned;
        }
        storeGroup(out + at, aligned, elements, a);
        storeGroup(out + at + half, aligned, elements, b);
      }
    }
}

}  // namespace stepsize::cuda
