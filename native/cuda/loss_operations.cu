// Log-softmax and cross-entropy.
#include "launch_rows.h"
#include "softmax.cuh"

namespace stepsize::cuda {

namespace {

template <class T>
void logSoftmax(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.rows * x.columns == 0) return;
  withRowGroup(device, x, [&](auto group, unsigned blocks) {
    launch(logSoftmaxKernel<decltype(group), T>, blocks, kRowThreads, 0, device.stream(), input(record, 0).as<T>(),
           output(record, 0).as<T>(), x.rows, x.columns);
  });
}

template <class T>
void logSoftmaxGradient(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.rows * x.columns == 0) return;
  withRowGroup(device, x, [&](auto group, unsigned blocks) {
    launch(logSoftmaxGradientKernel<decltype(group), T>, blocks, kRowThreads, 0, device.stream(),
           input(record, 0).as<T>(), input(record, 1).as<T>(), output(record, 0).as<T>(), x.rows, x.columns);
  });
}

template <class T>
void crossEntropy(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  const DeviceMemory losses = device.scratch(static_cast<size_t>(logits.rows) * sizeof(float));
  auto* perRow = static_cast<float*>(losses.get());
  withRowGroup(device, logits, [&](auto group, unsigned blocks) {
    launch(crossEntropyKernel<decltype(group), T>, blocks, kRowThreads, 0, device.stream(), input(record, 0).as<T>(),
           input(record, 1).as<const int32_t>(), output(record, 1).floats(), perRow, logits.rows, logits.columns,
           number(record, attribute::smoothing), device.faults());
  });
  launch(meanKernel, 1, kRowThreads, 0, device.stream(), perRow, logits.rows, output(record, 0).floats());
}

template <class T>
void crossEntropyGradient(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  if (logits.rows == 0) return;
  const float smoothing = number(record, attribute::smoothing);
  const float perRow = 1 / static_cast<float>(logits.rows), perClass = smoothing / static_cast<float>(logits.columns);
  withRowGroup(device, logits, [&](auto group, unsigned blocks) {
    launch(crossEntropyGradientKernel<decltype(group), T>, blocks, kRowThreads, 0, device.stream(),
           input(record, 0).as<T>(), input(record, 1).as<const int32_t>(), input(record, 2).floats(),
           input(record, 3).floats(), output(record, 0).as<T>(), logits.rows, logits.columns, smoothing, perRow,
           perClass, device.faults());
  });
}

}  // namespace

Launcher lossLauncher(OperationId id) {
  switch (id) {
    case OperationId::logSoftmax: return byPrecision<logSoftmax<float>, logSoftmax<BFloat16>>;
    case OperationId::logSoftmaxGradient: return byPrecision<logSoftmaxGradient<float>, logSoftmaxGradient<BFloat16>>;
    case OperationId::crossEntropy: return byPrecision<crossEntropy<float>, crossEntropy<BFloat16>>;
    case OperationId::crossEntropyGradient:
      return byPrecision<crossEntropyGradient<float>, crossEntropyGradient<BFloat16>>;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
