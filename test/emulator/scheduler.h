// Chooses which thread of a block runs next. Threads that have not started are `fresh`; threads that waited and can
// continue are `ready`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "settings.h"
#include "thread.h"

namespace stepsize::emulator {

// Schedules the threads of one block in the order of the settings.
class Scheduler {
 public:
  static constexpr uint32_t kNone = ~0u;

  void begin(uint32_t threads, uint64_t seed) {
    fresh_.resize(threads);
    std::iota(fresh_.begin(), fresh_.end(), 0u);
    nextFresh_ = 0;
    ready_.clear();
    firstReady_ = 0;
    lastWarp_ = kNone;
    random_ = seed ? seed : 1;
    if (backwards()) std::reverse(fresh_.begin(), fresh_.end());
    if (settings().order == Order::random)
      for (uint32_t i = threads; i > 1; i--) std::swap(fresh_[i - 1], fresh_[random() % i]);
  }

  bool backwards() const { return settings().order == Order::reverse || settings().order == Order::greedyReverse; }
  // Whether a thread that completes a collective lets others go first.
  bool yields() const { return settings().order != Order::forward; }
  void makeReady(uint32_t thread) { ready_.push_back(thread); }

  // The next thread to run; kNone if none can.
  uint32_t next() {
    const bool anyFresh = nextFresh_ < fresh_.size();
    const bool anyReady = firstReady_ < ready_.size();
    if (!anyFresh && !anyReady) return kNone;
    const uint32_t thread = anyFresh && (!anyReady || prefersFresh()) ? fresh_[nextFresh_++] : takeReady();
    lastWarp_ = thread / kWarpSize;
    return thread;
  }

 private:
  bool greedy() const { return settings().order == Order::greedy || settings().order == Order::greedyReverse; }

  bool prefersFresh() {
    if (settings().order == Order::random) return random() & 1;
    if (greedy()) return fresh_[nextFresh_] / kWarpSize == lastWarp_ || readyIn(lastWarp_) == ready_.size();
    return true;
  }

  size_t readyIn(uint32_t warp) const {
    size_t k = firstReady_;
    while (k < ready_.size() && ready_[k] / kWarpSize != warp) k++;
    return k;
  }

  uint32_t takeReady() {
    std::swap(ready_[chooseReady()], ready_[firstReady_]);
    const uint32_t thread = ready_[firstReady_++];
    if (firstReady_ == ready_.size()) {
      ready_.clear();
      firstReady_ = 0;
    }
    return thread;
  }
  size_t chooseReady() {
    if (settings().order == Order::random) return firstReady_ + random() % (ready_.size() - firstReady_);
    if (!greedy()) return firstReady_;
    const size_t same = readyIn(lastWarp_);
    if (same < ready_.size()) return same;
    if (!backwards()) return firstReady_;
    return std::max_element(ready_.begin() + firstReady_, ready_.end()) - ready_.begin();
  }

  uint64_t random() {  // xorshift64
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    return random_ ^= random_ << 17;
  }

  std::vector<uint32_t> fresh_, ready_;
  size_t nextFresh_ = 0, firstReady_ = 0;
  uint32_t lastWarp_ = kNone;
  uint64_t random_ = 1;
};

}  // namespace stepsize::emulator
