// Launches the kernels of log-softmax, cross-entropy and binary cross-entropy.
#include "binary_cross_entropy.cuh"
#include "launch_support.h"
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

CrossEntropyRows rowsOf(const Record& record, const RowsOf& logits) {
  const bool byClass = integer(record, attribute::crossEntropy::classWeights) != 0;
  const bool byItem = integer(record, attribute::crossEntropy::itemWeights) != 0;
  return {input(record, 1).as<const int32_t>(),
          byClass ? input(record, 2).floats() : nullptr,
          byItem ? input(record, byClass ? 3 : 2).floats() : nullptr,
          static_cast<int>(integer(record, attribute::crossEntropy::ignoreIndex)),
          logits.columns,
          number(record, attribute::crossEntropy::smoothing)};
}

template <class T>
void crossEntropy(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(logits.rows) * sizeof(float));
  auto* weights = static_cast<float*>(scratch.get());
  float* losses = output(record, 0).floats();
  withRowGroup(device, logits, [&](auto group, unsigned blocks) {
    launch(crossEntropyKernel<decltype(group), T>, blocks, kRowThreads, 0, device.stream(), input(record, 0).as<T>(),
           rowsOf(record, logits), losses, weights, output(record, 4).floats(), output(record, 5).floats(), logits.rows,
           device.faults());
  });
  launch(addLossesKernel, 1, kRowThreads, 0, device.stream(), losses, weights, logits.rows, output(record, 1).floats(),
         output(record, 2).floats(), output(record, 3).floats());
}

template <class T>
void crossEntropyGradient(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  if (logits.rows == 0) return;
  const int first = record.inputs - 4;
  const LossGradient gradient{input(record, first + 3).floats(), input(record, first).floats(),
                              input(record, first + 3).shape.rank == 1,
                              integer(record, attribute::crossEntropyGradient::mean) != 0};
  withRowGroup(device, logits, [&](auto group, unsigned blocks) {
    launch(crossEntropyGradientKernel<decltype(group), T>, blocks, kRowThreads, 0, device.stream(),
           input(record, 0).as<T>(), rowsOf(record, logits), input(record, first + 1).floats(),
           input(record, first + 2).floats(), gradient, output(record, 0).as<T>(), logits.rows, device.faults());
  });
}

BinaryWeights binaryWeights(const Record& record) {
  const bool positives = integer(record, attribute::binaryCrossEntropy::positiveWeights) != 0;
  const bool elements = integer(record, attribute::binaryCrossEntropy::weights) != 0;
  return {positives ? input(record, 2).floats() : nullptr,
          elements ? input(record, positives ? 3 : 2).floats() : nullptr, positives ? input(record, 2).elements() : 1};
}

template <class T>
void binaryCrossEntropy(CudaDevice& device, const Record& record) {
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(binaryCrossEntropyKernel<T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
         device.stream(), input(record, 0).as<T>(), input(record, 1).floats(), binaryWeights(record),
         output(record, 0).floats(), count);
}

template <class T>
void binaryCrossEntropyGradient(CudaDevice& device, const Record& record) {
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(binaryCrossEntropyGradientKernel<T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
         device.stream(), input(record, 0).as<T>(), input(record, 1).floats(), binaryWeights(record),
         input(record, record.inputs - 1).floats(), output(record, 0).as<T>(), count);
}

}  // namespace

namespace launchers {

const Launcher logSoftmax = byPrecision<cuda::logSoftmax<float>, cuda::logSoftmax<BFloat16>>;
const Launcher logSoftmaxGradient = byPrecision<cuda::logSoftmaxGradient<float>, cuda::logSoftmaxGradient<BFloat16>>;
const Launcher crossEntropy = byPrecision<cuda::crossEntropy<float>, cuda::crossEntropy<BFloat16>>;
const Launcher crossEntropyGradient =
    byPrecision<cuda::crossEntropyGradient<float>, cuda::crossEntropyGradient<BFloat16>>;
const Launcher binaryCrossEntropy = byPrecision<cuda::binaryCrossEntropy<float>, cuda::binaryCrossEntropy<BFloat16>>;
const Launcher binaryCrossEntropyGradient =
    byPrecision<cuda::binaryCrossEntropyGradient<float>, cuda::binaryCrossEntropyGradient<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
