#include "completion.h"

#include <new>
#include <utility>

namespace stepsize::cuda {

namespace {

// What is held at most without an event of its own.
constexpr size_t kMostHeld = 64, kMostHeldBytes = 16 << 20;

}  // namespace

Completion::Completion(int device, cudaStream_t stream) : device_(device), stream_(stream) {
  thread_ = std::thread([this] { loop(); });
}

Event Completion::takeEvent() {
  {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      Event event = std::move(spare_.back());
      spare_.pop_back();
      return event;
    }
  }
  // The waiting thread sleeps: it must not take a core from those who feed the device.
  return Event(cudaEventDisableTiming | cudaEventBlockingSync);
}

Completion::Prepared Completion::prepare(std::function<void(cudaError_t)> then) {
  Prepared item(1);
  item.front().then = std::move(then);
  return item;
}

void Completion::whenDone(Prepared prepared) noexcept {
  Item& item = prepared.front();
  item.held = std::exchange(held_, {});
  heldBytes_ = 0;
  // Where the device has failed there may be no event: those who wait are told all the same.
  try {
    item.reached = takeEvent();
    check(cudaEventRecord(item.reached->get(), stream_), "an event");
  } catch (const CudaError& error) {
    item.code = error.code;
  } catch (const std::bad_alloc&) {
    item.code = cudaErrorMemoryAllocation;
  }
  {
    const std::lock_guard lock(mutex_);
    items_.splice(items_.end(), prepared);
  }
  wake_.notify_one();
}

void Completion::hold(std::shared_ptr<void> what, size_t bytes) noexcept {
  held_.push_back(std::move(what));
  heldBytes_ += bytes;
  if (held_.size() < kMostHeld && heldBytes_ < kMostHeldBytes) return;
  try {
    whenDone([](cudaError_t) {});
  } catch (const std::bad_alloc&) {
    // It is held until the next one.
  }
}

void Completion::loop() noexcept {
  cudaSetDevice(device_);
  // Memory is freed here, which a capture that somebody else makes in this process would forbid in the other modes.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaThreadExchangeStreamCaptureMode(&mode);
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return closing_ || !items_.empty(); });
    if (items_.empty()) return;
    std::list<Item> one;
    one.splice(one.end(), items_, items_.begin());
    Item& item = one.front();
    const bool closing = closing_;
    lock.unlock();
    const cudaError_t outcome = item.code == cudaSuccess ? cudaEventSynchronize(item.reached->get()) : item.code;
    // The process is ending, and nobody is left to be told.
    if (outcome == cudaErrorCudartUnloading) return;
    item.then(closing ? kAbandoned : outcome);
    // Whatever went wrong in the callback is not the next one's.
    cudaGetLastError();
    if (item.code != cudaSuccess) {
      // Nothing tells when the work before it is done, which may still use what would be let go.
      unfinished_.splice(unfinished_.end(), one);
      continue;
    }
    // Also frees what the callback held, before the next one.
    item.then = nullptr;
    item.held.clear();
    cudaGetLastError();
    lock.lock();
    try {
      spare_.push_back(*std::move(item.reached));
    } catch (const std::bad_alloc&) {
      // Another one is made when it is needed.
    }
  }
}

void Completion::finish() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

}  // namespace stepsize::cuda
