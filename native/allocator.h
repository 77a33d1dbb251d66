// A caching allocator that works in stream order.
//
// The memory of a tensor is reused as soon as its last handle is gone, even if the device still has to run records that
// use it. This is safe because the next owner uses the memory only in records that come later in the same stream. It
// follows that no locks are needed, that enqueueing ahead of the device costs no memory, and that a tensor gets the
// same block in every run. Only the thread that owns the device calls this.
//
// The allocator asks the device for segments. The size of a segment is the size class of the tensor that needed it. If
// the device takes long to make one, as CUDA does, small tensors share segments of a fixed size. A tensor takes the
// smallest free piece that is large enough. The rest of a larger piece is split off, and joined again when both parts
// are free. Tensors of the same sizes at every step therefore find the pieces of the step before. An allocation among n
// pieces takes O(log n) time.
//
// Releasing memory allocates none, because finalizers and destructors must not fail. An allocation that fails changes
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

// What the allocator holds, in bytes.
struct MemoryStatistics {
  int64_t allocated = 0;  // held by tensors, and all of every arena
  int64_t cached = 0;     // free, kept for the next tensors
  int64_t peak = 0;       // the largest sum of `allocated` and `cached` so far
  int64_t limit = 0;      // 0: no limit
  int64_t tensors = 0;
};

struct Pool;

struct Piece;

// Orders pieces by size; pieces of equal size are ordered by segment number and address.
struct BySize {
  using is_transparent = void;
  bool operator()(const Piece* a, const Piece* b) const;
  bool operator()(const Piece* piece, int64_t bytes) const;
};
// Free pieces, ordered by size.
using FreePieces = std::set<Piece*, BySize>;

// A contiguous part of a segment.
struct Piece {
  char* memory = nullptr;
  int64_t bytes = 0;
  // The number of the segment. Pieces are ordered by this number, so the order does not depend on addresses.
  int64_t segment = 0;
  Pool* pool = nullptr;
  bool isShared = false;  // part of a segment that small tensors share
  bool free = false;
  // While the piece is in use: the set node that will hold the piece when it is freed, so that freeing allocates
  // nothing.
  FreePieces::node_type place;
};

// The free pieces that an allocation may take. Most memory belongs to the general pool. Captured work has a pool of its
// own, an arena, so that no other tensor gets memory that a replay writes. Inside the capture, memory may be reused,
// because every replay runs in the order of the capture. All bytes of an arena count as allocated, because no other
// work can use them.
struct Pool {
  FreePieces free;
  FreePieces shared;  // those of segments that small tensors share
};

// The memory of one or more tensors; a reshaped tensor shares the block of its source.
struct Block {
  void* memory = nullptr;
  int64_t bytes = 0;
  int64_t handles = 0;   // tensors that own the memory
  int64_t claims = 0;    // captured graphs that use the memory
  int64_t watchers = 0;  // lists and captures that only ask whether the memory is still there
  Piece* piece = nullptr;
  const char* origin = "";  // the operation that made it, for error messages
  Shape shape;
  uint32_t version = 0;                        // the number of writes in place
  Block *previous = nullptr, *next = nullptr;  // neighbours in the list of blocks that have memory
};

inline bool BySize::operator()(const Piece* a, const Piece* b) const {
  return std::tie(a->bytes, a->segment, a->memory) < std::tie(b->bytes, b->segment, b->memory);
}
inline bool BySize::operator()(const Piece* piece, int64_t bytes) const { return piece->bytes < bytes; }

// Gives tensors memory of one device and keeps freed memory for the next tensors.
class Allocator {
 public:
  // `limit` is the most bytes that may be taken from the device, 0 for no limit.
  Allocator(Device& device, int64_t limit) : device_(device), sharedBytes_(device.sharedSegmentBytes()) {
    statistics_.limit = limit;
    device.whenShort([this] { trim(); });
  }
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  ~Allocator();

  // Returns a block with one handle, owned by the caller. Throws OutOfMemory; its message names the largest holders.
  Block* allocate(const TensorSpec& spec, const char* origin);
  // Adds a handle to a block.
  void retain(Block* block) { block->handles++; }
  // Removes a handle; the memory is freed with the last handle or claim.
  void release(Block* block);
  // Keeps the memory of a block for captured work, whether or not a handle remains.
  void claim(Block* block) { block->claims++; }
  // Removes a claim; the memory is freed with the last handle or claim.
  void unclaim(Block* block);
  // Ends a watch(); the block is deleted once it has neither memory nor watchers.
  void unwatch(Block* block);
  // Allocates from `arena` from now on; null returns to the general pool.
  void useArena(Pool* arena) { pool_ = arena == nullptr ? &general_ : arena; }
  // Whether the memory of a block belongs to this pool.
  bool isIn(const Pool& pool, const Block& block) const { return block.piece != nullptr && block.piece->pool == &pool; }
  // Keeps the Block structure alive, but not its memory.
  void watch(Block* block) { block->watchers++; }
  // Moves all memory of an arena to the general pool.
  void dissolve(Pool& arena);
  // Whether these bytes lie inside a segment of this allocator, whichever way the caller got the address.
  bool holds(const void* memory, int64_t bytes) const;
  // Sets the function that is called when an allocation would otherwise fail. It releases blocks and other memory of
  // the process that are no longer needed, and returns whether it released a block.
  void onShortage(std::function<bool()> reclaim) { reclaim_ = std::move(reclaim); }
  // How often that function released blocks. If the number has changed, blocks that a caller holds without a handle may
  // have lost their memory.
  int64_t reclaims() const { return reclaims_; }
  // Gives segments that are entirely free back to the system.
  void trim();
  // The current statistics.
  const MemoryStatistics& statistics() const { return statistics_; }

 private:
  // Takes a free piece out of `pieces` of a pool that has at least `bytes`, and at most about `maxTimes` times as many;
  // null if there is none.
  Piece* take(Pool& pool, FreePieces& pieces, int64_t bytes, int64_t maxTimes);
  // Asks the device for a segment and returns it as one piece; null if the device has no memory or the limit is
  // reached.
  Piece* newSegment(int64_t bytes, bool isShared);
  // Asks the device for a segment that small tensors share and returns a piece of it; null as above.
  Piece* newShared(int64_t bytes);
  static FreePieces& freePiecesOf(Piece& piece) { return piece.isShared ? piece.pool->shared : piece.pool->free; }
  // Takes a piece from the pools or the device; null if there is no memory.
  Piece* find(int64_t bytes);
  // Makes a piece that is neither free nor in use yet.
  Piece* addPiece(char* memory, int64_t bytes, int64_t segment, Pool* pool, bool isShared);
  void free(Piece* piece);
  void link(Block* block);
  void unlink(Block* block);
  // The statistic that the free pieces of a pool are counted in.
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
  const int64_t sharedBytes_;  // the size of segments that small tensors share; 0: they share none
  MemoryStatistics statistics_;
  Block* live_ = nullptr;                // the blocks that have memory, newest first
  std::map<int64_t, Segment> segments_;  // by number
  int64_t nextSegment_ = 0;
  std::map<char*, Piece> pieces_;  // by address
  Pool general_;
  Pool* pool_ = &general_;
  std::function<bool()> reclaim_;
  int64_t reclaims_ = 0;
};

}  // namespace stepsize
