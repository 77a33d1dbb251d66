// Whose results a fault spoiled, found out afterwards: a GPU cannot be asked after each record.
//
// Kernels report faults to a log in device memory (fault.h). The host keeps the records that it enqueued since the log
// was last taken. Whoever reads takes both: a copy of the log, made in stream order, and the records. When the stream
// has come so far, the records are walked through in their order, as the CPU executes them, and those that reported are
// those that failed. While nothing can have failed no record is kept; where the log is empty and nothing is spoiled,
// the records that were kept are dropped unseen.
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "../spoiled_memory.h"
#include "fault.h"
#include "piece_pool.h"
#include "runtime.h"

namespace stepsize::cuda {

class Journal {
 public:
  // A record that was launched.
  struct Run {
    Record record;
    int source = 0;  // under which its kernels report; 0: they cannot
    Reason failure;  // why it was not launched
  };
  // The records of captured work.
  struct Work {
    std::vector<Run> runs;
    int reporting = 0;  // how many of them can report
  };
  // What was taken together.
  struct Segment;

  // The log is cleared in this stream, before all work that comes after.
  Journal(PiecePool& deviceMemory, PiecePool& pinnedMemory, cudaStream_t stream);

  // Memory for one call of those below that note something, which then cannot fail: what was launched must be noted.
  // Throws std::bad_alloc.
  void makeRoom();

  // For the record that is being launched, once for all its kernels.
  FaultReport report();
  // The record that was launched, or was not for this reason. In a capture it becomes part of the work.
  void add(Record record, Reason failure) noexcept;
  // The record is refused after all: what its kernels reported, if any of them ran, is not told.
  void leaveOut() noexcept;
  // Memory was written from outside.
  void addWrite(const void* memory, int64_t bytes, Reason failure) noexcept;
  // Before the work is launched again. Throws CudaError.
  void beginReplay(const Work& work);
  void addReplay(std::shared_ptr<const Work> work, Reason failure) noexcept;

  void beginCapture() { capture_ = std::make_shared<Work>(); }
  std::shared_ptr<const Work> endCapture() noexcept { return std::exchange(capture_, nullptr); }

  // Whether the log might not have room for this many more that can report, or much was kept: it is time to take.
  bool isFull(int reporting) const;
  bool isEmpty() const { return entries_.empty(); }
  // Null where nothing was kept. Throws CudaError or std::bad_alloc, and has taken nothing then.
  std::shared_ptr<const Segment> take();
  // When the stream has come to where the segment was taken, or will never. Segments come in their order, on one
  // thread; only that may ask for the reason.
  void settle(const Segment& segment, bool isReached) noexcept;  // NOLINT(bugprone-exception-escape)
  Reason reasonOf(const void* memory, int64_t bytes) const { return spoiled_.reasonOf(memory, bytes); }

 private:
  struct Write {
    const void* memory;
    int64_t bytes;
    Reason failure;
  };
  struct Replay {
    std::shared_ptr<const Work> work;
    int run;
    Reason failure;
  };
  using Entry = std::variant<Run, Write, Replay>;
  class Walk;

  // Whether what is enqueued now could be spoiled by anything.
  bool isQuiet() const;
  void keep(Entry entry, bool hasFailed) noexcept;

  PiecePool& pinnedMemory_;
  const cudaStream_t stream_;
  const DeviceMemory log_;

  // Since the last segment.
  std::vector<Entry> entries_;
  bool hasFailures_ = false;  // among the entries, known when they were enqueued
  int reporting_ = 0;         // how many records that can report were launched
  int replays_ = 0;           // of work that can report
  int source_ = 0;            // of the record that is being launched, if it can report
  int capturedSources_ = 0;
  std::shared_ptr<Work> capture_;

  std::atomic<int> unsettled_{0};  // segments
  std::atomic<bool> isSpoiled_{false};
  SpoiledMemory spoiled_;  // the settling thread's
};

}  // namespace stepsize::cuda
