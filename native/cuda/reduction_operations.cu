// Sums and largest values.
#include "launch_support.h"
#include "reduce.cuh"

namespace stepsize::cuda {

namespace {

void sum(CudaDevice& device, const Record& record) {
  const TensorView& x = input(record, 0);
  const auto axis = static_cast<int>(integer(record, attribute::sumAxis));
  const auto end = axis + static_cast<int>(integer(record, attribute::sumCount));
  const float scale = number(record, attribute::sumScale);
  SumShape shape{x.shape.product(0, axis), x.shape.product(axis, end), x.shape.product(end, x.shape.rank), 1};
  if (shape.outer * shape.inner == 0) return;
  shape.parts = std::max<int64_t>(1, ceilDivide(shape.length, shape.inner == 1 ? kRowPart : kColumnPart));
  float* out = output(record, 0).floats();
  DeviceMemory scratch;
  if (shape.parts > 1)
    scratch = device.scratch(static_cast<size_t>(shape.outer * shape.parts * shape.inner) * sizeof(float));
  float* sums = shape.parts > 1 ? static_cast<float*>(scratch.get()) : out;
  const float scaleOfParts = shape.parts > 1 ? 1.0f : scale;
  const int64_t tasks = shape.outer * shape.parts * ceilDivide(shape.inner, kColumnLanes);
  launch(shape.inner == 1 ? sumRowsKernel : sumColumnsKernel, blocksFor(device, tasks), kReduceThreads, 0,
         device.stream(), x.floats(), sums, shape, scaleOfParts);
  if (shape.parts > 1)
    launch(addPartsKernel, blocksFor(device, ceilDivide(shape.outer * shape.inner, kReduceThreads)), kReduceThreads, 0,
           device.stream(), sums, out, shape, scale);
}

void argmax(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.rows == 0) return;
  launch(argmaxKernel, blocksFor(device, ceilDivide(x.rows, kReduceThreads / kWarp)), kReduceThreads, 0,
         device.stream(), input(record, 0).floats(), output(record, 0).as<int32_t>(), x.rows, x.columns);
}

void correctCount(CudaDevice& device, const Record& record) {
  const RowsOf logits(input(record, 0));
  launch(correctCountKernel, 1, kReduceThreads, 0, device.stream(), input(record, 0).floats(),
         input(record, 1).as<const int32_t>(), logits.rows, logits.columns, output(record, 0).floats());
}

}  // namespace

Launcher reductionLauncher(OperationId id) {
  switch (id) {
    case OperationId::sum: return sum;
    case OperationId::argmax: return argmax;
    case OperationId::correctCount: return correctCount;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
