// What happens on the host when the device has come so far: a thread that waits for events, one after another.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime.h"

namespace stepsize::cuda {

class Completion {
 public:
  Completion(int device, cudaStream_t stream);
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  ~Completion() { finish(); }

  // Calls back on this object's thread when all work given to the stream so far is done, in the order of the calls.
  // `outcome` is cudaSuccess, or what the device failed with.
  void whenDone(std::function<void(cudaError_t outcome)> then);
  // Lets something go when all work given to the stream so far is done, or some time later: an event for each would
  // cost more than most of what is held.
  void hold(std::shared_ptr<void> what, size_t bytes = 0);
  // Waits for the device, calls back what is left with kAbandoned, and ends the thread. No call after it.
  void finish();
  static constexpr cudaError_t kAbandoned = cudaErrorNotReady;

 private:
  struct Item {
    std::optional<Event> reached;
    cudaError_t code = cudaSuccess;  // otherwise why there is no event to wait for
    std::vector<std::shared_ptr<void>> held;
    std::function<void(cudaError_t)> then;
  };
  Event takeEvent();
  void loop();

  const int device_;
  const cudaStream_t stream_;
  // Since the last item, by the thread that gives the work.
  std::vector<std::shared_ptr<void>> held_;
  size_t heldBytes_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> items_;
  std::vector<Event> spare_;
  std::vector<Item> unfinished_;  // until the device has been waited for
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace stepsize::cuda
