// The tensors of an update, cut into chunks. The chunks and the addresses are tables in device memory, which
// list_tables.h makes when a list is first used; UpdateTables is passed to the kernel by value.
#pragma once

#include <cstdint>
#include <vector>

#include "../update/norm.h"
#include "../update/rules.h"

namespace stepsize::cuda {

// The elements of a chunk, the unit of work of a block: 64 KiB of float32 parameters. That is large enough to hide the
// reading of its description, and small enough that a hundred small tensors fill a device. The norm has one partial sum
// per chunk.
constexpr uint32_t kChunkElements = update::kNormChunk;

// A part of one tensor.
struct Chunk {
  uint64_t offset;  // index of its first element in the tensor
  uint32_t tensor;  // index of the tensor in the list
  uint32_t place;   // index of the tensor among all parameters of the optimizer
  uint32_t count;   // elements, at most kChunkElements
};

// The most lists of an update: parameters, gradients, moments, copies.
constexpr int kMaxLists = 2 + update::kMaxMoments + 1;

// The tables that an update kernel reads.
struct UpdateTables {
  const Chunk* chunks;
  uint32_t chunkCount;
  void* const* lists[kMaxLists];  // for each list, the addresses of its tensors
};

// The chunks of tensors of these sizes. `places` has the place of each tensor, or is empty if each tensor's place is
// its index.
inline std::vector<Chunk> chunksOf(const std::vector<uint64_t>& elementsOfTensors,
                                   const std::vector<uint32_t>& places = {}) {
  std::vector<Chunk> chunks;
  for (size_t tensor = 0; tensor < elementsOfTensors.size(); tensor++) {
    const auto index = static_cast<uint32_t>(tensor), place = places.empty() ? index : places[tensor];
    const uint64_t elements = elementsOfTensors[tensor];
    for (uint64_t offset = 0; offset < elements; offset += kChunkElements) {
      const uint64_t left = elements - offset;
      chunks.push_back({offset, index, place, static_cast<uint32_t>(left < kChunkElements ? left : kChunkElements)});
    }
  }
  return chunks;
}

}  // namespace stepsize::cuda
