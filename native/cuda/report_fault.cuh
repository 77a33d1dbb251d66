// Reports faults from kernels; see fault.h.
#pragma once

#include "fault.h"
#include "platform.cuh"

namespace stepsize::cuda {

// Adds a fault to the log. If several threads of a launch report, one of the reports is kept; which one is not fixed.
__device__ __forceinline__ void report(const FaultReport& to, FaultKind kind, long long a, long long b, long long c) {
  FaultLog& log = *to.log;
  const auto source = static_cast<unsigned>(to.source), run = static_cast<unsigned>(log.run);
  const auto own = static_cast<unsigned long long>(run) << 32 | source;
  if (atomicExch(&log.latest, own) == own) return;
  // Only one thread of the launch gets here.
  const int place = log.count++;
  if (place >= kMaxFaults) return;
  Fault& fault = log.faults[place];
  fault.kind = static_cast<int>(kind);
  fault.source = to.source;
  fault.run = log.run;
  fault.numbers[0] = a;
  fault.numbers[1] = b;
  fault.numbers[2] = c;
}

}  // namespace stepsize::cuda
