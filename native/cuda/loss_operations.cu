// Log-softmax and cross-entropy.
#include "launch_support.h"
#include "softmax.cuh"

namespace stepsize::cuda {

namespace {

void logSoftmax(CudaDevice& device, const Record& record) {
  if (output(record, 0).elements() == 0) return;
  const RowsOf x(input(record, 0));
  launch(logSoftmaxKernel, blocksFor(device, x.rows), kSoftmaxThreads, 0, device.stream(), input(record, 0).floats(),
         output(record, 0).floats(), x.rows, x.columns);
}

void logSoftmaxGradient(CudaDevice& device, const Record& record) {
  if (output(record, 0).elements() == 0) return;
  const RowsOf x(input(record, 0));
  launch(logSoftmaxGradientKernel, blocksFor(device, x.rows), kSoftmaxThreads, 0, device.stream(),
         input(record, 0).floats(), input(record, 1).floats(), output(record, 0).floats(), x.rows, x.columns);
}

void crossEntropy(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  const DeviceMemory losses = device.scratch(static_cast<size_t>(logits.rows) * sizeof(float));
  auto* perRow = static_cast<float*>(losses.get());
  launch(crossEntropyKernel, blocksFor(device, logits.rows), kSoftmaxThreads, 0, device.stream(),
         input(record, 0).floats(), input(record, 1).as<const int32_t>(), output(record, 1).floats(), perRow,
         logits.rows, logits.columns, number(record, attribute::smoothing), device.faults(record));
  launch(meanKernel, 1, kSoftmaxThreads, 0, device.stream(), perRow, logits.rows, output(record, 0).floats());
}

void crossEntropyGradient(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  if (logits.rows == 0) return;
  launch(crossEntropyGradientKernel, blocksFor(device, logits.rows), kSoftmaxThreads, 0, device.stream(),
         input(record, 0).floats(), input(record, 1).as<const int32_t>(), input(record, 2).floats(),
         output(record, 0).floats(), logits.rows, logits.columns, number(record, attribute::smoothing));
}

}  // namespace

Launcher lossLauncher(OperationId id) {
  switch (id) {
    case OperationId::logSoftmax: return logSoftmax;
    case OperationId::logSoftmaxGradient: return logSoftmaxGradient;
    case OperationId::crossEntropy: return crossEntropy;
    case OperationId::crossEntropyGradient: return crossEntropyGradient;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
