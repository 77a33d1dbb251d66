#include "completion.h"

#include <utility>

namespace stepsize::cuda {

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
  Item item{takeEvent(), std::move(then)};
  // Where the device has failed the event is not recorded; waiting for it then tells the failure.
  if (cudaEventRecord(item.reached.get(), stream_) != cudaSuccess) cudaGetLastError();
  {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
  }
  wake_.notify_one();
}

void Completion::loop() {
  cudaSetDevice(device_);
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return closing_ || !items_.empty(); });
    if (items_.empty()) return;
    Item item = std::move(items_.front());
    items_.pop_front();
    const bool closing = closing_;
    lock.unlock();
    const cudaError_t code = cudaEventSynchronize(item.reached.get());
    const cudaError_t state = code == cudaSuccess ? cudaPeekAtLastError() : code;
    item.then(closing ? kAbandoned : state);
    // Also frees what the callback held, before the next one.
    item.then = nullptr;
    lock.lock();
    spare_.push_back(std::move(item.reached));
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
