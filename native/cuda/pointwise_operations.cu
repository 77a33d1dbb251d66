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

// Operands that broadcast.
template <class T, class F>
void zipBroadcast(CudaDevice& device, const Record& record) {
  const TensorView &a = input(record, 0), &b = input(record, 1);
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  const Broadcast axes(a.shape, b.shape);
  const bool moveTogether = axes.movesInnerA() && axes.movesInnerB();
  if (axes.rank == 1 && moveTogether) return zip<T, F>(device, record);
  const unsigned blocks = blocksFor(device, count, kGroup<T> * kElementThreads);
  if (axes.rank == 1 || (axes.rank == 2 && moveTogether)) {
    // One operand, or one number, repeats as a whole.
    const auto start = [&](const TensorView& large, const TensorView& small, auto f) {
      launch(zipRepeatedKernel<T, decltype(f)>, blocks, kElementThreads, 0, device.stream(), large.as<T>(),
             small.as<T>(), output(record, 0).as<T>(), count, small.elements(), f);
    };
    if (a.elements() >= b.elements())
      start(a, b, F{});
    else
      start(b, a, pointwise::Swapped<F>{});
  } else {
    launch(zipBroadcastKernel<T, F>, blocks, kElementThreads, 0, device.stream(), a.as<T>(), b.as<T>(),
           output(record, 0).as<T>(), index(count, "elements of operands that broadcast"), BroadcastAxes(axes), F{});
  }
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
constexpr Launcher kZipBroadcast = byPrecision<zipBroadcast<float, F>, zipBroadcast<BFloat16, F>>;

}  // namespace

namespace launchers {

const Launcher add = kZipBroadcast<pointwise::Add>;
const Launcher subtract = kZipBroadcast<pointwise::Subtract>;
const Launcher multiply = kZipBroadcast<pointwise::Multiply>;
const Launcher divide = kZipBroadcast<pointwise::Divide>;
const Launcher addRelu = kZipBroadcast<pointwise::AddRelu>;
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
