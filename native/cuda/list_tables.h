// The tables of update_tables.h in device memory: of each list of tensors its addresses, and of each set of sizes its
// chunks. Made when a list is first used, kept with the list, and shared where sizes agree: the gradients of a new step
// have new addresses and old sizes.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "../tensor_list.h"
#include "piece_pool.h"
#include "update_tables.h"

namespace stepsize::cuda {

class CudaDevice;

struct ChunkTable {
  std::vector<uint64_t> sizes;
  std::vector<uint32_t> places;
  DeviceMemory memory;
  uint32_t count = 0;

  const Chunk* chunks() const { return static_cast<const Chunk*>(memory.get()); }
};

struct ListTables {
  DeviceMemory addresses;
  std::shared_ptr<const ChunkTable> chunks;

  void* const* tensors() const { return static_cast<void* const*>(addresses.get()); }
};

class TableCache {
 public:
  explicit TableCache(CudaDevice& device) : device_(device) {}
  // With the list's places, or, if they do not matter, any.
  const ListTables& of(const TensorList& list, bool needsPlaces);

 private:
  std::shared_ptr<const ChunkTable> chunksFor(const TensorList& list, bool needsPlaces);

  CudaDevice& device_;
  // The last few: a model has one set of sizes, and seldom another while some of its parameters have no gradient.
  std::deque<std::shared_ptr<const ChunkTable>> recent_;
};

}  // namespace stepsize::cuda
