// Rotary position embedding; cpu/kernels/rotary.h has the formula. A block takes one position in some sequences, with
// all heads, because all of them rotate by the same angles. Each element is read once and written once. Angles are
// computed in float64, because at position 10⁵ a float32 angle is wrong by a hundredth. They are in units of π, whose
// multiples can be removed exactly.
//
// Instructions per bfloat16 element on sm_90: 9, and for an angle of each 8 · heads pairs about 300.
#pragma once

#include "grid_loops.cuh"

namespace stepsize::cuda {

constexpr int kRotaryThreads = 128;  // pairs of numbers whose angles are in shared memory at once
constexpr int kRotarySequences = 8;  // sequences that share the angles of a block

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
  constexpr int group = kGroup<T>;
  const bool aligned = half % group == 0 && areAligned(x, out);
  const int64_t sequences = s.positions / s.length;
  const int64_t tasks = (sequences + kRotarySequences - 1) / kRotarySequences * s.length;
  for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    const int position = static_cast<int>(task % s.length);
    const int64_t sequence = task / s.length * kRotarySequences;
    const int heads = s.heads * static_cast<int>(min(int64_t{kRotarySequences}, sequences - sequence));
    for (int first = 0; first < half; first += kRotaryThreads) {
      const int pairs = min(kRotaryThreads, half - first);
      __syncthreads();
      if (thread < pairs) {
        double sine = 0, cosine = 0;
        const double frequency = exp2(-2.0 * (first + thread) / s.size * log2Base);
        sincospi(position * frequency * 0.31830988618379067, &sine, &cosine);
        angles[thread] = make_float2(static_cast<float>(cosine), direction * static_cast<float>(sine));
      }
      __syncthreads();
      const auto rotate = [&](auto elements) {
        constexpr int n = decltype(elements)::kCount;
        const int groups = pairs / n;
#pragma unroll 1
        for (int t = thread; t < heads * groups; t += kRotaryThreads) {
          const int pair = t % groups * n, head = t / groups;
          const int64_t place = (sequence + head / s.heads) * s.length + position;
          const int64_t at = (place * s.heads + head % s.heads) * s.size + first + pair;
          float a[n], b[n];
          loadAligned(x + at, a);
          loadAligned(x + at + half, b);
#pragma unroll
          for (int e = 0; e < n; e++) {
            const float2 angle = angles[pair + e];
            const float turned = a[e] * angle.x - b[e] * angle.y;
            b[e] = b[e] * angle.x + a[e] * angle.y;
            a[e] = turned;
          }
          storeAligned(out + at, a);
          storeAligned(out + at + half, b);
        }
      };
      // If half a head consists of groups, so do the pairs of a pass.
      if (aligned)
        rotate(Elements<group>{});
      else
        rotate(Elements<1>{});
    }
  }
}

}  // namespace stepsize::cuda
