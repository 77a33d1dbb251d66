// Batch norm, LayerNorm and RMSNorm.
#include "batch_norm.cuh"
#include "launch_rows.h"
#include "layer_norm.cuh"

namespace stepsize::cuda {

namespace {

unsigned blocksForElements(const CudaDevice& device, int64_t count) {
  return blocksFor(device, ceilDivide(count, 4 * kFoursThreads));
}

dim3 partsGrid(int64_t rows, int channels) {
  return {static_cast<unsigned>(ceilDivide(rows, kNormPart)),
          static_cast<unsigned>(ceilDivide(channels, kNormThreadsX)), 1};
}
const dim3 kPartsBlock(kNormThreadsX, kNormThreadsY, 1);

// A batch without rows: its statistics must not be what was in the memory before.
void zero(CudaDevice& device, const TensorView& x) {
  if (x.bytes() > 0) check(cudaMemsetAsync(x.data, 0, static_cast<size_t>(x.bytes()), device.stream()), "batchNorm");
}

void batchNorm(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.columns == 0) return;
  if (x.rows == 0) {
    zero(device, output(record, 1));
    return zero(device, output(record, 2));
  }
  const auto channels = static_cast<size_t>(x.columns);
  const size_t parts = static_cast<size_t>(ceilDivide(x.rows, kNormPart)) * 2 * channels;
  const DeviceMemory scratch = device.scratch((parts + 2 * channels) * sizeof(float));
  auto* sums = static_cast<float*>(scratch.get());
  const BatchNormTensors tensors{input(record, 1).floats(),
                                 input(record, 2).floats(),
                                 input(record, 3).floats(),
                                 input(record, 4).floats(),
                                 output(record, 1).floats(),
                                 output(record, 2).floats(),
                                 sums + parts,
                                 sums + parts + channels};
  launch(batchStatisticsKernel, partsGrid(x.rows, x.columns), kPartsBlock, 0, device.stream(),
         input(record, 0).floats(), sums, x.rows, x.columns);
  launch(mergeStatisticsKernel, static_cast<unsigned>(ceilDivide(x.columns, kBatchNormThreads)), kBatchNormThreads, 0,
         device.stream(), sums, x.rows, x.columns, record.attributes[attribute::batchNormEpsilon],
         number(record, attribute::momentum), tensors);
  const int64_t count = x.rows * x.columns;
  launch(scaleShiftKernel, blocksForElements(device, count), kFoursThreads, 0, device.stream(),
         input(record, 0).floats(), output(record, 0).floats(), count, x.columns, tensors.scale, tensors.shift);
}

void batchNormInference(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  const int64_t count = x.rows * x.columns;
  if (count == 0) return;
  launch(batchNormInferenceKernel, blocksForElements(device, count), kFoursThreads, 0, device.stream(),
         input(record, 0).floats(), output(record, 0).floats(), count, x.columns, input(record, 1).floats(),
         input(record, 2).floats(), input(record, 3).floats(), input(record, 4).floats(),
         number(record, attribute::inferenceEpsilon));
}

void batchNormGradient(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.columns == 0) return;
  const auto channels = static_cast<size_t>(x.columns);
  const size_t parts = static_cast<size_t>(ceilDivide(x.rows, kNormPart)) * 2 * channels;
  const DeviceMemory scratch = device.scratch((parts + 3 * channels) * sizeof(float));
  auto* sums = static_cast<float*>(scratch.get());
  float* factors = sums + parts;
  const BatchNormGradientTensors tensors{input(record, 2).floats(),
                                         input(record, 4).floats(),
                                         output(record, 1).floats(),
                                         output(record, 2).floats(),
                                         factors,
                                         factors + channels,
                                         factors + 2 * channels};
  const float *values = input(record, 0).floats(), *g = input(record, 1).floats(), *mean = input(record, 3).floats();
  if (x.rows > 0)
    launch(batchGradientSumsKernel, partsGrid(x.rows, x.columns), kPartsBlock, 0, device.stream(), values, g, mean,
           sums, x.rows, x.columns);
  launch(mergeGradientSumsKernel, static_cast<unsigned>(ceilDivide(x.columns, kBatchNormThreads)), kBatchNormThreads, 0,
         device.stream(), sums, x.rows, x.columns, tensors);
  const int64_t count = x.rows * x.columns;
  if (count == 0) return;
  launch(batchNormGradientKernel, blocksForElements(device, count), kFoursThreads, 0, device.stream(), values, g, mean,
         output(record, 0).floats(), count, x.columns, tensors.fromG, tensors.fromX, tensors.constant);
}

template <bool Centered>
void rowNorm(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.rows == 0) return;
  const bool learned = record.inputs > 1;
  withRowGroup(device, x, [&](auto group, unsigned blocks) {
    launch(rowNormKernel<Centered, decltype(group)>, blocks, kRowThreads, 0, device.stream(), input(record, 0).floats(),
           learned ? input(record, 1).floats() : nullptr, learned && Centered ? input(record, 2).floats() : nullptr,
           output(record, 0).floats(), Centered ? output(record, 1).floats() : nullptr,
           output(record, Centered ? 2 : 1).floats(), x.rows, x.columns, number(record, attribute::normEpsilon));
  });
}

template <bool Centered>
void rowNormGradient(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  constexpr int statistics = Centered ? 2 : 1;
  const bool learned = record.inputs > 2 + statistics;
  const float *values = input(record, 0).floats(), *g = input(record, 1).floats();
  const float* means = Centered ? input(record, 2).floats() : nullptr;
  const float* inverses = input(record, 1 + statistics).floats();
  const float* gamma = learned ? input(record, 2 + statistics).floats() : nullptr;
  if (x.rows > 0)
    withRowGroup(device, x, [&](auto group, unsigned blocks) {
      launch(rowNormGradientKernel<Centered, decltype(group)>, blocks, kRowThreads, 0, device.stream(), values, g,
             means, inverses, gamma, output(record, 0).floats(), x.rows, x.columns);
    });
  if (!learned || x.columns == 0) return;
  const int64_t parts = ceilDivide(x.rows, kRowNormPart);
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(parts * 2 * x.columns) * sizeof(float));
  auto* sums = static_cast<float*>(scratch.get());
  const auto tiles = static_cast<unsigned>(ceilDivide(x.columns, kRowThreads));
  if (parts > 0)
    launch(rowNormColumnsKernel<Centered>, dim3(static_cast<unsigned>(parts), tiles, 1), kRowThreads, 0,
           device.stream(), values, g, means, inverses, sums, x.rows, x.columns);
  launch(addColumnPartsKernel, tiles, kRowThreads, 0, device.stream(), sums, parts, x.columns,
         output(record, 1).floats(), Centered ? output(record, 2).floats() : nullptr);
}

}  // namespace

Launcher normalizationLauncher(OperationId id) {
  switch (id) {
    case OperationId::batchNorm: return batchNorm;
    case OperationId::batchNormInference: return batchNormInference;
    case OperationId::batchNormGradient: return batchNormGradient;
    case OperationId::layerNorm: return rowNorm<true>;
    case OperationId::layerNormGradient: return rowNormGradient<true>;
    case OperationId::rmsNorm: return rowNorm<false>;
    case OperationId::rmsNormGradient: return rowNormGradient<false>;
    default: return nullptr;
  }
}

}  // namespace stepsize::cuda
