#include "instruction_sets.h"

namespace stepsize {

namespace portable {
bool implements(OperationId id);
void run(OperationId id, const Invocation& call);
}  // namespace portable
#if defined(__x86_64__)
namespace avx2 {
bool implements(OperationId id);
void run(OperationId id, const Invocation& call);
}  // namespace avx2
namespace avx512 {
bool implements(OperationId id);
void run(OperationId id, const Invocation& call);
}  // namespace avx512
#endif

namespace cpu {

const std::vector<InstructionSet>& instructionSets() {
  static const std::vector<InstructionSet> sets = {
#if defined(__x86_64__)
    {"avx512",
     __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq"),
     avx512::implements, avx512::run},
    {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), avx2::implements, avx2::run},
#endif
    {"portable", true, portable::implements, portable::run},
  };
  return sets;
}

}  // namespace cpu
}  // namespace stepsize
