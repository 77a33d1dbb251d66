#include "thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <utility>

#include "denormals.h"

namespace stepsize::cpu {

namespace {

// Spin this often before sleeping: longer than the gap between two parallel loops of one operation, shorter than it
// takes to wake a sleeping thread.
constexpr int kSpins = 2000;

// One place for a helper in ThreadPool::state_. The bits below count the helpers that take part.
constexpr uint32_t kPlace = 1u << 16;

// The scratch memory of the calling thread. It has no destructor, so a thread needs no memory to have it. With the
// initial-exec model, the loader reserves room for all thread_local variables of the addon in every thread. Otherwise
// it would allocate that room at the first use, and end the process if there is no memory.
[[gnu::tls_model("initial-exec")]] thread_local GrowingBuffer* threadScratch = nullptr;

// Tells the CPU that the thread spins.
void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  // Takes about as long as x86's pause. Most CPUs execute `yield` as a nop.
  asm volatile("isb");
#endif
}

// Waits until `value` is no longer `seen`: first by spinning, then asleep, so that other threads get the CPU.
uint32_t waitForChange(const std::atomic<uint32_t>& value, uint32_t seen) {
  for (int spin = 0; spin < kSpins; spin++) {
    const uint32_t now = value.load(std::memory_order_acquire);
    if (now != seen) return now;
    pause();
  }
  value.wait(seen, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

ThreadPool& ThreadPool::instance() {
  // Never destroyed, because a worker thread of Node may still compute while the process runs its static destructors.
  static auto* pool = new ThreadPool();
  return *pool;
}

ThreadScratch::ThreadScratch() { threadScratch = &buffer_; }

ThreadScratch::~ThreadScratch() { threadScratch = nullptr; }

float* ThreadScratch::get() {
  return static_cast<float*>(threadScratch->atLeast(kScratchFloats * static_cast<int64_t>(sizeof(float))));
}

int ThreadPool::grow(int helpers) {
  try {
    while (static_cast<int>(helpers_.size()) < helpers) helpers_.emplace_back([this] { help(); });
  } catch (const std::exception&) {
    // Any number of threads can do the work. The next job tries again.
  }
  return std::min(helpers, static_cast<int>(helpers_.size()));
}

void ThreadPool::work() {
  try {
    for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < count_;
         i = next_.fetch_add(1, std::memory_order_relaxed))
      body_(context_, i);
  } catch (...) {
    // The body may have left the thread in another mode (KeepDenormals).
    flushDenormals();
    if (!hasFailed_.exchange(true, std::memory_order_relaxed)) failure_ = std::current_exception();
    // next_ cannot overflow, because each thread adds at most one more.
    next_.store(count_, std::memory_order_relaxed);
  }
}

bool ThreadPool::join() {
  uint32_t state = state_.load(std::memory_order_acquire);
  while (state >= kPlace)
    if (state_.compare_exchange_weak(state, state - kPlace + 1, std::memory_order_acq_rel)) return true;
  return false;
}

void ThreadPool::leave() {
  if (state_.fetch_sub(1, std::memory_order_acq_rel) == 1) state_.notify_one();
}

void ThreadPool::help() {
  const ThreadScratch scratch;
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
  int helpers = static_cast<int>(std::min<int64_t>(count, threads)) - 1;
  if (helpers > 0 && lock.owns_lock()) helpers = grow(helpers);
  if (!lock.owns_lock() || helpers <= 0) {
    for (int64_t i = 0; i < count; i++) body(context, i);
    return;
  }
  body_ = body;
  context_ = context;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  state_.store(static_cast<uint32_t>(helpers) * kPlace, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  work();
  // No more helpers can join from here on. Those that joined must leave before this frame ends, even if the job has
  // failed.
  uint32_t state = state_.fetch_and(kPlace - 1, std::memory_order_acq_rel) & (kPlace - 1);
  while (state != 0) state = waitForChange(state_, state);
  if (!hasFailed_.load(std::memory_order_relaxed)) return;
  hasFailed_.store(false, std::memory_order_relaxed);
  std::rethrow_exception(std::exchange(failure_, nullptr));
}

ThreadPool::~ThreadPool() {
  closing_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

}  // namespace stepsize::cpu
