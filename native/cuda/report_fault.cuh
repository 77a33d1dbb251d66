// The kernel's side of fault.h.
#pragma once

#include "fault.h"
#include "platform.cuh"

namespace stepsize::cuda {

// The first report stays; which of several that is is not fixed.
__device__ __forceinline__ void report(const FaultReport& to, FaultKind kind, long long a, long long b, long long c) {
  if (atomicCAS(&to.fault->kind, static_cast<int>(FaultKind::none), static_cast<int>(kind)) != 0) return;
  to.fault->source = to.source;
  to.fault->numbers[0] = a;
  to.fault->numbers[1] = b;
  to.fault->numbers[2] = c;
}

}  // namespace stepsize::cuda
