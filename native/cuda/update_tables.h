// What the update kernels are told: which tensors there are, cut into chunks. Plain structures that stand in device
// memory; the chunks are made once, with the optimizer.
#pragma once

#include <cstdint>
#include <vector>

#include "../update/norm.h"
#include "../update/rules.h"

namespace stepsize::cuda {

// A chunk is one block's work: 64 KiB of parameters, big enough to hide the reading of its description, small enough
// that a hundred small tensors fill a device. The norm has one sum per chunk.
constexpr uint32_t kChunkElements = update::kNormChunk;

struct alignas(16) Chunk {
  uint64_t offset;  // of its first element in the tensor
  uint32_t tensor;
  uint16_t group;
  uint16_t count;  // elements, at most kChunkElements
};

// Parameters, gradients, moments, copies.
constexpr int kMostLists = 2 + update::kMostMoments + 1;

struct UpdateTables {
  const Chunk* chunks;
  uint32_t chunkCount;
  void* const* lists[kMostLists];  // of each list the tensors' addresses
};

inline std::vector<Chunk> chunksOf(const std::vector<uint64_t>& elementsOfTensors,
                                   const std::vector<uint16_t>& groups = {}) {
  std::vector<Chunk> chunks;
  for (size_t tensor = 0; tensor < elementsOfTensors.size(); tensor++) {
    const uint64_t elements = elementsOfTensors[tensor];
    const uint16_t group = groups.empty() ? uint16_t{0} : groups[tensor];
    for (uint64_t offset = 0; offset < elements; offset += kChunkElements) {
      const uint64_t left = elements - offset;
      const auto count = static_cast<uint16_t>(left < kChunkElements ? left : kChunkElements);
      chunks.push_back({offset, static_cast<uint32_t>(tensor), group, count});
    }
  }
  return chunks;
}

}  // namespace stepsize::cuda
