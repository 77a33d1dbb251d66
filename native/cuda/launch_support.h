// Helpers of the launchers: sizes of grids, and access to the parts of a record.
#pragma once

#include <algorithm>
#include <string>

#include "../operations_attributes.h"
#include "cuda_device.h"
#include "operations.h"
#include "row_group.cuh"

namespace stepsize::cuda {

// The number of blocks for this much work, at most as many as fill the device; kernels loop over the rest.
inline unsigned blocksFor(const CudaDevice& device, int64_t work) {
  return static_cast<unsigned>(std::clamp<int64_t>(work, 1, device.maxBlocks()));
}

// a/b, rounded up.
inline int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The same if a block takes `perBlock` pieces of work at once.
inline unsigned blocksFor(const CudaDevice& device, int64_t work, int perBlock) {
  return blocksFor(device, ceilDivide(work, perBlock));
}

// A size as the int that kernels use; throws CudaError if it is too large.
inline int index(int64_t size, const char* what) {
  if (size > INT32_MAX)
    throw CudaError(std::to_string(size) + " " + what + ", at most 2147483647 on CUDA", cudaErrorInvalidValue);
  return static_cast<int>(size);
}

// The attributes of a record by position.
inline int64_t integer(const Record& record, int attribute) {
  return static_cast<int64_t>(record.attributes[attribute]);
}
inline float number(const Record& record, int attribute) { return static_cast<float>(record.attributes[attribute]); }

// The inputs and outputs of a record by position.
inline const TensorView& input(const Record& record, int index) { return record.tensors[static_cast<size_t>(index)]; }
inline const TensorView& output(const Record& record, int index) {
  return record.tensors[static_cast<size_t>(record.inputs) + static_cast<size_t>(index)];
}

// Whether an address is aligned to 16 bytes.
inline bool beginsChunk(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

// Calls the launcher for the storage type of the activations: Full for float32, Low for bfloat16.
template <Launcher Full, Launcher Low>
void byPrecision(CudaDevice& device, const Record& record) {
  const auto isLow = [](const TensorView& tensor) { return tensor.type == DataType::bfloat16; };
  (std::any_of(record.tensors.begin(), record.tensors.end(), isLow) ? Low : Full)(device, record);
}

// Launches a kernel that may need more shared memory than the default limit. `maxBytes` is the most that any launch of
// the kernel needs.
template <class Kernel, class... Arguments>
void launchWithShared(CudaDevice& device, Kernel kernel, dim3 grid, dim3 block, size_t sharedBytes, size_t maxBytes,
                      Arguments... arguments) {
  device.allowShared(reinterpret_cast<const void*>(kernel), maxBytes);
  launch(kernel, grid, block, sharedBytes, device.stream(), arguments...);
}

// A tensor as rows of its last axis.
struct RowsOf {
  int64_t rows;
  int columns;
  explicit RowsOf(const TensorView& x)
      : rows(x.shape.product(0, x.shape.rank - 1)), columns(index(x.shape[x.shape.rank - 1], "columns")) {}
};

// Calls f with the RowGroup for rows of this length, and the number of blocks for all rows.
template <class F>
void withRowGroup(const CudaDevice& device, const RowsOf& x, const F& f) {
  const auto start = [&](auto group) { f(group, blocksFor(device, x.rows, group.kPerBlock)); };
  if (x.columns <= kShortRow)
    start(RowGroup<kWarp>{});
  else
    start(RowGroup<kRowThreads>{});
}

}  // namespace stepsize::cuda
