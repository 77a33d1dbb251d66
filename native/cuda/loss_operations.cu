// Log-softmax and cross-entropy.
#include "launch_rows.h"
#include "softmax.cuh"

namespace stepsize::cuda {

namespace {

void logSoftmax(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.rows * x.columns == 0) return;
  withRowGroup(device, x, [&](auto group, unsigned blocks) {
    launch(logSoftmaxKernel<decltype(group)>, blocks, kRowThreads, 0, device.stream(), input(record, 0).floats(),
           output(record, 0).floats(), x.rows, x.columns);
  });
}

void logSoftmaxGradient(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.rows * x.columns == 0) return;
  withRowGroup(device, x, [&](auto group, unsigned blocks) {
    launch(logSoftmaxGradientKernel<decltype(group)>, blocks, kRowThreads, 0, device.stream(),
           input(record, 0).floats(), input(record, 1).floats(), output(record, 0).floats(), x.rows, x.columns);
  });
}

void crossEntropy(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  const DeviceMemory losses = device.scratch(static_cast<size_t>(logits.rows) * sizeof(float));
  auto* perRow = static_cast<float*>(losses.get());
  withRowGroup(device, logits, [&](auto group, unsigned blocks) {
    launch(crossEntropyKernel<decltype(group)>, blocks, kRowThreads, 0, device.stream(), input(record, 0).floats(),
           input(record, 1).as<const int32_t>(), output(record, 1).floats(), perRow, logits.rows, logits.columns,
           number(record, attribute::smoothing), device.faults(record));
  });
  launch(meanKernel, 1, kRowThreads, 0, device.stream(), perRow, logits.rows, output(record, 0).floats());
}

void crossEntropyGradient(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  if (logits.rows == 0) return;
  const float smoothing = number(record, attribute::smoothing);
  const float perRow = 1 / static_cast<float>(logits.rows), perClass = smoothing / static_cast<float>(logits.columns);
  withRowGroup(device, logits, [&](auto group, unsigned blocks) {
    launch(crossEntropyGradientKernel<decltype(group)>, blocks, kRowThreads, 0, device.stream(),
           input(record, 0).floats(), input(record, 1).as<const int32_t>(), input(record, 2).floats(),
           input(record, 3).floats(), output(record, 0).floats(), logits.rows, logits.columns, smoothing, perRow,
           perClass);
  });
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
