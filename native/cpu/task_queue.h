// The queue of a device's thread. The thread that owns the device pushes tasks; the device's thread pops them in order.
//
// Pushing never fails. If there is no memory to grow the queue, push() waits for a free place. The device's thread
// waits for no other thread, so a place always becomes free.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace stepsize::cpu {

// Work for the device's thread, and memory to release after it.
struct Task {
  std::function<void()> run;
  void* releases = nullptr;  // memory to give back, even if the queue is closed
  int64_t releasedBytes = 0;
  int64_t heldBytes = 0;  // data that `run` holds, beyond the size of a task
};

// A queue for one producer and one consumer.
class TaskQueue {
 public:
  // A queue is long once it has this many tasks, about 10 MB, or this much other data. It is short again at half of
  // both.
  static constexpr size_t kMaxTasks = 16384;
  static constexpr int64_t kMaxHeldBytes = int64_t{1} << 28;

  // Appends a task. Returns false if the queue is closed; the caller then keeps the task.
  bool push(Task& task) noexcept {
    {
      std::unique_lock lock(mutex_);
      if (count_ == ring_.size() && !isClosed() && !grow()) {
        needsPlace_ = true;
        room_.wait(lock, [this] { return count_ < ring_.size() || isClosed(); });
        needsPlace_ = false;
      }
      if (isClosed()) return false;
      heldBytes_ += task.heldBytes;
      ring_[(first_ + count_++) % ring_.size()] = std::move(task);
      if (count_ >= kMaxTasks || heldBytes_ >= kMaxHeldBytes) isLong_.store(true, std::memory_order_relaxed);
    }
    wake_.notify_one();
    return true;
  }

  // Waits for a task. Returns false once the queue is closed, even if tasks are left.
  bool pop(Task& task) noexcept {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return count_ > 0 || isClosed(); });
    if (isClosed()) return false;
    take(task);
    const bool isShort = count_ <= kMaxTasks / 2 && heldBytes_ <= kMaxHeldBytes / 2;
    const bool isShortAgain = isShort && isLong_.load(std::memory_order_relaxed);
    if (isShortAgain) isLong_.store(false, std::memory_order_relaxed);
    if (isShortAgain || needsPlace_) room_.notify_one();
    return true;
  }

  // Returns true at once if the queue is short; otherwise waits until the queue is short or the time is over, and says
  // whether it is short.
  bool awaitRoom(std::chrono::milliseconds atMost) noexcept {
    if (!isLong_.load(std::memory_order_relaxed)) return true;
    std::unique_lock lock(mutex_);
    return room_.wait_for(lock, atMost, [this] { return !isLong_.load(std::memory_order_relaxed) || isClosed(); });
  }

  // Closes the queue and wakes all waiting threads.
  void close() noexcept {
    {
      const std::lock_guard lock(mutex_);
      closed_.store(true, std::memory_order_relaxed);
    }
    wake_.notify_one();
    room_.notify_one();
  }
  bool isClosed() const noexcept { return closed_.load(std::memory_order_relaxed); }

  // Takes a task that was left when the queue was closed. Call it after the device's thread has ended. Returns false if
  // none is left.
  bool takeRest(Task& task) noexcept {
    if (count_ == 0) return false;
    take(task);
    return true;
  }

 private:
  void take(Task& task) noexcept {
    task = std::move(ring_[first_]);
    ring_[first_] = {};
    first_ = (first_ + 1) % ring_.size();
    count_--;
    heldBytes_ -= task.heldBytes;
  }

  bool grow() noexcept {
    try {
      std::vector<Task> larger(2 * ring_.size());
      for (size_t i = 0; i < count_; i++) larger[i] = std::move(ring_[(first_ + i) % ring_.size()]);
      ring_.swap(larger);
      first_ = 0;
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, room_;
  std::vector<Task> ring_ = std::vector<Task>(256);
  size_t first_ = 0, count_ = 0;
  int64_t heldBytes_ = 0;
  bool needsPlace_ = false;
  std::atomic<bool> isLong_{false}, closed_{false};
};

}  // namespace stepsize::cpu
