// Launches the kernel for images as they come from files.
#include "images.cuh"
#include "launch_support.h"

namespace stepsize::cuda {

namespace {

template <class Raw, class T>
void normalizeAs(CudaDevice& device, const Record& record) {
  const TensorView &raw = input(record, 0), &out = output(record, 0);
  const int64_t count = index(out.elements(), "elements of images");
  if (count == 0) return;
  const bool moved = record.inputs > 3;
  const auto size = [&](int axis) { return Divider(moved ? static_cast<int>(raw.shape[axis]) : 1); };
  const ImageShape shape{size(1), size(2), Divider(static_cast<int>(raw.shape[raw.shape.rank - 1]))};
  launch(normalizeImagesKernel<Raw, T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
         device.stream(), raw.as<const Raw>(), input(record, 1).floats(), input(record, 2).floats(),
         moved ? input(record, 3).as<const Move>() : nullptr, out.as<T>(), count, shape);
}

template <class T>
void normalizeImages(CudaDevice& device, const Record& record) {
  if (input(record, 0).type == DataType::uint8)
    normalizeAs<uint8_t, T>(device, record);
  else
    normalizeAs<float, T>(device, record);
}

}  // namespace

namespace launchers {

const Launcher normalizeImages = byPrecision<cuda::normalizeImages<float>, cuda::normalizeImages<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
