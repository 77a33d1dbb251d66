// A caching allocator in stream order.
//
// A tensor's memory may be handed on the moment its last handle is gone, although the device may still be busy with
// records that use it: whoever gets the memory next uses it in records that come later in the same stream. So a block
// is never shared between the device's future and its past, no locks are needed, run-ahead costs no memory, and which
// block a tensor gets is the same in every run. Only the thread that owns the device calls this.
//
// The device is asked for segments, of the size class of whoever needs one first. A tensor takes the smallest free
// piece that holds it; what is left of a larger one is split off, and joined again when both are free. Tensors of the
// same sizes step after step find the pieces of the step before. A cost of n pieces: log n for each tensor.
//
// What gives memory back needs none: finalizers and destructors must not fail. An allocation that fails changes
// nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "backend.h"

namespace stepsize {

struct MemoryStatistics {
  int64_t allocated = 0;  // held by tensors
  int64_t cached = 0;     // free, kept for the next tensors
  int64_t peak = 0;       // the largest sum of both
  int64_t limit = 0;      // 0: none
  int64_t tensors = 0;
};

struct Pool;

struct Piece;

// By size, and among equals in the order in which the device gave them.
struct BySize {
  using is_transparent = void;
  bool operator()(const Piece* a, const Piece* b) const;
  bool operator()(const Piece* piece, int64_t bytes) const;
};
using FreePieces = std::set<Piece*, BySize>;

// A run of bytes in a segment.
struct Piece {
  char* memory = nullptr;
  int64_t bytes = 0;
  int64_t segment = 0;  // they are counted, so that the order of pieces does not depend on addresses
  Pool* pool = nullptr;
  bool free = false;
  FreePieces::node_type place;  // while it is not free: its node among the free ones, for the time when it is
};

// Free pieces. Most memory belongs to the general pool; captured work has one of its own, an arena, so that nothing
// else gets the memory it writes when it is replayed. Within the work it may be handed on: every replay is in the order
// of the capture. All of an arena counts as allocated, as nobody else can have it.
struct Pool {
  FreePieces free;
};

// Memory of one or more tensors (a reshape shares it).
struct Block {
  void* memory = nullptr;
  int64_t bytes = 0;
  int64_t handles = 0;   // tensors; the memory is theirs
  int64_t claims = 0;    // captured work that uses it
  int64_t watchers = 0;  // lists and captured work that only want to know whether it is still there
  Piece* piece = nullptr;
  const char* origin = "";  // the operation that made it, for reports
  Shape shape;
  uint32_t version = 0;                        // counts writes in place
  Block *previous = nullptr, *next = nullptr;  // among the blocks that have memory
};

inline bool BySize::operator()(const Piece* a, const Piece* b) const {
  return std::tie(a->bytes, a->segment, a->memory) < std::tie(b->bytes, b->segment, b->memory);
}
inline bool BySize::operator()(const Piece* piece, int64_t bytes) const { return piece->bytes < bytes; }

class Allocator {
 public:
  Allocator(Device& device, int64_t limit) : device_(device) {
    statistics_.limit = limit;
    device.whenShort([this] { trim(); });
  }
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  ~Allocator();

  // Throws OutOfMemory, which names the largest holders.
  Block* allocate(const TensorSpec& spec, const char* origin);
  void retain(Block* block) { block->handles++; }
  void release(Block* block);
  void claim(Block* block) { block->claims++; }
  void unclaim(Block* block);
  void unwatch(Block* block);
  // What is allocated from here on comes from `arena`; null: from the general pool again.
  void useArena(Pool* arena) { pool_ = arena == nullptr ? &general_ : arena; }
  bool isIn(const Pool& pool, const Block& block) const { return block.piece != nullptr && block.piece->pool == &pool; }
  // Keeps what is known of a block, though not its memory.
  void watch(Block* block) { block->watchers++; }
  // Hands all memory of an arena to the general pool.
  void dissolve(Pool& arena);
  // Whether this is memory of the device's tensors, through whatever handle it is reached.
  bool holds(const void* memory, int64_t bytes) const;
  // Releases blocks and other memory of the process that nobody needs any more, when an allocation would fail
  // otherwise; whether any of it was a block.
  void onShortage(std::function<bool()> reclaim) { reclaim_ = std::move(reclaim); }
  // How often it has: whoever holds blocks without a handle must look again whether they still have memory.
  int64_t reclaims() const { return reclaims_; }
  // Gives segments that are free as a whole back to the system.
  void trim();
  const MemoryStatistics& statistics() const { return statistics_; }

 private:
  // A free piece of at least this many bytes and at most so many times as many; null where there is none.
  Piece* take(Pool& pool, int64_t bytes, int64_t mostTimes);
  Piece* newSegment(int64_t bytes);
  // From wherever it comes; null where there is no memory.
  Piece* find(int64_t bytes);
  // A piece that is not free and not in use yet.
  Piece* addPiece(char* memory, int64_t bytes, int64_t segment, Pool* pool);
  void free(Piece* piece);
  void link(Block* block);
  void unlink(Block* block);
  // What its free pieces count as.
  int64_t& countOf(const Pool& pool) { return &pool == &general_ ? statistics_.cached : statistics_.allocated; }
  bool isWhole(const Piece& piece) const { return piece.bytes == segments_.at(piece.segment).bytes; }
  [[noreturn]] void failFor(const TensorSpec& spec, int64_t bytes, const char* origin) const;
  std::string largestHolders() const;
  void freeIfDead(Block* block);

  struct Segment {
    void* memory;
    int64_t bytes;
  };

  Device& device_;
  MemoryStatistics statistics_;
  Block* live_ = nullptr;                // the blocks that have memory, the newest first
  std::map<int64_t, Segment> segments_;  // by number
  int64_t nextSegment_ = 0;
  std::map<char*, Piece> pieces_;  // neighbours in memory are neighbours here
  Pool general_;
  Pool* pool_ = &general_;
  std::function<bool()> reclaim_;
  int64_t reclaims_ = 0;
};

}  // namespace stepsize
