// Operating-system threads that run blocks in parallel. They are kept from launch to launch.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "failing_allocations.h"

namespace stepsize::emulator {

// A pool of such threads.
class Workers {
 public:
  Workers() = default;
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  // Calls `job` once on each of `count` threads and returns when all calls are done.
  void run(int count, const std::function<void()>& job) {
    const std::lock_guard oneAtATime(running_);
    std::unique_lock lock(mutex_);
    while (static_cast<int>(threads_.size()) < count)
      threads_.emplace_back([this, index = static_cast<int>(threads_.size()), seen = round_] { serve(index, seen); });
    job_ = &job;
    wanted_ = unfinished_ = count;
    round_++;
    wake_.notify_all();
    finished_.wait(lock, [&] { return unfinished_ == 0; });
  }

 private:
  void serve(int index, uint64_t seen) {
    const Spared spared;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || round_ != seen; });
      if (stopping_) return;
      seen = round_;
      if (index >= wanted_) continue;
      const std::function<void()>& job = *job_;
      lock.unlock();
      job();
      lock.lock();
      if (--unfinished_ == 0) finished_.notify_all();
    }
  }

  std::mutex running_, mutex_;
  std::condition_variable wake_, finished_;
  std::vector<std::thread> threads_;
  const std::function<void()>* job_ = nullptr;
  uint64_t round_ = 0;
  int wanted_ = 0, unfinished_ = 0;
  bool stopping_ = false;
};

// The workers of the process.
inline Workers& workers() {
  static Workers workers;
  return workers;
}

}  // namespace stepsize::emulator
