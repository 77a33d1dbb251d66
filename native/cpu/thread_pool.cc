#include "thread_pool.h"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "memory.h"

namespace stepsize::cpu {

namespace {

// CPUs' worth of time that control groups grant, or infinity. Both versions; Linux alone has them.
double containerQuota() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0) return std::stod(quota) / period;
  std::ifstream quotaFile("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), periodFile("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double quotaV1 = 0;
  if (quotaFile >> quotaV1 && periodFile >> period && quotaV1 > 0 && period > 0) return quotaV1 / period;
  return INFINITY;
}

// Longer than the gap between two parallel loops of one operation, shorter than what a sleeping thread costs to wake.
constexpr int kSpins = 4000;

}  // namespace

int availableThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int affinity = 1;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) affinity = CPU_COUNT(&set);
  double quota = INFINITY;
  try {
    quota = containerQuota();
  } catch (const std::exception&) {
    // A quota that does not read as a number is no quota.
  }
  return static_cast<int>(std::max(1.0, std::min<double>(affinity, std::floor(quota + 0.5))));
}

ThreadPool& ThreadPool::instance() {
  // Never destroyed: a worker thread of Node may still compute while the process runs its static destructors.
  static auto* pool = new ThreadPool();
  return *pool;
}

float* ThreadPool::scratch() {
  thread_local GrowingBuffer buffer;
  return static_cast<float*>(buffer.atLeast(kScratchFloats * static_cast<int64_t>(sizeof(float))));
}

void ThreadPool::grow(int helpers) {
  while (static_cast<int>(helpers_.size()) < helpers) {
    const auto number = static_cast<int>(helpers_.size());
    helpers_.emplace_back([this, number] { help(number); });
  }
}

void ThreadPool::work() {
  for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < count_;
       i = next_.fetch_add(1, std::memory_order_relaxed))
    body_(context_, i);
}

void ThreadPool::help(int number) {
  uint32_t seen = 0;
  for (;;) {
    uint32_t now = generation_.load(std::memory_order_acquire);
    for (int spin = 0; now == seen && spin < kSpins; spin++) {
      _mm_pause();
      now = generation_.load(std::memory_order_acquire);
    }
    if (now == seen) {
      generation_.wait(seen, std::memory_order_acquire);
      continue;
    }
    seen = now;
    if (closing_.load(std::memory_order_acquire)) return;
    if (number < invited_) work();
    working_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::run(int64_t count, int threads, Body body, void* context) {
  std::unique_lock lock(busy_, std::try_to_lock);
  const auto useful = static_cast<int>(std::min<int64_t>(count, threads));
  if (!lock.owns_lock() || useful <= 1) {
    for (int64_t i = 0; i < count; i++) body(context, i);
    return;
  }
  grow(useful - 1);
  body_ = body;
  context_ = context;
  count_ = count;
  invited_ = useful - 1;
  next_.store(0, std::memory_order_relaxed);
  // Every helper answers, also one that is not invited: the job's fields must not change while one still reads them.
  working_.store(static_cast<int>(helpers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  work();
  for (int spin = 0; working_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < 64 * kSpins)
      _mm_pause();
    else
      std::this_thread::yield();
  }
}

ThreadPool::~ThreadPool() {
  closing_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

}  // namespace stepsize::cpu
