// Filling, copying and changing the type of memory.
#include "elementwise.cuh"
#include "launch_support.h"

namespace stepsize::cuda {

namespace {

void fill(CudaDevice& device, const Record& record) {
  const TensorView& to = input(record, 0);
  const int64_t count = to.elements();
  if (count == 0) return;
  visitType(to.type, [&](auto zero) {
    using T = decltype(zero);
    launch(fillKernel<T>, blocksFor(device, count, kElementwiseThreads), kElementwiseThreads, 0, device.stream(),
           to.as<T>(), count, castElement<T>(record.attributes[attribute::value]));
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
      launch(castKernel<To, From>, blocksFor(device, count, kElementwiseThreads), kElementwiseThreads, 0,
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

}  // namespace

Launcher memoryLauncher(OperationId id) {
  switch (id) {
    case OperationId::fill: return fill;
    case OperationId::copy: return copy;
    case OperationId::cast: return cast;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
