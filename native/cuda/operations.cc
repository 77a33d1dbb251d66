#include "operations.h"

namespace stepsize::cuda {

Launcher launcherFor(OperationId id) {
  constexpr Launcher (*families[])(OperationId) = {
      memoryLauncher,  pointwiseLauncher, randomLauncher,   reductionLauncher, lossLauncher,   normalizationLauncher,
      poolingLauncher, imageLauncher,     sequenceLauncher, attentionLauncher, matrixLauncher, optimizerLauncher};
  for (const auto family : families)
    if (const Launcher launcher = family(id)) return launcher;
  return nullptr;
}

}  // namespace stepsize::cuda
