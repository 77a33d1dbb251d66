// Launches the kernels of sums, argmax and the count of correct predictions.
#include "launch_support.h"
#include "reduce.cuh"

namespace stepsize::cuda {

namespace {

template <class T>
void sum(CudaDevice& device, const Record& record) {
  const TensorView& x = input(record, 0);
  const auto axis = static_cast<int>(integer(record, attribute::sum::axis));
  const auto end = axis + static_cast<int>(integer(record, attribute::sum::count));
  const float scale = number(record, attribute::sum::scale);
  SumShape shape{x.shape.product(0, axis), x.shape.product(axis, end), x.shape.product(end, x.shape.rank), 1};
  if (shape.outer * shape.inner == 0) return;
  shape.parts = std::max<int64_t>(1, shape.inner == 1 ? ceilDivide(shape.length, kRowPart) : columnParts(shape.length));
  T* out = output(record, 0).as<T>();
  static_assert(kReduceThreads == kColumnThreads);
  const int64_t tasks = shape.outer * shape.parts * ceilDivide(shape.inner, kColumnTile<T>);
  const auto addTo = [&](auto* sums, float scaleOfPart) {
    using Sum = std::remove_pointer_t<decltype(sums)>;
    launch(shape.inner == 1 ? sumRowsKernel<T, Sum> : sumColumnsKernel<T, Sum>, blocksFor(device, tasks),
           kReduceThreads, 0, device.stream(), x.as<T>(), sums, shape, scaleOfPart);
  };
  if (shape.parts == 1) return addTo(out, scale);
  const DeviceMemory scratch =
      device.scratch(static_cast<size_t>(shape.outer * shape.parts * shape.inner) * sizeof(float));
  auto* parts = static_cast<float*>(scratch.get());
  addTo(parts, 1.0f);
  launch(addPartsKernel<T>, blocksFor(device, shape.outer * ceilDivide(shape.inner, kMergeLanes)), kMergeThreads, 0,
         device.stream(), parts, out, shape, scale);
}

template <class T>
void argmaxTo(CudaDevice& device, const TensorView& x, int32_t* out) {
  const RowsOf at(x);
  if (at.rows == 0) return;
  launch(argmaxKernel<T>, blocksFor(device, at.rows, kReduceThreads / kWarp), kReduceThreads, 0, device.stream(),
         x.as<T>(), out, at.rows, at.columns);
}

template <class T>
void argmax(CudaDevice& device, const Record& record) {
  argmaxTo<T>(device, input(record, 0), output(record, 0).as<int32_t>());
}

template <class T>
void correctCount(CudaDevice& device, const Record& record) {
  const TensorView& labels = input(record, 1);
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(labels.bytes()));
  auto* largest = static_cast<int32_t*>(scratch.get());
  argmaxTo<T>(device, input(record, 0), largest);
  launch(countEqualKernel, 1, kReduceThreads, 0, device.stream(), largest, labels.as<const int32_t>(),
         labels.elements(), static_cast<int>(integer(record, attribute::correctCount::ignoreIndex)),
         output(record, 0).floats());
}

}  // namespace

namespace launchers {

const Launcher sum = byPrecision<cuda::sum<float>, cuda::sum<BFloat16>>;
const Launcher argmax = byPrecision<cuda::argmax<float>, cuda::argmax<BFloat16>>;
const Launcher correctCount = byPrecision<cuda::correctCount<float>, cuda::correctCount<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
