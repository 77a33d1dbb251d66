// What the CUDA backend does for each operation of the table.
#pragma once

#include "../operations.h"

namespace stepsize {
struct Record;
}

namespace stepsize::cuda {

class CudaDevice;

// Launches the kernels of a record. Null where the operation has none yet.
using Launcher = void (*)(CudaDevice& device, const Record& record);
Launcher launcherFor(OperationId id);

}  // namespace stepsize::cuda
