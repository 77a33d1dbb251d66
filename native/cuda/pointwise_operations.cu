// Arithmetic and functions of elements.
#include "launch_support.h"
#include "pointwise.cuh"

namespace stepsize::cuda {

namespace {

unsigned blocksForFours(const CudaDevice& device, int64_t count) {
  return blocksFor(device, ceilDivide(count, 4 * kFoursThreads));
}

template <class F>
void map(CudaDevice& device, const Record& record, F f) {
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(mapKernel<F>, blocksForFours(device, count), kFoursThreads, 0, device.stream(), input(record, 0).floats(),
         output(record, 0).floats(), count, f);
}
template <class F>
void map(CudaDevice& device, const Record& record) {
  map(device, record, F{});
}

// The smaller operand repeats along the larger one's leading axes.
template <class F>
void zip(CudaDevice& device, const Record& record) {
  const TensorView &a = input(record, 0), &b = input(record, 1);
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  const auto start = [&](const TensorView& large, const TensorView& small, auto f) {
    launch(zipKernel<decltype(f)>, blocksForFours(device, count), kFoursThreads, 0, device.stream(), large.floats(),
           small.floats(), output(record, 0).floats(), count, small.elements(), f);
  };
  if (a.shape.rank >= b.shape.rank)
    start(a, b, F{});
  else
    start(b, a, pointwise::Swapped<F>{});
}

void affine(CudaDevice& device, const Record& record) {
  map(device, record, pointwise::Affine{number(record, attribute::scale), number(record, attribute::shift)});
}

void expand(CudaDevice& device, const Record& record) {
  const TensorView& x = input(record, 0);
  const auto axis = static_cast<int>(integer(record, attribute::expandAxis));
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(expandKernel, blocksFor(device, ceilDivide(count, kFoursThreads)), kFoursThreads, 0, device.stream(),
         x.floats(), output(record, 0).floats(), count, integer(record, attribute::expandSize),
         x.shape.product(axis, x.shape.rank), number(record, attribute::expandScale));
}

void swigluGradient(CudaDevice& device, const Record& record) {
  const int64_t count = output(record, 0).elements();
  if (count == 0) return;
  launch(swigluGradientKernel, blocksForFours(device, count), kFoursThreads, 0, device.stream(),
         input(record, 0).floats(), input(record, 1).floats(), input(record, 2).floats(), output(record, 0).floats(),
         output(record, 1).floats(), count);
}

}  // namespace

Launcher pointwiseLauncher(OperationId id) {
  switch (id) {
    case OperationId::add: return zip<pointwise::Add>;
    case OperationId::subtract: return zip<pointwise::Subtract>;
    case OperationId::multiply: return zip<pointwise::Multiply>;
    case OperationId::divide: return zip<pointwise::Divide>;
    case OperationId::affine: return affine;
    case OperationId::exp: return map<pointwise::Exp>;
    case OperationId::log: return map<pointwise::Log>;
    case OperationId::sqrt: return map<pointwise::Sqrt>;
    case OperationId::square: return map<pointwise::Square>;
    case OperationId::tanh: return map<pointwise::Tanh>;
    case OperationId::sigmoid: return map<pointwise::Sigmoid>;
    case OperationId::relu: return map<pointwise::Relu>;
    case OperationId::reluGradient: return zip<pointwise::ReluGradient>;
    case OperationId::expand: return expand;
    case OperationId::swiglu: return zip<Swiglu>;
    case OperationId::swigluGradient: return swigluGradient;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
