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
// The launcher of an operation.
Launcher launcherFor(OperationId id);

// The launchers by name. Each family of kernels defines its own in an _operations.cu.
namespace launchers {
#define OPERATION_ON_LISTS(name, ...) extern const Launcher name;
#include "../operations.def"
}  // namespace launchers

}  // namespace stepsize::cuda
