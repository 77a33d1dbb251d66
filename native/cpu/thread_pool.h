// The threads of the process: one pool, however many devices are open.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "invocation.h"
#include "memory.h"

namespace stepsize::cpu {

// Scratch memory of a thread that runs kernels, for as long as this object lives: it lies on that thread's stack. A
// thread_local buffer would have to register its destructor, and the process ends if there is no memory for that.
class ThreadScratch {
 public:
  ThreadScratch();
  ~ThreadScratch();
  ThreadScratch(const ThreadScratch&) = delete;
  ThreadScratch& operator=(const ThreadScratch&) = delete;

  // kScratchFloats of the calling thread, which has such an object. Throws std::bad_alloc.
  static float* get();

 private:
  GrowingBuffer buffer_;
};

class ThreadPool {
 public:
  static ThreadPool& instance();

  // Calls body for every index below count on up to `threads` threads, the caller among them; returns when all are
  // done. While another device uses the pool, the caller does the work alone rather than wait. If the system starts
  // fewer threads, those that there are do the work.
  //
  // What body throws on any thread ends the job: no thread takes another index, all of them leave it, and then the
  // first exception is thrown here.
  void run(int64_t count, int threads, Body body, void* context);

 private:
  ThreadPool() = default;
  ~ThreadPool();
  // At most this many, as far as the system starts them; returns how many there are.
  int grow(int helpers);
  void help();
  bool join();
  void leave();
  void work();

  std::mutex busy_;
  std::vector<std::thread> helpers_;

  // The job: written while nobody takes part, read by those who joined.
  Body body_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  // The first exception of the job: written by the thread that set hasFailed_, read when all have left.
  std::exception_ptr failure_;
  std::atomic<bool> hasFailed_{false};
  alignas(64) std::atomic<int64_t> next_{0};
  // Counts jobs; helpers sleep on it.
  alignas(64) std::atomic<uint32_t> generation_{0};
  // How many helpers take part, and in units of kPlace how many more may join. One word, so that a helper that wakes
  // too late cannot take a place that another job offers for one of its own. A helper that wakes too late, or not at
  // all because other processes have the CPUs, is not waited for.
  alignas(64) std::atomic<uint32_t> state_{0};
  std::atomic<bool> closing_{false};
};

}  // namespace stepsize::cpu
