// The launchers of the CUDA backend, one for each operation in the table.
#pragma once

#include "../operations.h"

namespace stepsize {
struct Record;
}

namespace stepsize::cuda {

class CudaDevice;

// Enqueues the work of a record in the device's stream: kernels, and for some operations copies.
using Launcher = void (*)(CudaDevice& device, const Record& record);
// The launcher of an operation; null if the CUDA backend does not implement it.
Launcher launcherFor(OperationId id);

// The launchers of each family of kernels; null for operations of other families.
Launcher memoryLauncher(OperationId id);
Launcher pointwiseLauncher(OperationId id);
Launcher randomLauncher(OperationId id);
Launcher reductionLauncher(OperationId id);
Launcher lossLauncher(OperationId id);
Launcher normalizationLauncher(OperationId id);
Launcher poolingLauncher(OperationId id);
Launcher imageLauncher(OperationId id);
Launcher sequenceLauncher(OperationId id);
Launcher attentionLauncher(OperationId id);
Launcher matrixLauncher(OperationId id);
Launcher optimizerLauncher(OperationId id);

}  // namespace stepsize::cuda
