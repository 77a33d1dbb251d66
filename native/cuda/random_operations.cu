// Launches the kernels of random fills and dropout.
#include <cmath>

#include "launch_support.h"
#include "random.cuh"

namespace stepsize::cuda {

namespace {

RandomSource sourceOf(const Record& record, int seed, int stream) {
  return {PhiloxKeys(static_cast<uint64_t>(integer(record, seed))), static_cast<uint64_t>(integer(record, stream))};
}

void uniform(CudaDevice& device, const Record& record) {
  const int64_t count = input(record, 0).elements();
  if (count == 0) return;
  const float low = number(record, attribute::uniform::low), high = number(record, attribute::uniform::high);
  // The sum may round up to `high`, which is not in the range.
  launch(uniformKernel, blocksFor(device, count, kGroup<float> * kElementThreads), kElementThreads, 0, device.stream(),
         input(record, 0).floats(), count, sourceOf(record, attribute::uniform::seed, attribute::uniform::stream), low,
         high, std::nextafter(high, low));
}

void normal(CudaDevice& device, const Record& record) {
  const int64_t count = input(record, 0).elements();
  if (count == 0) return;
  launch(normalKernel, blocksFor(device, count, kGroup<float> * kElementThreads), kElementThreads, 0, device.stream(),
         input(record, 0).floats(), count, sourceOf(record, attribute::normal::seed, attribute::normal::stream),
         number(record, attribute::normal::mean), number(record, attribute::normal::deviation));
}

template <class T>
void dropout(CudaDevice& device, const Record& record) {
  const int64_t count = input(record, 0).elements();
  if (count == 0) return;
  const float probability = number(record, attribute::dropout::probability);
  const TensorView& out = output(record, 0);
  const uint64_t first = firstBitsOf(probability);
  if (first > UINT32_MAX) {
    check(cudaMemsetAsync(out.data, 0, static_cast<size_t>(out.bytes()), device.stream()), "dropout");
    return;
  }
  launch(dropoutKernel<T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0, device.stream(),
         input(record, 0).as<T>(), record.inputs > 1 ? input(record, 1).floats() : nullptr, out.as<T>(), count,
         sourceOf(record, attribute::dropout::seed, attribute::dropout::stream), static_cast<uint32_t>(first),
         1 / (1 - probability));
}

}  // namespace

namespace launchers {

const Launcher uniform = cuda::uniform;
const Launcher normal = cuda::normal;
const Launcher dropout = byPrecision<cuda::dropout<float>, cuda::dropout<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
