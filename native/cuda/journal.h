// Finds out afterwards which results a fault spoiled, because a GPU cannot be asked after each record.
//
// Kernels report faults to a log in device memory (fault.h). The host keeps the records that it enqueued since the log
// was last taken. A read takes both: a copy of the log, made in stream order, and the records, together called a
// segment. When the stream has reached that point, the records are walked through in order, as the CPU executes them; a
// record that reported a fault has failed. While no record can fail, no record is kept. The records of a segment are
// dropped without a walk if the log is empty, no record failed when it was enqueued, and nothing is spoiled.
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

// The journal of one device.
class Journal {
 public:
  // A record that was launched.
  struct Run {
    Record record;
    int source = 0;  // the number with which its kernels report; 0: they cannot
    Reason failure;  // why it was not launched, if it was not
  };
  // The records of a captured graph.
  struct Work {
    std::vector<Run> runs;
    int reporting = 0;  // how many of the records can report
  };
  // The records and the log that are taken together.
  struct Segment;

  // Clears the log in this stream, before all later work. Both pools must outlive the journal.
  Journal(PiecePool& deviceMemory, PiecePool& pinnedMemory, cudaStream_t stream);

  // Allocates the memory for one call of a function below that notes something. That call then cannot fail, which it
  // must not after a launch. Throws std::bad_alloc.
  void makeRoom();

  // The argument for the kernels of the record that is being launched, the same for all of them.
  FaultReport report();
  // Notes the record that was launched, or that failed for this reason. During a capture it becomes part of the
  // captured work.
  void add(Record record, Reason failure) noexcept;
  // Notes that the record was refused: faults of its kernels, if any ran, are ignored.
  void leaveOut() noexcept;
  // Notes that memory was written by something other than a record.
  void addWrite(const void* memory, int64_t bytes, Reason failure) noexcept;
  // Prepares the log for a replay; call it before the graph is launched. Throws CudaError.
  void beginReplay(const Work& work);
  // Notes a replay, or why it failed.
  void addReplay(std::shared_ptr<const Work> work, Reason failure) noexcept;

  // Collects the records from now on as captured work.
  void beginCapture() { capture_ = std::make_shared<Work>(); }
  // Ends that and returns the captured work.
  std::shared_ptr<const Work> endCapture() noexcept { return std::exchange(capture_, nullptr); }

  // Whether the log may lack room for this many more records that can report, or many records are kept, so that a
  // segment should be taken.
  bool isFull(int reporting) const;
  // Whether no record is kept.
  bool isEmpty() const { return entries_.empty(); }
  // Takes a segment; null if nothing is kept. Throws CudaError or std::bad_alloc, and then has taken nothing.
  std::shared_ptr<const Segment> take();
  // Settles a segment when the stream has reached the point where it was taken, or, with isReached = false, will never
  // reach it. Segments are settled in order and on one thread; only that thread may call reasonOf().
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

  // Whether nothing can spoil the work that is enqueued now, so that it need not be kept.
  bool isQuiet() const;
  void keep(Entry entry, bool hasFailed) noexcept;

  PiecePool& pinnedMemory_;
  const cudaStream_t stream_;
  const DeviceMemory log_;

  // These count since the last segment.
  std::vector<Entry> entries_;
  bool hasFailures_ = false;  // whether an entry failed when it was enqueued
  int reporting_ = 0;         // records launched that can report
  int replays_ = 0;           // replays of work that can report
  int source_ = 0;            // the number of the record that is being launched, if it can report
  int capturedSources_ = 0;
  std::shared_ptr<Work> capture_;

  std::atomic<int> unsettled_{0};  // segments that were taken and not settled
  std::atomic<bool> isSpoiled_{false};
  SpoiledMemory spoiled_;  // used by the settling thread alone
};

}  // namespace stepsize::cuda
