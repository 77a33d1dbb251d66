// The threads of the process: one pool, however many devices are open.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "invocation.h"

namespace stepsize::cpu {

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
  int invited_ = 0;
  alignas(64) std::atomic<int64_t> next_{0};
  // Counts jobs; helpers sleep on it.
  alignas(64) std::atomic<uint32_t> generation_{0};
  // How many helpers take part, plus kOpen while more may join. A helper that wakes too late, or not at all because
  // other processes have the CPUs, is not waited for.
  alignas(64) std::atomic<uint32_t> state_{0};
  std::atomic<bool> closing_{false};
};

}  // namespace stepsize::cpu
