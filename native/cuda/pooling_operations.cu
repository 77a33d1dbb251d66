// Launches the kernels of maximum and average pooling.
#include "launch_support.h"
#include "pooling.cuh"

namespace stepsize::cuda {

namespace {

PoolShape shapeOf(const Record& record, const Shape& image, const Shape& pooled, int64_t count) {
  const auto attributeOf = [&](int index) { return static_cast<int>(integer(record, index)); };
  index(image[1] * image[2], "pixels");
  return {index(count, "results"),          static_cast<int>(image[1]),         static_cast<int>(image[2]),
          static_cast<int>(image[3]),       static_cast<int>(pooled[1]),        static_cast<int>(pooled[2]),
          attributeOf(attribute::poolSize), attributeOf(attribute::poolStride), attributeOf(attribute::poolPadding)};
}

float averageScale(const Record& record) {
  const auto size = static_cast<float>(integer(record, attribute::poolSize));
  return 1.0f / (size * size);
}

PoolShape forwardShape(const Record& record) {
  const TensorView& out = output(record, 0);
  return shapeOf(record, input(record, 0).shape, out.shape, out.elements());
}
PoolShape gradientShape(const Record& record) {
  const TensorView& image = output(record, 0);
  return shapeOf(record, image.shape, input(record, 0).shape, image.elements());
}

// Calls launchWith(width, shape) with the number of channels per thread as a type.
template <class F>
void withWidth(const Record& record, PoolShape shape, const F& launchWith) {
  const auto isAligned = [](const TensorView& tensor) { return beginsChunk(tensor.data); };
  if (shape.count == 0) return;
  if (shape.channels % 4 != 0 || !std::all_of(record.tensors.begin(), record.tensors.end(), isAligned))
    return launchWith(std::integral_constant<int, 1>{}, shape);
  shape.count /= 4;
  launchWith(std::integral_constant<int, 4>{}, shape);
}

template <class T>
void maxPool2d(CudaDevice& device, const Record& record) {
  withWidth(record, forwardShape(record), [&](auto width, const PoolShape& shape) {
    launch(maxPoolKernel<decltype(width)::value, T>, blocksFor(device, shape.count, kPoolThreads), kPoolThreads, 0,
           device.stream(), input(record, 0).as<T>(), output(record, 0).as<T>(), output(record, 1).as<int32_t>(),
           shape);
  });
}

template <class T>
void maxPool2dGradient(CudaDevice& device, const Record& record) {
  withWidth(record, gradientShape(record), [&](auto width, const PoolShape& shape) {
    launch(maxPoolGradientKernel<decltype(width)::value, T>, blocksFor(device, shape.count, kPoolThreads), kPoolThreads,
           0, device.stream(), input(record, 0).as<T>(), input(record, 1).as<const int32_t>(),
           output(record, 0).as<T>(), shape, device.faults());
  });
}

template <class T>
void averagePool2d(CudaDevice& device, const Record& record) {
  withWidth(record, forwardShape(record), [&](auto width, const PoolShape& shape) {
    launch(averagePoolKernel<decltype(width)::value, T>, blocksFor(device, shape.count, kPoolThreads), kPoolThreads, 0,
           device.stream(), input(record, 0).as<T>(), output(record, 0).as<T>(), shape, averageScale(record));
  });
}

template <class T>
void averagePool2dGradient(CudaDevice& device, const Record& record) {
  withWidth(record, gradientShape(record), [&](auto width, const PoolShape& shape) {
    launch(averagePoolGradientKernel<decltype(width)::value, T>, blocksFor(device, shape.count, kPoolThreads),
           kPoolThreads, 0, device.stream(), input(record, 0).as<T>(), output(record, 0).as<T>(), shape,
           averageScale(record));
  });
}

}  // namespace

Launcher poolingLauncher(OperationId id) {
  switch (id) {
    case OperationId::maxPool2d: return byPrecision<maxPool2d<float>, maxPool2d<BFloat16>>;
    case OperationId::maxPool2dGradient: return byPrecision<maxPool2dGradient<float>, maxPool2dGradient<BFloat16>>;
    case OperationId::averagePool2d: return byPrecision<averagePool2d<float>, averagePool2d<BFloat16>>;
    case OperationId::averagePool2dGradient:
      return byPrecision<averagePool2dGradient<float>, averagePool2dGradient<BFloat16>>;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
