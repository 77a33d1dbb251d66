// Launches the kernels of batch norm, LayerNorm and RMSNorm.
#include "batch_norm.cuh"
#include "launch_support.h"
#include "layer_norm.cuh"

namespace stepsize::cuda {

namespace {

template <class T>
unsigned partsBlocks(int64_t rows, int columns) {
  return static_cast<unsigned>(index(columnParts(rows) * ceilDivide(columns, kColumnTile<T>), "parts of sums"));
}
unsigned mergeBlocks(int columns) { return static_cast<unsigned>(ceilDivide(columns, kMergeLanes)); }

// For a batch without rows: its statistics must not be what was in the memory before.
void zero(CudaDevice& device, const TensorView& x) {
  if (x.bytes() > 0) check(cudaMemsetAsync(x.data, 0, static_cast<size_t>(x.bytes()), device.stream()), "batchNorm");
}

template <class T>
void batchNorm(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.columns == 0) return;
  if (x.rows == 0) {
    zero(device, output(record, 1));
    return zero(device, output(record, 2));
  }
  const auto channels = static_cast<size_t>(x.columns);
  const size_t parts = static_cast<size_t>(columnParts(x.rows)) * 2 * channels;
  const DeviceMemory scratch = device.scratch((parts + 2 * channels) * sizeof(float));
  auto* sums = static_cast<float*>(scratch.get());
  const BatchNormTensors<T> tensors{input(record, 1).as<T>(),
                                    input(record, 2).as<T>(),
                                    input(record, 3).floats(),
                                    input(record, 4).floats(),
                                    output(record, 1).floats(),
                                    output(record, 2).floats(),
                                    sums + parts,
                                    sums + parts + channels};
  launch(batchStatisticsKernel<T>, partsBlocks<T>(x.rows, x.columns), kColumnThreads, 0, device.stream(),
         input(record, 0).as<T>(), sums, x.rows, x.columns);
  launch(mergeStatisticsKernel<T>, mergeBlocks(x.columns), kMergeThreads, 0, device.stream(), sums, x.rows, x.columns,
         record.attributes[attribute::batchNorm::epsilon], number(record, attribute::batchNorm::momentum), tensors);
  const int64_t count = x.rows * x.columns;
  launch(scaleShiftKernel<T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
         device.stream(), input(record, 0).as<T>(), output(record, 0).as<T>(), count, x.columns, tensors.scale,
         tensors.shift, integer(record, attribute::batchNorm::relu) != 0);
}

template <class T>
void batchNormInference(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  const int64_t count = x.rows * x.columns;
  if (count == 0) return;
  launch(batchNormInferenceKernel<T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
         device.stream(), input(record, 0).as<T>(), output(record, 0).as<T>(), count, x.columns,
         input(record, 1).as<T>(), input(record, 2).as<T>(), input(record, 3).floats(), input(record, 4).floats(),
         number(record, attribute::batchNormInference::epsilon),
         integer(record, attribute::batchNormInference::relu) != 0);
}

template <class T>
void batchNormGradient(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.columns == 0) return;
  const auto channels = static_cast<size_t>(x.columns);
  const size_t parts = static_cast<size_t>(columnParts(x.rows)) * 2 * channels;
  const DeviceMemory scratch = device.scratch((parts + 3 * channels) * sizeof(float));
  auto* sums = static_cast<float*>(scratch.get());
  float* factors = sums + parts;
  const BatchNormGradientTensors<T> tensors{input(record, 2).as<T>(),
                                            input(record, 4).floats(),
                                            output(record, 1).as<T>(),
                                            output(record, 2).as<T>(),
                                            factors,
                                            factors + channels,
                                            factors + 2 * channels};
  const T *values = input(record, 0).as<T>(), *g = input(record, 1).as<T>();
  const float* mean = input(record, 3).floats();
  if (x.rows > 0)
    launch(batchGradientSumsKernel<T>, partsBlocks<T>(x.rows, x.columns), kColumnThreads, 0, device.stream(), values, g,
           mean, sums, x.rows, x.columns);
  launch(mergeGradientSumsKernel<T>, mergeBlocks(x.columns), kMergeThreads, 0, device.stream(), sums, x.rows, x.columns,
         tensors);
  const int64_t count = x.rows * x.columns;
  if (count == 0) return;
  launch(batchNormGradientKernel<T>, blocksFor(device, count, kGroup<T> * kElementThreads), kElementThreads, 0,
         device.stream(), values, g, mean, output(record, 0).as<T>(), count, x.columns, tensors.fromG, tensors.fromX,
         tensors.constant);
}

template <bool Centered, class T>
void rowNorm(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  if (x.rows == 0) return;
  const bool learned = record.inputs > 1;
  withRowGroup(device, x, [&](auto group, unsigned blocks) {
    launch(rowNormKernel<Centered, decltype(group), T>, blocks, kRowThreads, 0, device.stream(),
           input(record, 0).as<T>(), learned ? input(record, 1).as<T>() : nullptr,
           learned && Centered ? input(record, 2).as<T>() : nullptr, output(record, 0).as<T>(),
           Centered ? output(record, 1).floats() : nullptr, output(record, Centered ? 2 : 1).floats(), x.rows,
           x.columns, number(record, attribute::layerNorm::epsilon));
  });
}

template <bool Centered, class T>
void rowNormGradient(CudaDevice& device, const Record& record) {
  const RowsOf x(input(record, 0));
  constexpr int statistics = Centered ? 2 : 1;
  const bool learned = record.inputs > 2 + statistics;
  const T *values = input(record, 0).as<T>(), *g = input(record, 1).as<T>();
  const float* means = Centered ? input(record, 2).floats() : nullptr;
  const float* inverses = input(record, 1 + statistics).floats();
  const T* gamma = learned ? input(record, record.inputs - 1).as<T>() : nullptr;
  if (x.rows > 0)
    withRowGroup(device, x, [&](auto group, unsigned blocks) {
      launch(rowNormGradientKernel<Centered, decltype(group), T>, blocks, kRowThreads, 0, device.stream(), values, g,
             means, inverses, gamma, output(record, 0).as<T>(), x.rows, x.columns);
    });
  if (!learned || x.columns == 0) return;
  const int64_t parts = columnParts(x.rows);
  const DeviceMemory scratch = device.scratch(static_cast<size_t>(parts * 2 * x.columns) * sizeof(float));
  auto* sums = static_cast<float*>(scratch.get());
  if (parts > 0)
    launch(rowNormColumnsKernel<Centered, T>, partsBlocks<T>(x.rows, x.columns), kColumnThreads, 0, device.stream(),
           values, g, means, inverses, sums, x.rows, x.columns);
  launch(addColumnPartsKernel<T>, mergeBlocks(x.columns), kMergeThreads, 0, device.stream(), sums, parts, x.columns,
         output(record, 1).as<T>(), Centered ? output(record, 2).as<T>() : nullptr);
}

}  // namespace

namespace launchers {

const Launcher batchNorm = byPrecision<cuda::batchNorm<float>, cuda::batchNorm<BFloat16>>;
const Launcher batchNormInference = byPrecision<cuda::batchNormInference<float>, cuda::batchNormInference<BFloat16>>;
const Launcher batchNormGradient = byPrecision<cuda::batchNormGradient<float>, cuda::batchNormGradient<BFloat16>>;
const Launcher layerNorm = byPrecision<rowNorm<true, float>, rowNorm<true, BFloat16>>;
const Launcher layerNormGradient = byPrecision<rowNormGradient<true, float>, rowNormGradient<true, BFloat16>>;
const Launcher rmsNorm = byPrecision<rowNorm<false, float>, rowNorm<false, BFloat16>>;
const Launcher rmsNormGradient = byPrecision<rowNormGradient<false, float>, rowNormGradient<false, BFloat16>>;

}  // namespace launchers

}  // namespace stepsize::cuda
