#include "allocator.h"

#include <algorithm>
#include <memory>

namespace stepsize {

namespace {

// Eight classes per power of two waste at most an eighth; 64 bytes keep every block aligned for vectors.
int64_t sizeClass(int64_t bytes) {
  int64_t step = 64;
  while (step * 16 < bytes) step *= 2;
  return std::max<int64_t>(64, (bytes + step - 1) / step * step);
}

std::string megabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

Allocator::~Allocator() {
  trim();
  for (Block* block : live_) {
    device_.release(block->memory, block->bytes);
    delete block;
  }
}

Block* Allocator::allocate(const TensorSpec& spec, const char* origin) {
  const int64_t bytes = sizeClass(spec.bytes());
  auto block = std::make_unique<Block>();
  block->bytes = bytes;
  block->handles = 1;
  block->origin = origin;
  block->shape = spec.shape;
  block->pool = pool_;
  // An arena may take what is free in general: whoever had it used it earlier in the stream than any replay.
  for (Pool* pool : {pool_, &general_}) {
    const auto found = pool->free.find(bytes);
    if (block->memory != nullptr || found == pool->free.end() || found->second.empty()) continue;
    block->memory = found->second.back();
    found->second.pop_back();
    statistics_.cached -= bytes;
  }
  if (block->memory == nullptr) {
    const auto limited = [&] {
      return statistics_.limit > 0 && statistics_.allocated + statistics_.cached + bytes > statistics_.limit;
    };
    if (!limited()) block->memory = device_.acquire(bytes);
    if (block->memory == nullptr) {
      // What is cached may be what is missing.
      trim();
      if (!limited()) block->memory = device_.acquire(bytes);
    }
    if (block->memory == nullptr)
      throw OutOfMemory(
          std::string(origin) + ": " + megabytes(bytes) + " for " + stepsize::describe(spec) +
          " do not fit: " + megabytes(statistics_.allocated) + " are held" +
          (statistics_.limit > 0 ? " and the device's memoryLimit is " + megabytes(statistics_.limit) : "") +
          ". Wrap work in tidy(() => ...) or call dispose() on tensors that are done. Largest holders: " +
          largestHolders());
  }
  statistics_.allocated += bytes;
  statistics_.tensors++;
  statistics_.peak = std::max(statistics_.peak, statistics_.allocated + statistics_.cached);
  live_.insert(block.get());
  return block.release();
}

void Allocator::release(Block* block) {
  block->handles--;
  freeIfDead(block);
}

void Allocator::unclaim(Block* block) {
  block->claims--;
  freeIfDead(block);
}

void Allocator::unwatch(Block* block) {
  block->watchers--;
  freeIfDead(block);
}

void Allocator::freeIfDead(Block* block) {
  if (block->handles > 0 || block->claims > 0) return;
  if (block->memory != nullptr) {
    statistics_.allocated -= block->bytes;
    statistics_.cached += block->bytes;
    statistics_.tensors--;
    block->pool->free[block->bytes].push_back(block->memory);
    block->memory = nullptr;
    live_.erase(block);
  }
  if (block->watchers == 0) delete block;
}

void Allocator::dissolve(Pool& arena) {
  for (Block* block : live_)
    if (block->pool == &arena) block->pool = &general_;
  for (const auto& [bytes, pieces] : arena.free)
    general_.free[bytes].insert(general_.free[bytes].end(), pieces.begin(), pieces.end());
  arena.free.clear();
}

void Allocator::trim() {
  for (auto& [bytes, blocks] : general_.free)
    for (void* memory : blocks) {
      device_.release(memory, bytes);
      statistics_.cached -= bytes;
    }
  general_.free.clear();
}

std::string Allocator::largestHolders() const {
  struct Holder {
    int64_t bytes = 0, count = 0;
  };
  std::map<std::string, Holder> holders;
  for (const Block* block : live_) {
    auto& holder = holders[std::string(block->origin) + " " + stepsize::describe(block->shape)];
    holder.bytes += block->bytes;
    holder.count++;
  }
  std::vector<std::pair<std::string, Holder>> sorted(holders.begin(), holders.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string text;
  for (size_t i = 0; i < sorted.size() && i < 5; i++)
    text += (i ? "; " : "") + std::to_string(sorted[i].second.count) + " × " + sorted[i].first + " (" +
            megabytes(sorted[i].second.bytes) + ")";
  return text.empty() ? "none" : text;
}

}  // namespace stepsize
