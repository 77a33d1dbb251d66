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

std::shared_ptr<const ChunkTable> TableCache::chunksFor(const TensorList& list, bool needsPlaces) {
  for (const auto& table : recent_)
    if (sameSizes(*table, list) && (!needsPlaces || table->places == list.places)) return table;
  auto table = std::make_shared<ChunkTable>();
  for (const TensorView& tensor : list.tensors) table->sizes.push_back(static_cast<uint64_t>(tensor.elements()));
  table->places = list.places;
  const std::vector<Chunk> chunks = chunksOf(table->sizes, table->places);
  if (chunks.size() > UINT32_MAX) throw CudaError("more than 2^46 elements in one list", cudaErrorInvalidValue);
  table->count = static_cast<uint32_t>(chunks.size());
  table->memory = device_.uploadTable(chunks.data(), chunks.size() * sizeof(Chunk));
  recent_.push_front(table);
  if (recent_.size() > kRecent) recent_.pop_back();
  return table;
}

const ListTables& TableCache::of(const TensorList& list, bool needsPlaces) {
  auto tables = std::static_pointer_cast<ListTables>(list.backend);
  if (!tables) {
    tables = std::make_shared<ListTables>();
    std::vector<void*> addresses;
    for (const TensorView& tensor : list.tensors) addresses.push_back(tensor.data);
    tables->addresses = device_.uploadTable(addresses.data(), addresses.size() * sizeof(void*));
    list.backend = tables;
  }
  // A list never changes its sizes or its places.
  if (!tables->chunks || (needsPlaces && tables->chunks->places != list.places))
    tables->chunks = chunksFor(list, needsPlaces);
  return *tables;
}

}  // namespace stepsize::cuda
