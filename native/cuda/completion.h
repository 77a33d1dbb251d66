// What happens on the host when the device has come so far: a thread that waits for events, one after another.
#pragma once

#include <condition_variable>
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

class Completion {
 public:
  Completion(int device, cudaStream_t stream);
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  ~Completion() { finish(); }

  struct Item;
  // The memory that a call of whenDone takes: with it, that cannot fail.
  using Prepared = std::list<Item>;
  static Prepared prepare(std::function<void(cudaError_t outcome)> then);
  // Calls back on this object's thread when all work given to the stream so far is done, in the order of the calls.
  // `outcome` is cudaSuccess, or what the device failed with. The callback must not throw.
  void whenDone(Prepared item) noexcept;
  void whenDone(std::function<void(cudaError_t outcome)> then) { whenDone(prepare(std::move(then))); }
  // Lets something go when all work given to the stream so far is done, or some time later: an event for each would
  // cost more than most of what is held. Only after makeRoom(), which gets the memory for one call: whoever has begun a
  // copy must not fail to hold its source.
  void hold(std::shared_ptr<void> what, size_t bytes = 0) noexcept;
  void makeRoom() { reserveOneMore(held_); }
  // Waits for the device, calls back what is left with kAbandoned, and ends the thread. No call after it.
  void finish();
  static constexpr cudaError_t kAbandoned = cudaErrorNotReady;

  struct Item {
    std::optional<Event> reached;
    cudaError_t code = cudaSuccess;  // otherwise why there is no event to wait for
    std::vector<std::shared_ptr<void>> held;
    std::function<void(cudaError_t)> then;
  };

 private:
  Event takeEvent();
  void loop() noexcept;

  const int device_;
  const cudaStream_t stream_;
  // Since the last item, by the thread that gives the work.
  std::vector<std::shared_ptr<void>> held_;
  size_t heldBytes_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Item> items_;
  std::vector<Event> spare_;
  std::list<Item> unfinished_;  // until the device has been waited for
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace stepsize::cuda
