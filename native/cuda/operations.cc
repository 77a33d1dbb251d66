#include "operations.h"

namespace stepsize::cuda {

Launcher launcherFor(OperationId id) {
  static constexpr const Launcher* table[kOperations] = {
#define OPERATION_ON_LISTS(name, ...) &launchers::name,
#include "../operations.def"
  };
  return *table[static_cast<int>(id)];
}

}  // namespace stepsize::cuda
