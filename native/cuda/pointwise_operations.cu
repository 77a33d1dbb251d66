// Launches the kernels of elementwise operations.
#include "launch_support.h"
#include "pointwise.cuh"

namespace stepsize::cuda {

namespace {

template <class T, class F>
void map(CudaDevice& device, const Record& record, F f) {
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(mapKernel<T, F>, blocksFor(device, count, 4 * kFoursThreads), kFoursThreads, 0, device.stream(),
         input(record, 0).as<T>(), output(record, 0).as<T>(), count, f);
}
template <class T, class F>
void map(CudaDevice& device, const Record& record) {
  map<T>(device, record, F{});
}

// The smaller operand repeats along the leading axes of the larger one.
template <class T, class F>
void zip(CudaDevice& device, const Record& record) {
  const TensorView &a = input(record, 0), &b = input(record, 1);
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  const auto start = [&](const TensorView& large, const TensorView& small, auto f) {
    launch(zipKernel<T, decltype(f)>, blocksFor(device, count, 4 * kFoursThreads), kFoursThreads, 0, device.stream(),
           large.as<T>(), small.as<T>(), output(record, 0).as<T>(), count, small.elements(), f);
  };
  if (a.shape.rank >= b.shape.rank)
    start(a, b, F{});
  else
    start(b, a, pointwise::Swapped<F>{});
}

template <class T>
void affine(CudaDevice& device, const Record& record) {
  map<T>(device, record, pointwise::Affine{number(record, attribute::scale), number(record, attribute::shift)});
}

template <class T>
void expand(CudaDevice& device, const Record& record) {
  const TensorView& x = input(record, 0);
  const auto axis = static_cast<int>(integer(record, attribute::expandAxis));
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  const auto start = [&](auto zero) {
    using Index = decltype(zero);
    launch(expandKernel<T, Index>, blocksFor(device, count, 4 * kFoursThreads), kFoursThreads, 0, device.stream(),
           x.as<T>(), output(record, 0).as<T>(), count, static_cast<Index>(integer(record, attribute::expandSize)),
           static_cast<Index>(x.shape.product(axis, x.shape.rank)), number(record, attribute::expandScale));
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
  launch(swigluGradientKernel<T>, blocksFor(device, count, 4 * kFoursThreads), kFoursThreads, 0, device.stream(),
         input(record, 0).as<T>(), input(record, 1).as<T>(), input(record, 2).as<T>(), output(record, 0).as<T>(),
         output(record, 1).as<T>(), count);
}

template <class F>
constexpr Launcher kMap = byPrecision<map<float, F>, map<BFloat16, F>>;
template <class F>
constexpr Launcher kZip = byPrecision<zip<float, F>, zip<BFloat16, F>>;

}  // namespace

Launcher pointwiseLauncher(OperationId id) {
  switch (id) {
    case OperationId::add: return kZip<pointwise::Add>;
    case OperationId::subtract: return kZip<pointwise::Subtract>;
    case OperationId::multiply: return kZip<pointwise::Multiply>;
    case OperationId::divide: return kZip<pointwise::Divide>;
    case OperationId::addRelu: return kZip<pointwise::AddRelu>;
    case OperationId::affine: return byPrecision<affine<float>, affine<BFloat16>>;
    case OperationId::exp: return kMap<pointwise::Exp>;
    case OperationId::log: return kMap<pointwise::Log>;
    case OperationId::sqrt: return kMap<pointwise::Sqrt>;
    case OperationId::square: return kMap<pointwise::Square>;
    case OperationId::tanh: return kMap<pointwise::Tanh>;
    case OperationId::sigmoid: return kMap<pointwise::Sigmoid>;
    case OperationId::relu: return kMap<pointwise::Relu>;
    case OperationId::reluGradient: return kZip<pointwise::ReluGradient>;
    case OperationId::gelu: return kMap<pointwise::Gelu>;
    case OperationId::geluGradient: return kZip<pointwise::GeluGradient>;
    case OperationId::silu: return kMap<pointwise::Silu>;
    case OperationId::siluGradient: return kZip<pointwise::SiluGradient>;
    case OperationId::expand: return byPrecision<expand<float>, expand<BFloat16>>;
    case OperationId::swiglu: return kZip<Swiglu>;
    case OperationId::swigluGradient: return byPrecision<swigluGradient<float>, swigluGradient<BFloat16>>;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
