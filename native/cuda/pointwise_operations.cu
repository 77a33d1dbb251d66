// Launches the kernels of elementwise operations.
#include "launch_support.h"
#include "pointwise.cuh"

namespace stepsize::cuda {

namespace {

template <class T, class F>
void map(CudaDevice& device, const Record& record, F f) {
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(mapKernel<T, F>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0, device.stream(),
         input(record, 0).as<T>(), output(record, 0).as<T>(), count, f);
}
template <class T, class F>
void map(CudaDevice& device, const Record& record) {
  map<T>(device, record, F{});
}

// Operands of one shape.
template <class T, class F>
void zip(CudaDevice& device, const Record& record) {
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(zipKernel<T, F>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0, device.stream(),
         input(record, 0).as<T>(), input(record, 1).as<T>(), output(record, 0).as<T>(), count, F{});
}

// The smaller operand repeats along the leading axes of the larger one.
template <class T, class F>
void zipRepeated(CudaDevice& device, const Record& record) {
  const TensorView &a = input(record, 0), &b = input(record, 1);
  if (a.elements() == b.elements()) return zip<T, F>(device, record);
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  const auto start = [&](const TensorView& large, const TensorView& small, auto f) {
    launch(zipRepeatedKernel<T, decltype(f)>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
           device.stream(), large.as<T>(), small.as<T>(), output(record, 0).as<T>(), count, small.elements(), f);
  };
  if (a.shape.rank >= b.shape.rank)
    start(a, b, F{});
  else
    start(b, a, pointwise::Swapped<F>{});
}

template <class T>
void affine(CudaDevice& device, const Record& record) {
  map<T>(device, record,
         pointwise::Affine{number(record, attribute::affine::scale), number(record, attribute::affine::shift)});
}

template <class T>
void expand(CudaDevice& device, const Record& record) {
  const TensorView& x = input(record, 0);
  const auto axis = static_cast<int>(integer(record, attribute::expand::axis));
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  const auto start = [&](auto zero) {
    using Index = decltype(zero);
    launch(expandKernel<T, Index>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
           device.stream(), x.as<T>(), output(record, 0).as<T>(), count,
           static_cast<Index>(integer(record, attribute::expand::size)),
           static_cast<Index>(x.shape.product(axis, x.shape.rank)), number(record, attribute::expand::scale));
  };
  if (count <= INT32_MAX)
    start(uint32_t{0});
  else
    start(int64_t{0});
}

template <class T>
void swigluGradient(CudaDevice& device, const Record& record) {
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(swigluGradientKernel<T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
         device.stream(), input(record, 0).as<T>(), input(record, 1).as<T>(), input(record, 2).as<T>(),
         output(record, 0).as<T>(), output(record, 1).as<T>(), count);
}

template <class F>
constexpr Launcher kMap = byPrecision<map<float, F>, map<BFloat16, F>>;
template <class F>
constexpr Launcher kZip = byPrecision<zip<float, F>, zip<BFloat16, F>>;
template <class F>
constexpr Launcher kZipRepeated = byPrecision<zipRepeated<float, F>, zipRepeated<BFloat16, F>>;

}  // namespace

namespace launchers {

const Launcher add = kZipRepeated<pointwise::Add>;
const Launcher subtract = kZipRepeated<pointwise::Subtract>;
const Launcher multiply = kZipRepeated<pointwise::Multiply>;
const Launcher divide = kZipRepeated<pointwise::Divide>;
const Launcher addRelu = kZipRepeated<pointwise::AddRelu>;
const Launcher affine = byPrecision<cuda::affine<float>, cuda::affine<BFloat16>>;
const Launcher exp = kMap<pointwise::Exp>;
const Launcher log = kMap<pointwise::Log>;
const Launcher sqrt = kMap<pointwise::Sqrt>;
const Launcher square = kMap<pointwise::Square>;
const Launcher tanh = kMap<pointwise::Tanh>;
const Launcher sigmoid = kMap<pointwise::Sigmoid>;
const Launcher relu = kMap<pointwise::Relu>;
const Launcher reluGradient = kZip<pointwise::ReluGradient>;
const Launcher gelu = kMap<pointwise::Gelu>;
const Launcher geluGradient = kZip<pointwise::GeluGradient>;
const Launcher silu = kMap<pointwise::Silu>;
const Launcher siluGradient = kZip<pointwise::SiluGradient>;
const Launcher expand = byPrecision<cuda::expand<float>, cuda::expand<BFloat16>>;
const Launcher swiglu = kZip<Swiglu>;
const Launcher swigluGradient = byPrecision<cuda::swigluGradient<float>, cuda::swigluGradient<BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
