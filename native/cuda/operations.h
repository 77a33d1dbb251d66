// What the CUDA backend does for each operation of the table.
#pragma once

#include "../operations.h"

namespace stepsize {
struct Record;
}

namespace stepsize::cuda {

class CudaDevice;

// Launches the kernels of a record.
using Launcher = void (*)(CudaDevice& device, const Record& record);
// Null where the operation has none yet.
Launcher launcherFor(OperationId id);

// One per family of kernels; null for operations of the others.
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
