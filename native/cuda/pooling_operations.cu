// Launches the kernels of maximum and average pooling.
#include "launch_support.h"
#include "pooling.cuh"

namespace stepsize::cuda {

namespace {

PoolShape shapeOf(const Record& record, const Shape& image, const Shape& pooled, int64_t count) {
  const auto attributeOf = [&](int index) { return static_cast<int>(integer(record, index)); };
  index(image[1] * image[2], "pixels");
  return {index(count, "results"),
          static_cast<int>(image[1]),
          static_cast<int>(image[2]),
          static_cast<int>(image[3]),
          static_cast<int>(pooled[1]),
          static_cast<int>(pooled[2]),
          attributeOf(attribute::averagePool2d::size),
          attributeOf(attribute::averagePool2d::stride),
          attributeOf(attribute::averagePool2d::padding)};
}

float averageScale(const Record& record) {
  const auto size = static_cast<float>(integer(record, attribute::averagePool2d::size));
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

namespace launchers {

const Launcher maxPool2d = byPrecision<cuda::maxPool2d<float>, cuda::maxPool2d<BFloat16>>;
const Launcher maxPool2dGradient = byPrecision<cuda::maxPool2dGradient<float>, cuda::maxPool2dGradient<BFloat16>>;
const Launcher averagePool2d = byPrecision<cuda::averagePool2d<float>, cuda::averagePool2d<BFloat16>>;
const Launcher averagePool2dGradient =
    byPrecision<cuda::averagePool2dGradient<float>, cuda::averagePool2dGradient<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
