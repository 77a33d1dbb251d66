#include "list_tables.h"

#include "cuda_device.h"

namespace stepsize::cuda {

namespace {

constexpr size_t kRecent = 8;

bool sameSizes(const ChunkTable& table, const TensorList& list) {
  if (table.sizes.size() != list.tensors.size()) return false;
  for (size_t i = 0; i < table.sizes.size(); i++)
    if (table.sizes[i] != static_cast<uint64_t>(list.tensors[i].elements())) return false;
  return true;
}

}  // namespace

std::shared_ptr<const ChunkTable> TableCache::chunksFor(const TensorList& list, bool needsGroups) {
  for (const auto& table : recent_)
    if (sameSizes(*table, list) && (!needsGroups || table->groups == list.groups)) return table;
  auto table = std::make_shared<ChunkTable>();
  for (const TensorView& tensor : list.tensors) table->sizes.push_back(static_cast<uint64_t>(tensor.elements()));
  table->groups = list.groups;
  const std::vector<Chunk> chunks = chunksOf(table->sizes, table->groups);
  if (chunks.size() > UINT32_MAX) throw CudaError("more than 2^46 elements in one list", cudaErrorInvalidValue);
  table->count = static_cast<uint32_t>(chunks.size());
  table->memory = device_.uploadTable(chunks.data(), chunks.size() * sizeof(Chunk));
  recent_.push_front(table);
  if (recent_.size() > kRecent) recent_.pop_back();
  return table;
}

const ListTables& TableCache::of(const TensorList& list, bool needsGroups) {
  auto tables = std::static_pointer_cast<ListTables>(list.backend);
  if (!tables) {
    tables = std::make_shared<ListTables>();
    std::vector<void*> addresses;
    for (const TensorView& tensor : list.tensors) addresses.push_back(tensor.data);
    tables->addresses = device_.uploadTable(addresses.data(), addresses.size() * sizeof(void*));
    list.backend = tables;
  }
  // Its sizes never change, its groups neither.
  if (!tables->chunks || (needsGroups && tables->chunks->groups != list.groups))
    tables->chunks = chunksFor(list, needsGroups);
  return *tables;
}

}  // namespace stepsize::cuda
