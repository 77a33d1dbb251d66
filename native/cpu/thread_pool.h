// The threads of the process: one pool, however many devices are open.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "invocation.h"

namespace stepsize::cpu {

// How many threads this process may keep busy: the affinity mask and the container's CPU quota, whichever is less.
int availableThreads();

class ThreadPool {
 public:
  static ThreadPool& instance();

  // Calls body for every index below count on up to `threads` threads, the caller among them; returns when all are
  // done. While another device uses the pool, the caller does the work alone rather than wait.
  void run(int64_t count, int threads, Body body, void* context);

  // Half a megabyte of floats of the calling thread's own.
  static float* scratch();

 private:
  ThreadPool() = default;
  ~ThreadPool();
  void grow(int helpers);
  void help(int number);
  void work();

  std::mutex busy_;
  std::vector<std::thread> helpers_;

  // The job: written before generation_ advances, read after it was seen to.
  Body body_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  int invited_ = 0;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> working_{0};
  std::atomic<bool> closing_{false};
};

}  // namespace stepsize::cpu
