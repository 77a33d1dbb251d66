// What the update kernels are told: which tensors there are, cut into chunks. Plain structures that stand in device
// memory; the chunks are made once, with the optimizer.
#pragma once

#include <cstdint>
#include <vector>

namespace stepsize::cuda {

// A chunk is one block's work: 64 KiB of parameters, big enough to hide the reading of its description, small enough
// that a hundred small tensors fill a device.
constexpr uint32_t kChunkElements = 1 << 14;
constexpr int kMostLists = 4;

struct TensorEntry {
  float* lists[kMostLists];  // the parameter, then what its rule keeps per parameter
  int32_t group;
};

struct Chunk {
  uint64_t offset;  // of its first element in the tensor
  uint32_t tensor;
  uint32_t count;  // elements, at most kChunkElements
};

struct UpdateTables {
  const TensorEntry* tensors;
  const float* const* gradients;  // one address per tensor
  const Chunk* chunks;
  uint32_t chunkCount;
};

inline std::vector<Chunk> chunksOf(const std::vector<uint64_t>& elementsOfTensors) {
  std::vector<Chunk> chunks;
  for (size_t tensor = 0; tensor < elementsOfTensors.size(); tensor++) {
    const uint64_t elements = elementsOfTensors[tensor];
    for (uint64_t offset = 0; offset < elements; offset += kChunkElements) {
      const uint64_t left = elements - offset;
      const auto count = static_cast<uint32_t>(left < kChunkElements ? left : kChunkElements);
      chunks.push_back({offset, static_cast<uint32_t>(tensor), count});
    }
  }
  return chunks;
}

}  // namespace stepsize::cuda
