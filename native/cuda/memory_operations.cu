// Launches the kernels that fill, copy and convert memory, and that write rows of rings.
#include "launch_support.h"
#include "memory.cuh"

namespace stepsize::cuda {

namespace {

void fill(CudaDevice& device, const Record& record) {
  const TensorView& to = input(record, 0);
  const int64_t count = to.elements();
  if (count == 0) return;
  visitType(to.type, [&](auto zero) {
    using T = decltype(zero);
    launch(fillKernel<T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0, device.stream(),
           to.as<T>(), count, castElement<T>(record.attributes[attribute::fill::value]));
  });
}

void cast(CudaDevice& device, const Record& record) {
  const TensorView &from = input(record, 0), &to = output(record, 0);
  const int64_t count = to.elements();
  if (count == 0) return;
  visitType(to.type, [&](auto toZero) {
    visitType(from.type, [&](auto fromZero) {
      using To = decltype(toZero);
      using From = decltype(fromZero);
      launch(castKernel<To, From>, blocksFor(device, count, kGroup<To, From> * kElementThreads), kElementThreads, 0,
             device.stream(), to.as<To>(), from.as<const From>(), count);
    });
  });
}

void copy(CudaDevice& device, const Record& record) {
  const TensorView &to = input(record, 0), &from = input(record, 1);
  if (to.bytes() == 0 || to.data == from.data) return;
  check(cudaMemcpyAsync(to.data, from.data, static_cast<size_t>(to.bytes()), cudaMemcpyDeviceToDevice, device.stream()),
        "copy");
}

void writeRow(CudaDevice& device, const Record& record) {
  const TensorView &ring = input(record, 0), &count = input(record, 1), &values = input(record, 2);
  visitType(values.type, [&](auto zero) {
    using T = decltype(zero);
    launch(writeRowKernel<T>, 1, kRingThreads, 0, device.stream(), ring.as<double>(), index(ring.shape[0], "rows"),
           ring.shape[1], count.as<uint32_t>(), static_cast<int>(integer(record, attribute::writeRow::column)),
           values.as<const T>(), values.elements(), integer(record, attribute::writeRow::last) != 0);
  });
}

}  // namespace

namespace launchers {

const Launcher fill = cuda::fill;
const Launcher copy = cuda::copy;
const Launcher writeRow = cuda::writeRow;
const Launcher cast = cuda::cast;

}  // namespace launchers

}  // namespace stepsize::cuda
