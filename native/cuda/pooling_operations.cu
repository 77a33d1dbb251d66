// Maximum and average pooling.
#include "launch_support.h"
#include "pooling.cuh"

namespace stepsize::cuda {

namespace {

PoolShape shapeOf(const Record& record, const Shape& image, const Shape& pooled, int64_t count) {
  const auto attributeOf = [&](int index) { return static_cast<int>(integer(record, index)); };
  return {index(count, "results"),          static_cast<int>(image[1]),         static_cast<int>(image[2]),
          static_cast<int>(image[3]),       static_cast<int>(pooled[1]),        static_cast<int>(pooled[2]),
          attributeOf(attribute::poolSize), attributeOf(attribute::poolStride), attributeOf(attribute::poolPadding)};
}

float averageScale(const Record& record) {
  const auto size = static_cast<float>(integer(record, attribute::poolSize));
  return 1.0f / (size * size);
}

unsigned blocks(const CudaDevice& device, const PoolShape& shape) {
  return blocksFor(device, ceilDivide(shape.count, kPoolThreads));
}

PoolShape forwardShape(const Record& record) {
  const TensorView& out = output(record, 0);
  return shapeOf(record, input(record, 0).shape, out.shape, out.elements());
}
PoolShape gradientShape(const Record& record) {
  const TensorView& image = output(record, 0);
  return shapeOf(record, image.shape, input(record, 0).shape, image.elements());
}

void maxPool2d(CudaDevice& device, const Record& record) {
  const PoolShape shape = forwardShape(record);
  if (shape.count > 0)
    launch(maxPoolKernel, blocks(device, shape), kPoolThreads, 0, device.stream(), input(record, 0).floats(),
           output(record, 0).floats(), output(record, 1).as<int32_t>(), shape);
}

void maxPool2dGradient(CudaDevice& device, const Record& record) {
  const PoolShape shape = gradientShape(record);
  if (shape.count > 0)
    launch(maxPoolGradientKernel, blocks(device, shape), kPoolThreads, 0, device.stream(), input(record, 0).floats(),
           input(record, 1).as<const int32_t>(), output(record, 0).floats(), shape, device.faults(record));
}

void averagePool2d(CudaDevice& device, const Record& record) {
  const PoolShape shape = forwardShape(record);
  if (shape.count > 0)
    launch(averagePoolKernel, blocks(device, shape), kPoolThreads, 0, device.stream(), input(record, 0).floats(),
           output(record, 0).floats(), shape, averageScale(record));
}

void averagePool2dGradient(CudaDevice& device, const Record& record) {
  const PoolShape shape = gradientShape(record);
  if (shape.count > 0)
    launch(averagePoolGradientKernel, blocks(device, shape), kPoolThreads, 0, device.stream(),
           input(record, 0).floats(), output(record, 0).floats(), shape, averageScale(record));
}

}  // namespace

Launcher poolingLauncher(OperationId id) {
  switch (id) {
    case OperationId::maxPool2d: return maxPool2d;
    case OperationId::maxPool2dGradient: return maxPool2dGradient;
    case OperationId::averagePool2d: return averagePool2d;
    case OperationId::averagePool2dGradient: return averagePool2dGradient;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
