#include "thread_pool.h"

#include <immintrin.h>

#include <algorithm>

#include "denormals.h"
#include "memory.h"

namespace stepsize::cpu {

namespace {

// Longer than the gap between two parallel loops of one operation, shorter than what a sleeping thread costs to wake.
constexpr int kSpins = 2000;

// In ThreadPool::state_: more helpers may join.
constexpr uint32_t kOpen = 1u << 31;

// Waits for a change of `value` from `seen`: first awake, then asleep, which leaves the CPU to whoever is waited for.
uint32_t waitForChange(const std::atomic<uint32_t>& value, uint32_t seen) {
  for (int spin = 0; spin < kSpins; spin++) {
    const uint32_t now = value.load(std::memory_order_acquire);
    if (now != seen) return now;
    _mm_pause();
  }
  value.wait(seen, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

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
  while (static_cast<int>(helpers_.size()) < helpers) helpers_.emplace_back([this] { help(); });
}

void ThreadPool::work() {
  for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < count_;
       i = next_.fetch_add(1, std::memory_order_relaxed))
    body_(context_, i);
}

bool ThreadPool::join() {
  uint32_t state = state_.load(std::memory_order_acquire);
  while ((state & kOpen) != 0) {
    if (static_cast<int>(state - kOpen) >= invited_) return false;
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void ThreadPool::leave() {
  if (state_.fetch_sub(1, std::memory_order_acq_rel) == 1) state_.notify_one();
}

void ThreadPool::help() {
  flushDenormals();
  uint32_t seen = 0;
  for (;;) {
    seen = waitForChange(generation_, seen);
    if (closing_.load(std::memory_order_acquire)) return;
    if (!join()) continue;
    work();
    leave();
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
  state_.store(kOpen, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  work();
  uint32_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  while (state != 0) state = waitForChange(state_, state);
}

ThreadPool::~ThreadPool() {
  closing_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

}  // namespace stepsize::cpu
