// Every instance of the update kernels, for the compiler's report (compiled.test.ts). Never run.
#include "../../native/cuda/update.cuh"

namespace stepsize::cuda {

template __global__ void updateKernel<Sgd>(UpdateTables, const update::Scalars*);
template __global__ void updateKernel<SgdMomentum>(UpdateTables, const update::Scalars*);
template __global__ void updateKernel<Adam>(UpdateTables, const update::Scalars*);
template __global__ void updateKernel<AdamAmsgrad>(UpdateTables, const update::Scalars*);

}  // namespace stepsize::cuda
