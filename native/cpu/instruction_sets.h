// Which builds of the kernels there are, and which of them this CPU can run.
#pragma once

#include <string>
#include <vector>

#include "../operations_attributes.h"
#include "invocation.h"

namespace stepsize::cpu {

struct InstructionSet {
  std::string name;
  bool supported;
  bool (*implements)(OperationId id);
  void (*run)(OperationId id, const Invocation& call);
};

// Best first; the portable one is always supported.
const std::vector<InstructionSet>& instructionSets();

}  // namespace stepsize::cpu
