#include "instruction_sets.h"

namespace stepsize {

namespace portable {
Kernel kernelFor(OperationId id);
}
#if defined(__x86_64__)
namespace avx2 {
Kernel kernelFor(OperationId id);
}
namespace avx512 {
Kernel kernelFor(OperationId id);
}
#endif

namespace cpu {

const std::vector<InstructionSet>& instructionSets() {
  static const std::vector<InstructionSet> sets = {
#if defined(__x86_64__)
    {"avx512",
     __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq"),
     avx512::kernelFor},
    {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), avx2::kernelFor},
#endif
    {"portable", true, portable::kernelFor},
  };
  return sets;
}

}  // namespace cpu
}  // namespace stepsize
