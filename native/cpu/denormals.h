// How a thread's float arithmetic treats denormal numbers, which take a CPU up to a hundred times as long as others.
//
// The threads that run kernels take them for 0 and store 0 for them: activations and gradients that fade away cost no
// more than others. The optimizer's step keeps them (KeepDenormals), since its bits are those of CUDA; its rules see to
// it that none is stored (native/update/denormals.h). Threads of JavaScript run no kernels and are left as they are.
#pragma once

#include <immintrin.h>

#include "../tensor_spec.h"

namespace stepsize::cpu {

// Of the control register MXCSR: results that are denormal are stored as 0, operands that are denormal count as 0.
constexpr unsigned kFlushToZero = 1u << 15, kDenormalsAreZero = 1u << 6;

STEPSIZE_INLINE void setControl(unsigned control) {
  // No arithmetic moves across: it works on memory, which may have changed for all the compiler knows.
  asm volatile("" ::: "memory");
  _mm_setcsr(control);
  asm volatile("" ::: "memory");
}

// For the calling thread, from now on.
STEPSIZE_INLINE void flushDenormals() { setControl(_mm_getcsr() | kFlushToZero | kDenormalsAreZero); }

// For the calling thread, as long as it lives.
class KeepDenormals {
 public:
  STEPSIZE_INLINE KeepDenormals() : before_(_mm_getcsr()) { setControl(before_ & ~(kFlushToZero | kDenormalsAreZero)); }
  STEPSIZE_INLINE ~KeepDenormals() { setControl(before_); }
  KeepDenormals(const KeepDenormals&) = delete;
  KeepDenormals& operator=(const KeepDenormals&) = delete;

 private:
  unsigned before_;
};

}  // namespace stepsize::cpu
