// The thread pool of the process, shared by all open devices.
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

// Scratch memory of a thread that runs kernels. The object lies on the stack of that thread. A thread_local buffer
// would have to register its destructor, and the process ends if there is no memory for that.
class ThreadScratch {
 public:
  ThreadScratch();
  ~ThreadScratch();
  ThreadScratch(const ThreadScratch&) = delete;
  ThreadScratch& operator=(const ThreadScratch&) = delete;

  // The scratch memory of the calling thread, kScratchFloats floats. The thread must have a ThreadScratch. Throws
  // std::bad_alloc.
  static float* get();

 private:
  GrowingBuffer buffer_;
};

// Runs parallel loops.
class ThreadPool {
 public:
  // The pool of this process.
  static ThreadPool& instance();

  // Calls body for every index below count on up to `threads` threads, including the caller, and returns when all calls
  // are done. If another device is using the pool, the caller does all the work itself. If the system starts fewer
  // threads, those that exist do the work.
  //
  // An exception of body ends the job on all threads: no thread takes another index, and after all threads have left
  // the job, the first exception is thrown here.
  void run(int64_t count, int threads, Body body, void* context);

 private:
  ThreadPool() = default;
  ~ThreadPool();
  // Starts helpers until there are this many, as far as the system allows; returns how many of them can be used.
  int grow(int helpers);
  // The body of a helper thread.
  void help();
  // Takes a place in the current job; false if there is none left.
  bool join();
  // Leaves the current job.
  void leave();
  // Runs indices of the current job until none is left.
  void work();

  std::mutex busy_;
  std::vector<std::thread> helpers_;

  // The current job. It is written while no helper takes part, and read by the helpers that joined.
  Body body_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  // The first exception of the job, written by the thread that set hasFailed_ and read after all have left.
  std::exception_ptr failure_;
  std::atomic<bool> hasFailed_{false};
  alignas(64) std::atomic<int64_t> next_{0};
  // The number of jobs so far; helpers wait for it to change.
  alignas(64) std::atomic<uint32_t> generation_{0};
  // The number of helpers that take part and, in units of kPlace, the number that may still join. Both are in one word,
  // so that a helper that wakes too late cannot take a place that is meant for a later job. A job does not wait for a
  // helper that wakes too late, or that does not wake because other processes use the CPUs.
  alignas(64) std::atomic<uint32_t> state_{0};
  std::atomic<bool> closing_{false};
};

}  // namespace stepsize::cpu
