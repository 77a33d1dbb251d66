#include "journal.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <utility>

#include "../fault_texts.h"
#include "reserve.h"

namespace stepsize::cuda {

namespace {

constexpr size_t kMaxEntries = 1024;
// The number of a replay is written as one byte.
constexpr int kMaxReplays = 256;

// Captured records have negative numbers, which stay valid. Other records have positive numbers, which start again with
// each segment.
bool isCaptured(int source) { return source < 0; }

static_assert(kMaxFaults == 128);
constexpr const char* kTooManyFaults =
    "it may have failed: more than 128 operations of one replay did, and the device keeps no more";

// Writes the message into memory that already exists.
using FaultText = char[128];
void write(FaultText& text, const Fault& fault) {
  const char* format = nullptr;
  switch (static_cast<FaultKind>(fault.kind)) {
    case FaultKind::label: format = fault::kLabel; break;
    case FaultKind::id: format = fault::kId; break;
    case FaultKind::index: format = fault::kIndex; break;
  }
  std::snprintf(text, sizeof text, format, fault.numbers[0], fault.numbers[1], fault.numbers[2]);
}

}  // namespace

struct Journal::Segment {
  std::vector<Entry> entries;
  bool hasFailures = false;
  PinnedMemory log;  // a FaultLog; null if no record could report
};

Journal::Journal(PiecePool& deviceMemory, PiecePool& pinnedMemory, cudaStream_t stream)
    : pinnedMemory_(pinnedMemory), stream_(stream), log_(deviceMemory.acquire(sizeof(FaultLog))) {
  check(cudaMemsetAsync(log_.get(), 0, sizeof(FaultLog), stream), "faults");
}

void Journal::makeRoom() {
  reserveOneMore(entries_);
  if (capture_) reserveOneMore(capture_->runs);
}

FaultReport Journal::report() {
  if (source_ == 0) source_ = capture_ ? -++capturedSources_ : ++reporting_;
  return {static_cast<FaultLog*>(log_.get()), source_};
}

void Journal::add(Record record, Reason failure) noexcept {
  const int source = std::exchange(source_, 0);
  if (capture_) {
    capture_->reporting += source != 0;
    capture_->runs.push_back({std::move(record), source, nullptr});
  } else if (failure || !isQuiet()) {
    const bool hasFailed = failure != nullptr;
    keep(Run{std::move(record), source, std::move(failure)}, hasFailed);
  }
}

void Journal::leaveOut() noexcept {
  const int source = std::exchange(source_, 0);
  if (source > 0) keep(Run{{}, source, nullptr}, false);
}

void Journal::addWrite(const void* memory, int64_t bytes, Reason failure) noexcept {
  if (!failure && isQuiet()) return;
  const bool hasFailed = failure != nullptr;
  keep(Write{memory, bytes, std::move(failure)}, hasFailed);
}

void Journal::beginReplay(const Work& work) {
  if (work.reporting == 0 || replays_ == 0) return;
  auto* run = static_cast<char*>(log_.get()) + offsetof(FaultLog, run);
  check(cudaMemsetAsync(run, replays_, 1, stream_), "faults");
}

void Journal::addReplay(std::shared_ptr<const Work> work, Reason failure) noexcept {
  reporting_ += work->reporting;
  if (!failure && isQuiet()) return;
  const bool hasFailed = failure != nullptr;
  const int run = work->reporting > 0 ? replays_++ : 0;
  keep(Replay{std::move(work), run, std::move(failure)}, hasFailed);
}

bool Journal::isQuiet() const {
  // settle() sets isSpoiled_ before it decrements unsettled_.
  return reporting_ == 0 && !hasFailures_ && unsettled_.load(std::memory_order_acquire) == 0 &&
         !isSpoiled_.load(std::memory_order_acquire);
}

void Journal::keep(Entry entry, bool hasFailed) noexcept {
  hasFailures_ |= hasFailed;
  entries_.push_back(std::move(entry));
}

bool Journal::isFull(int reporting) const {
  return reporting_ + reporting > kMaxFaults || replays_ >= kMaxReplays || entries_.size() >= kMaxEntries;
}

std::shared_ptr<const Journal::Segment> Journal::take() {
  if (entries_.empty() || capture_) return nullptr;
  // Allocate first, because the work that is enqueued below cannot be undone.
  auto segment = std::make_shared<Segment>();
  if (reporting_ > 0) {
    PinnedMemory log = pinnedMemory_.acquire(sizeof(FaultLog));
    check(cudaMemcpyAsync(log.get(), log_.get(), sizeof(FaultLog), cudaMemcpyDeviceToHost, stream_), "faults");
    check(cudaMemsetAsync(log_.get(), 0, offsetof(FaultLog, faults), stream_), "faults");
    segment->log = std::move(log);
  }
  segment->entries = std::exchange(entries_, {});
  segment->hasFailures = hasFailures_;
  hasFailures_ = false;
  reporting_ = replays_ = 0;
  unsettled_.fetch_add(1, std::memory_order_release);
  return segment;
}

// Walks through the records of a segment and assigns the reported faults to them.
class Journal::Walk {
 public:
  Walk(SpoiledMemory& spoiled, const FaultLog* log) : spoiled_(spoiled), log_(log) {}

  void operator()(const Run& run) { settle(run, 0, run.failure); }
  void operator()(const Replay& replay) {
    for (const Run& run : replay.work->runs) settle(run, replay.run, replay.failure);
  }
  void operator()(const Write& write) {
    if (write.failure)
      spoiled_.spoil(write.memory, write.bytes, write.failure);
    else
      spoiled_.restore(write.memory, write.bytes);
  }

 private:
  void settle(const Run& run, int number, const Reason& failure) {
    // Take the fault even if the record read spoiled memory: the next fault belongs to another record.
    const Reason reported = takeFault(run, number);
    Reason reason = spoiled_.reasonOf(run.record);
    if (!reason) reason = failure ? failure : reported;
    if (reason || !spoiled_.empty()) spoiled_.settle(run.record, reason);
  }

  Reason takeFault(const Run& run, int number) {
    if (log_ == nullptr || run.source == 0 || next_ >= log_->count) return nullptr;
    // Only a replay with more records than the log has room for gets here, and its first faults have spoiled most of
    // it.
    if (next_ >= kMaxFaults) return failureOf(run.record, kTooManyFaults);
    const Fault& fault = log_->faults[next_];
    if (fault.source != run.source || (isCaptured(run.source) && fault.run != number)) return nullptr;
    next_++;
    FaultText text = {};
    write(text, fault);
    return failureOf(run.record, text);
  }

  SpoiledMemory& spoiled_;
  const FaultLog* log_;
  int next_ = 0;
};

// std::visit throws for a variant without a value, which no entry is.
// NOLINTNEXTLINE(bugprone-exception-escape)
void Journal::settle(const Segment& segment, bool isReached) noexcept {
  const auto* log = isReached ? static_cast<const FaultLog*>(segment.log.get()) : nullptr;
  if (segment.hasFailures || !spoiled_.empty() || (log != nullptr && log->count > 0)) {
    Walk walk(spoiled_, log);
    for (const Entry& entry : segment.entries) std::visit(walk, entry);
  }
  isSpoiled_.store(!spoiled_.empty(), std::memory_order_release);
  unsettled_.fetch_sub(1, std::memory_order_release);
}

}  // namespace stepsize::cuda
