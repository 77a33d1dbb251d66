#include "instruction_sets.h"

namespace stepsize {

namespace portable {
void run(OperationId id, const Invocation& call);
}  // namespace portable
#if defined(__x86_64__)
namespace avx2 {
void run(OperationId id, const Invocation& call);
}  // namespace avx2
namespace avx512 {
void run(OperationId id, const Invocation& call);
}  // namespace avx512
#elif defined(__aarch64__)
namespace neon {
void run(OperationId id, const Invocation& call);
}  // namespace neon
#endif

namespace cpu {

namespace {

std::vector<InstructionSet> allSets() {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  const bool hasAvx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  sets.push_back({"avx512", hasAvx512, avx512::run});
  const bool hasAvx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  sets.push_back({"avx2", hasAvx2, avx2::run});
#elif defined(__aarch64__)
  sets.push_back({"neon", true, neon::run});
#endif
  sets.push_back({"portable", true, portable::run});
  return sets;
}

}  // namespace

const std::vector<InstructionSet>& instructionSets() {
  // Never destroyed, because a device's thread may use it while the process runs its static destructors.
  static const auto& sets = *new std::vector<InstructionSet>(allSets());
  return sets;
}

}  // namespace cpu
}  // namespace stepsize
