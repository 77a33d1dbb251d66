#include "completion.h"

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

void Completion::whenDone(std::function<void(cudaError_t)> then) {
  Item item;
  item.held = std::exchange(held_, {});
  heldBytes_ = 0;
  item.then = std::move(then);
  // Where the device has failed there may be no event: those who wait are told all the same.
  try {
    item.reached = takeEvent();
    check(cudaEventRecord(item.reached->get(), stream_), "an event");
  } catch (const CudaError& error) {
    item.code = error.code;
  }
  {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
  }
  wake_.notify_one();
}

void Completion::hold(std::shared_ptr<void> what, size_t bytes) {
  held_.push_back(std::move(what));
  heldBytes_ += bytes;
  if (held_.size() >= kMostHeld || heldBytes_ >= kMostHeldBytes) whenDone([](cudaError_t) {});
}

void Completion::loop() {
  cudaSetDevice(device_);
  // Memory is freed here, which a capture that somebody else makes in this process would forbid in the other modes.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaThreadExchangeStreamCaptureMode(&mode);
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return closing_ || !items_.empty(); });
    if (items_.empty()) return;
    Item item = std::move(items_.front());
    items_.pop_front();
    const bool closing = closing_;
    lock.unlock();
    const cudaError_t outcome = item.code == cudaSuccess ? cudaEventSynchronize(item.reached->get()) : item.code;
    // The process is ending, and nobody is left to be told.
    if (outcome == cudaErrorCudartUnloading) return;
    item.then(closing ? kAbandoned : outcome);
    if (item.code != cudaSuccess) {
      // Nothing tells when the work before it is done, which may still use what would be let go.
      unfinished_.push_back(std::move(item));
      item = {};
    }
    // Also frees what the callback held, before the next one.
    item.then = nullptr;
    item.held.clear();
    // Whatever went wrong in the callback is not the next one's.
    cudaGetLastError();
    lock.lock();
    if (item.reached) spare_.push_back(*std::move(item.reached));
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
