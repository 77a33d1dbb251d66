#include "completion.h"

#include <new>
#include <utility>

namespace stepsize::cuda {

namespace {

// Objects and bytes that are held before an event is recorded for them.
constexpr size_t kMaxHeld = 64;
constexpr int64_t kMaxHeldBytes = 16 << 20;

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
  // The waiting thread sleeps, so that it takes no core from the threads that feed the device.
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
  item.amount = std::exchange(unmarked_, {});
  item.amount.launches++;  // the event
  // If the device has failed there may be no event; the callback is called all the same.
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
    inFlight_.launches += item.amount.launches;
    inFlight_.bytes += item.amount.bytes;
    if (inFlight_.launches >= kMaxLaunches || inFlight_.bytes >= kMaxBytes)
      isFull_.store(true, std::memory_order_relaxed);
    items_.splice(items_.end(), prepared);
  }
  wake_.notify_one();
}

void Completion::hold(std::shared_ptr<void> what, size_t bytes) noexcept {
  held_.push_back(std::move(what));
  unmarked_.bytes += static_cast<int64_t>(bytes);
  if (held_.size() >= kMaxHeld || unmarked_.bytes >= kMaxHeldBytes) mark();
}

void Completion::countLaunches(int64_t launches) noexcept {
  unmarked_.launches += launches;
  if (unmarked_.launches >= kCountedLaunches) mark();
}

void Completion::mark() noexcept {
  try {
    whenDone([](cudaError_t) {});
  } catch (const std::bad_alloc&) {
    // The next call tries again.
  }
}

bool Completion::awaitRoom(std::chrono::milliseconds atMost) noexcept {
  if (!isFull()) return true;
  std::unique_lock lock(mutex_);
  return room_.wait_for(lock, atMost, [this] { return !isFull(); });
}

void Completion::loop() noexcept {
  cudaSetDevice(device_);
  // Memory is freed on this thread. The other capture modes would forbid that while other code of the process captures.
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
    // The process is ending, and no callback is needed.
    if (outcome == cudaErrorCudartUnloading) return;
    item.then(closing ? kAbandoned : outcome);
    // An error of the callback must not be taken for one of the next.
    cudaGetLastError();
    if (item.code == cudaSuccess) {
      // This also frees what the callback held, before the next one runs.
      item.then = nullptr;
      item.held.clear();
      cudaGetLastError();
    }
    lock.lock();
    inFlight_.launches -= item.amount.launches;
    inFlight_.bytes -= item.amount.bytes;
    if (isFull() && inFlight_.launches <= kMaxLaunches / 2 && inFlight_.bytes <= kMaxBytes / 2) {
      isFull_.store(false, std::memory_order_relaxed);
      room_.notify_one();
    }
    if (item.code != cudaSuccess) {
      // Without an event, it is unknown when the work is done that may still use what would be released.
      unfinished_.splice(unfinished_.end(), one);
      continue;
    }
    try {
      spare_.push_back(*std::move(item.reached));
    } catch (const std::bad_alloc&) {
      // A new event is made when one is needed.
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
