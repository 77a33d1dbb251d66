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

struct Chunk {
  uint64_t offset;  // of its first element in the tensor
  uint32_t tensor;  // in the list
  uint32_t place;   // of the tensor among all parameters of the optimizer
  uint32_t count;   // elements, at most kChunkElements
};

// Parameters, gradients, moments, copies.
constexpr int kMostLists = 2 + update::kMostMoments + 1;

struct UpdateTables {
  const Chunk* chunks;
  uint32_t chunkCount;
  void* const* lists[kMostLists];  // of each list the tensors' addresses
};

// `places`: of each tensor, or empty if each has its own index.
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
