// The tables of update_tables.h in device memory: the addresses of each list of tensors, and the chunks of each set of
// sizes. Tables are made when a list is first used and are kept with the list. Lists of equal sizes share the table of
// chunks, because the gradients of a new step have new addresses but old sizes.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "../tensor_list.h"
#include "piece_pool.h"
#include "update_tables.h"

namespace stepsize::cuda {

class CudaDevice;

// The chunks of tensors of these sizes.
struct ChunkTable {
  std::vector<uint64_t> sizes;
  std::vector<uint32_t> places;
  DeviceMemory memory;
  uint32_t count = 0;

  const Chunk* chunks() const { return static_cast<const Chunk*>(memory.get()); }
};

// The tables of one list.
struct ListTables {
  DeviceMemory addresses;
  std::shared_ptr<const ChunkTable> chunks;

  void* const* tensors() const { return static_cast<void* const*>(addresses.get()); }
};

// Makes the tables of lists and shares the chunks.
class TableCache {
 public:
  explicit TableCache(CudaDevice& device) : device_(device) {}
  // The tables of a list. If `needsPlaces`, the chunks have the places of the list; otherwise they may have any.
  const ListTables& of(const TensorList& list, bool needsPlaces);

 private:
  std::shared_ptr<const ChunkTable> chunksFor(const TensorList& list, bool needsPlaces);

  CudaDevice& device_;
  // The tables used last. A model usually has one set of sizes, and another one only while some of its parameters have
  // no gradient.
  std::deque<std::shared_ptr<const ChunkTable>> recent_;
};

}  // namespace stepsize::cuda
