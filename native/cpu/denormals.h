// Sets how the float arithmetic of a thread treats denormal numbers, which can take a CPU up to a hundred times as long
// as others.
//
// Threads that run kernels treat denormal operands as 0 and store 0 for denormal results, so that activations and
// gradients that fade away do not slow them down. The optimizer's step computes with denormal numbers (KeepDenormals),
// because its bits must be those of CUDA; its update rules store none (native/update/rules.h). JavaScript threads
// run no kernels and keep their mode.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../tensor_spec.h"

namespace stepsize::cpu {

// The register that controls float arithmetic, and its bits with which denormal results are stored as 0 and denormal
// operands count as 0.
#if defined(__x86_64__)
using FloatControl = unsigned;
constexpr FloatControl kFlushDenormals = 1u << 15 | 1u << 6;
STEPSIZE_INLINE FloatControl readControl() { return _mm_getcsr(); }
STEPSIZE_INLINE void writeControl(FloatControl control) { _mm_setcsr(control); }
#elif defined(__aarch64__)
using FloatControl = uint64_t;
constexpr FloatControl kFlushDenormals = 1u << 24;
STEPSIZE_INLINE FloatControl readControl() {
  FloatControl control = 0;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  return control;
}
STEPSIZE_INLINE void writeControl(FloatControl control) { asm volatile("msr fpcr, %0" ::"r"(control)); }
#else
#error "set the float control register of this architecture here"
#endif

STEPSIZE_INLINE void setControl(FloatControl control) {
  // The compiler moves no arithmetic across these statements, because they may change any memory.
  asm volatile("" ::: "memory");
  writeControl(control);
  asm volatile("" ::: "memory");
}

// Makes the calling thread flush denormal numbers from now on.
STEPSIZE_INLINE void flushDenormals() { setControl(readControl() | kFlushDenormals); }

// Makes the calling thread compute with denormal numbers while this object lives.
class KeepDenormals {
 public:
  STEPSIZE_INLINE KeepDenormals() : before_(readControl()) { setControl(before_ & ~kFlushDenormals); }
  STEPSIZE_INLINE ~KeepDenormals() { setControl(before_); }
  KeepDenormals(const KeepDenormals&) = delete;
  KeepDenormals& operator=(const KeepDenormals&) = delete;

 private:
  FloatControl before_;
};

}  // namespace stepsize::cpu
