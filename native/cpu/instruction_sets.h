// The builds of the kernels, one per instruction set, and whether this CPU can run them.
#pragma once

#include <string>
#include <vector>

#include "../operations_attributes.h"
#include "invocation.h"

namespace stepsize::cpu {

// One build of the kernels.
struct InstructionSet {
  std::string name;
  bool supported;
  void (*run)(OperationId id, const Invocation& call);
};

// All builds, best first. The portable build is always supported.
const std::vector<InstructionSet>& instructionSets();

}  // namespace stepsize::cpu
