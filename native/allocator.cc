#include "allocator.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace stepsize {

namespace {

// A piece is given only to a tensor of at least about 1/kMaxTimes of its size. Small tensors often live long, and
// would keep the rest of a large piece from being joined again.
constexpr int64_t kMaxTimes = 16;

// Segments that small tensors share have room for at least this many.
constexpr int64_t kMinTensors = 2;

// The garbage collector frees arrays on a thread of its own, and waits for that thread before it runs again. After two
// runs, whatever was dead before the first is free.
constexpr int kMaxReclaims = 2;

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
  device_.whenShort(nullptr);
  for (const auto& [number, segment] : segments_) device_.release(segment.memory, segment.bytes);
  while (live_ != nullptr) {
    Block* block = live_;
    unlink(block);
    delete block;
  }
}

Piece* Allocator::find(int64_t bytes) {
  constexpr int64_t kAnyTimes = std::numeric_limits<int64_t>::max();
  const bool isSmall = bytes <= sharedBytes_ / kMinTensors;
  Piece* piece = nullptr;
  // An arena may take free memory of the general pool: its last owner used it earlier in the stream than any replay.
  for (Pool* pool : {pool_, &general_})
    if (piece == nullptr)
      piece = isSmall ? take(*pool, pool->shared, bytes, kAnyTimes) : take(*pool, pool->free, bytes, kMaxTimes);
  if (piece == nullptr && isSmall) piece = newShared(bytes);
  if (piece == nullptr) piece = newSegment(bytes, false);
  if (piece == nullptr) {
    // Give cached segments back first: their memory may be enough.
    trim();
    piece = newSegment(bytes, false);
  }
  // As a last resort, a small tensor gets a large piece, or a large one memory that small ones share.
  for (Pool* pool : {pool_, &general_})
    for (FreePieces* pieces : {&pool->free, &pool->shared})
      if (piece == nullptr) piece = take(*pool, *pieces, bytes, kAnyTimes);
  return piece;
}

Block* Allocator::allocate(const TensorSpec& spec, const char* origin) {
  const int64_t bytes = sizeClass(spec.bytes());
  auto block = std::make_unique<Block>();
  Piece* piece = find(bytes);
  for (int round = 0; piece == nullptr && reclaim_ && round < kMaxReclaims; round++) {
    if (reclaim_()) reclaims_++;
    piece = find(bytes);
  }
  if (piece == nullptr) failFor(spec, bytes, origin);
  piece->pool = pool_;
  block->memory = piece->memory;
  block->bytes = piece->bytes;
  block->piece = piece;
  block->handles = 1;
  block->origin = origin;
  block->shape = spec.shape;
  statistics_.allocated += piece->bytes;
  statistics_.tensors++;
  statistics_.peak = std::max(statistics_.peak, statistics_.allocated + statistics_.cached);
  link(block.get());
  return block.release();
}

void Allocator::link(Block* block) {
  block->next = live_;
  if (live_ != nullptr) live_->previous = block;
  live_ = block;
}

void Allocator::unlink(Block* block) {
  (block->previous != nullptr ? block->previous->next : live_) = block->next;
  if (block->next != nullptr) block->next->previous = block->previous;
}

Piece* Allocator::take(Pool& pool, FreePieces& pieces, int64_t bytes, int64_t maxTimes) {
  const auto found = pieces.lower_bound(bytes);
  if (found == pieces.end() || (*found)->bytes / maxTimes > bytes) return nullptr;
  Piece* piece = *found;
  Piece* rest = nullptr;
  if (piece->bytes > bytes)
    rest = addPiece(piece->memory + bytes, piece->bytes - bytes, piece->segment, &pool, piece->isShared);
  countOf(pool) -= piece->bytes;
  piece->place = pieces.extract(found);
  piece->free = false;
  piece->bytes = bytes;
  if (rest != nullptr) free(rest);
  return piece;
}

Piece* Allocator::addPiece(char* memory, int64_t bytes, int64_t segment, Pool* pool, bool isShared) {
  FreePieces node{nullptr};
  Piece& piece = pieces_.try_emplace(memory).first->second;
  piece.memory = memory;
  piece.bytes = bytes;
  piece.segment = segment;
  piece.pool = pool;
  piece.isShared = isShared;
  piece.place = node.extract(node.begin());
  piece.place.value() = &piece;
  return &piece;
}

Piece* Allocator::newShared(int64_t bytes) {
  Piece* whole = newSegment(sharedBytes_, true);
  if (whole == nullptr) return nullptr;
  free(whole);
  return take(*pool_, pool_->shared, bytes, std::numeric_limits<int64_t>::max());
}

Piece* Allocator::newSegment(int64_t bytes, bool isShared) {
  if (statistics_.limit > 0 && statistics_.allocated + statistics_.cached + bytes > statistics_.limit) return nullptr;
  const int64_t number = nextSegment_++;
  const auto segment = segments_.try_emplace(number).first;
  void* memory = nullptr;
  try {
    memory = device_.acquire(bytes);
    if (memory != nullptr) {
      Piece* piece = addPiece(static_cast<char*>(memory), bytes, number, pool_, isShared);
      segment->second = {memory, bytes};
      return piece;
    }
  } catch (...) {
    if (memory != nullptr) device_.release(memory, bytes);
    segments_.erase(segment);
    throw;
  }
  segments_.erase(segment);
  return nullptr;
}

// Marks a piece as free and joins it with free neighbours of the same segment and pool.
void Allocator::free(Piece* piece) {
  countOf(*piece->pool) += piece->bytes;
  const auto join = [&](std::map<char*, Piece>::iterator first) {
    const auto second = std::next(first);
    freePiecesOf(second->second).erase(&second->second);
    first->second.bytes += second->second.bytes;
    pieces_.erase(second);
  };
  const auto joins = [&](const Piece& other) {
    return other.free && other.segment == piece->segment && other.pool == piece->pool;
  };
  auto at = pieces_.find(piece->memory);
  if (const auto next = std::next(at); next != pieces_.end() && joins(next->second)) join(at);
  if (at != pieces_.begin() && joins(std::prev(at)->second)) {
    const auto before = std::prev(at);
    // The size of this piece changes, so its place in the set does too.
    before->second.place = freePiecesOf(before->second).extract(&before->second);
    join(before);
    at = before;
  }
  Piece& joined = at->second;
  joined.free = true;
  freePiecesOf(joined).insert(std::move(joined.place));
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
  if (block->piece != nullptr) {
    statistics_.allocated -= block->bytes;
    statistics_.tensors--;
    free(block->piece);
    block->piece = nullptr;
    block->memory = nullptr;
    unlink(block);
  }
  if (block->watchers == 0) delete block;
}

void Allocator::dissolve(Pool& arena) {
  for (Block* block = live_; block != nullptr; block = block->next)
    if (block->piece->pool == &arena) block->piece->pool = &general_;
  for (FreePieces* pieces : {&arena.free, &arena.shared})
    while (!pieces->empty()) {
      Piece* piece = *pieces->begin();
      piece->place = pieces->extract(pieces->begin());
      piece->free = false;
      statistics_.allocated -= piece->bytes;
      piece->pool = &general_;
      free(piece);
    }
}

bool Allocator::holds(const void* memory, int64_t bytes) const {
  const auto* from = static_cast<const char*>(memory);
  return std::any_of(segments_.begin(), segments_.end(), [&](const auto& numbered) {
    const Segment& segment = numbered.second;
    const auto* begin = static_cast<const char*>(segment.memory);
    return from >= begin && from < begin + segment.bytes && bytes <= begin + segment.bytes - from;
  });
}

void Allocator::trim() {
  for (FreePieces* pieces : {&general_.free, &general_.shared})
    for (auto at = pieces->begin(); at != pieces->end();) {
      Piece* piece = *at;
      if (!isWhole(*piece)) {
        ++at;
        continue;
      }
      at = pieces->erase(at);
      device_.release(piece->memory, piece->bytes);
      statistics_.cached -= piece->bytes;
      segments_.erase(piece->segment);
      pieces_.erase(piece->memory);
    }
}

void Allocator::failFor(const TensorSpec& spec, int64_t bytes, const char* origin) const {
  const int64_t free = device_.freeMemory();
  throw OutOfMemory(std::string(origin) + ": " + megabytes(bytes) + " for " + stepsize::describe(spec) +
                    " do not fit: " + megabytes(statistics_.allocated) + " are held, " + megabytes(statistics_.cached) +
                    " cached in pieces that are too small" +
                    (free >= 0 ? ", " + megabytes(free) + " free on the device" : "") +
                    (statistics_.limit > 0 ? " and the device's memoryLimit is " + megabytes(statistics_.limit) : "") +
                    ". Wrap work in tidy(() => ...) or call dispose() on tensors that are done. Largest holders: " +
                    largestHolders());
}

std::string Allocator::largestHolders() const {
  struct Holder {
    int64_t bytes = 0, count = 0;
  };
  std::map<std::string, Holder> holders;
  for (const Block* block = live_; block != nullptr; block = block->next) {
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
