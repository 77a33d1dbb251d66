// Sets how the float arithmetic of a thread treats denormal numbers, which can take a CPU up to a hundred times as long
// as others.
//
// Threads that run kernels treat denormal operands as 0 and store 0 for denormal results, so that activations and
// gradients that fade away do not slow them down. The optimizer's step computes with denormal numbers (KeepDenormals),
// because its bits must be those of CUDA; its update rules store none (native/update/rules.h). JavaScript threads
// run no kernels and keep their mode.
#pragma once

#include <immintrin.h>

#include "../tensor_spec.h"

namespace stepsize::cpu {

// Bits of the control register MXCSR: denormal results are stored as 0; denormal operands count as 0.
constexpr unsigned kFlushToZero = 1u << 15, kDenormalsAreZero = 1u << 6;

// Sets MXCSR.
STEPSIZE_INLINE void setControl(unsigned control) {
  // The compiler moves no arithmetic across these statements, because they may change any memory.
  asm volatile("" ::: "memory");
  _mm_setcsr(control);
  asm volatile("" ::: "memory");
}

// Makes the calling thread flush denormal numbers from now on.
STEPSIZE_INLINE void flushDenormals() { setControl(_mm_getcsr() | kFlushToZero | kDenormalsAreZero); }

// Makes the calling thread compute with denormal numbers while this object lives.
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
