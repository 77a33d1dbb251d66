// Runs callbacks on the host once the device has reached a point of the stream: a thread waits for events, one after
// another. It also bounds the work in flight.
//
// The driver's queue of a stream holds about 1,024 launches. A launch beyond that waits inside the driver, where the
// calling thread cannot notice that it is being terminated. So the device lets callers wait before the driver would.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "reserve.h"
#include "runtime.h"

namespace stepsize::cuda {

// Callbacks and deferred releases for one stream.
class Completion {
 public:
  Completion(int device, cudaStream_t stream);
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  ~Completion() { finish(); }

  struct Item;
  // The memory that a call of whenDone needs; with it, the call cannot fail.
  using Prepared = std::list<Item>;
  // Allocates that memory for a callback.
  static Prepared prepare(std::function<void(cudaError_t outcome)> then);
  // Calls back on this object's thread when all work given to the stream so far is done; callbacks run in the order of
  // the calls. `outcome` is cudaSuccess or the device's error. The callback must not throw.
  void whenDone(Prepared item) noexcept;
  // The same; throws std::bad_alloc.
  void whenDone(std::function<void(cudaError_t outcome)> then) { whenDone(prepare(std::move(then))); }
  // Releases an object when all work given to the stream so far is done, or some time later: an event for each object
  // would cost more than most of what is held. makeRoom() must be called before each call, because once a copy has
  // begun, holding its source must not fail.
  void hold(std::shared_ptr<void> what, size_t bytes = 0) noexcept;
  // Allocates the memory for one call of hold(). Throws std::bad_alloc.
  void makeRoom() { reserveOneMore(held_); }

  // The stream is full once this many launches, or this many bytes that are held, are in flight. It has room again at
  // half of both. Launches are counted in steps of kCountedLaunches, and those that are not counted yet must fit into
  // the driver's queue too.
  static constexpr int64_t kMaxLaunches = 512, kMaxBytes = int64_t{1} << 28, kCountedLaunches = 128;
  // Counts work that was given to the stream: launches, copies and the like.
  void countLaunches(int64_t launches) noexcept;
  bool isFull() const noexcept { return isFull_.load(std::memory_order_relaxed); }
  // Returns true at once unless the stream is full; otherwise waits until it has room or the time is over, and says
  // whether it has room.
  bool awaitRoom(std::chrono::milliseconds atMost) noexcept;

  // Waits for the device, calls the remaining callbacks with kAbandoned, and ends the thread. No call may follow.
  void finish();
  static constexpr cudaError_t kAbandoned = cudaErrorNotReady;

  struct Amount {
    int64_t launches = 0, bytes = 0;
  };
  // A callback, or objects to release, and the event to wait for.
  struct Item {
    std::optional<Event> reached;
    cudaError_t code = cudaSuccess;  // otherwise the reason why there is no event
    std::vector<std::shared_ptr<void>> held;
    Amount amount;  // of the work since the item before
    std::function<void(cudaError_t)> then;
  };

 private:
  Event takeEvent();
  // Adds an item without a callback, so that what is held is released and what is counted becomes known.
  void mark() noexcept;
  void loop() noexcept;

  const int device_;
  const cudaStream_t stream_;
  // Held since the last item; used by the thread that gives the work.
  std::vector<std::shared_ptr<void>> held_;
  Amount unmarked_;
  std::mutex mutex_;
  std::condition_variable wake_, room_;
  Amount inFlight_;  // of all items that were not reached
  std::atomic<bool> isFull_{false};
  std::list<Item> items_;
  std::vector<Event> spare_;
  std::list<Item> unfinished_;  // kept until the device has been waited for
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace stepsize::cuda
