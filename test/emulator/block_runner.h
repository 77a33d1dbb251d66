// Runs the blocks of a grid one after another on the calling operating-system thread. It starts the threads of a block,
// suspends them at barriers and warp collectives, and reports which threads wait for which if none can continue.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "deadlock_report.h"
#include "scheduler.h"
#include "shared_memory.h"
#include "thread.h"

namespace stepsize::emulator {

// The body of a kernel with its arguments bound.
struct Body {
  void (*call)(const void* closure);
  const void* closure;
};

struct BarrierResult {
  uint32_t count;  // threads whose predicate was not zero
  bool all, any;
};

// What the race detector needs to know about the running block.
struct Serials {
  uint64_t launch, block;
  bool usedAtomics;
};

// A number that is used once in the process.
inline uint64_t nextSerial() {
  static std::atomic<uint64_t> next{1};
  return next++;
}

class BlockRunner;
inline constinit thread_local BlockRunner* runner = nullptr;

// Runs blocks on one operating-system thread.
class BlockRunner {
 public:
  dim3 gridSize, blockSize;
  uint3 blockIndex{0, 0, 0};
  Serials serials{0, 0, false};
  SharedMemory shared;
  Fiber main;

  BlockRunner() { adoptCallingThread(main); }
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;
  ~BlockRunner() { dropFibers(); }

  // Prepares for the blocks of a launch.
  void prepare(dim3 grid, dim3 block, SharedBytes sharedBytes, Body body, uint64_t launchSerial) {
    gridSize = grid;
    blockSize = block;
    body_ = body;
    sharedBytes_ = sharedBytes;
    serials.launch = launchSerial;
    threads_.resize(block.x * block.y * block.z);
    warps_.resize((threads_.size() + kWarpSize - 1) / kWarpSize);
    uint32_t i = 0;
    for (unsigned z = 0; z < block.z; z++)
      for (unsigned y = 0; y < block.y; y++)
        for (unsigned x = 0; x < block.x; x++, i++) {
          threads_[i].index = {x, y, z};
          threads_[i].linear = i;
          threads_[i].lane = i % kWarpSize;
          threads_[i].warp = &warps_[i / kWarpSize];
          warps_[i / kWarpSize].lanes[i % kWarpSize] = &threads_[i];
        }
  }

  // Runs one block; throws the Error of a kernel that failed.
  void run(uint3 index) {
    begin(index);
    currentFiber = &main;
    moveOn();
    currentThread = nullptr;
    shared.close();
    if (error_.empty()) return;
    dropFibers();  // threads that were stopped in the middle are discarded with their stacks
    throw Error(std::exchange(error_, {}));
  }

  // The functions below are called by kernels, through CUDA's names.

  __attribute__((noinline)) BarrierResult barrier(bool predicate, const char* call, Place where) {
    const OutsideKernel outside;
    Thread& self = *currentThread;
    if (arrived_ == 0)
      barrierWhere_ = where;
    else if (where.line != barrierWhere_.line || strcmp(where.file, barrierWhere_.file) != 0)
      fail(std::string(call) + " at " + describe(where) + " while others wait at " + describe(barrierWhere_));
    self.call = call;
    self.where = where;
    self.mask = 0;
    arrived_++;
    arriving_.count += predicate;
    if (arrived_ < alive_) {
      self.status = Status::atBarrier;
      moveOn();
    } else {
      releaseBarrier();
      if (scheduler_.yields()) stepAside(self);
    }
    self.barriers++;
    return released_;
  }

  // Waits until every lane of `mask` that has not returned is here, then calls `combine` with the arguments of all
  // lanes.
  __attribute__((noinline)) void collective(uint32_t mask, Combine combine, void* argument, const char* call,
                                            Place where) {
    const OutsideKernel outside;
    Thread& self = *currentThread;
    if (!(mask >> self.lane & 1))
      fail(std::string(call) + " at " + describe(where) + ": the mask lacks the calling lane");
    if (settings().strictMasks && (mask & self.warp->returned))
      fail(std::string(call) + " at " + describe(where) + ": the mask names lanes that have returned");
    self.mask = mask;
    self.combine = combine;
    self.argument = argument;
    self.call = call;
    self.where = where;
    if (!tryCollective(*self.warp, self, &self)) {
      self.status = Status::inCollective;
      self.warp->waiting |= 1u << self.lane;
      moveOn();
    } else if (scheduler_.yields()) {
      stepAside(self);
    }
  }

  char* sharedVariable(const void* tag, size_t bytes, size_t alignment) {
    const OutsideKernel outside;
    try {
      return shared.variable(tag, bytes, alignment);
    } catch (const Error& error) {
      fail(error.what());
    }
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(describe(blockIndex, currentThread->index) + ": " + message);
  }

 private:
  void begin(uint3 index) {
    blockIndex = index;
    serials.block = nextSerial();
    serials.usedAtomics = false;
    alive_ = static_cast<uint32_t>(threads_.size());
    arrived_ = 0;
    arriving_ = {};
    for (Thread& thread : threads_) {
      thread.status = Status::fresh;
      thread.barriers = thread.warpBarriers = thread.copyGroup = 0;
      thread.copies.clear();
    }
    for (Warp& warp : warps_) warp = {.lanes = {}, .alive = 0, .waiting = 0, .returned = 0};
    for (Thread& thread : threads_) {
      thread.warp->lanes[thread.lane] = &thread;
      thread.warp->alive |= 1u << thread.lane;
    }
    scheduler_.begin(
        alive_, (settings().seed * 0x9e3779b97f4a7c15u) ^ (index.x * 1000003ull + index.y * 10007ull + index.z + 1));
    shared.begin(sharedBytes_);
  }

  // Switches from the running fiber to the next thread that can run, or ends the block.
  STEPSIZE_EMULATOR_INTERNAL void moveOn() {
    const uint32_t next = scheduler_.next();
    if (next == Scheduler::kNone) {
      if (alive_ > 0 && error_.empty()) error_ = describeDeadlock(blockIndex, threads_, alive_);
      return switchTo(&main);
    }
    currentThread = &threads_[next];
    if (currentThread->status == Status::fresh) currentThread->fiber = idleFiber();
    currentThread->status = Status::running;
    if (currentThread->fiber != currentFiber) switchTo(currentThread->fiber);
  }

  void stepAside(Thread& thread) {
    makeReady(thread);
    moveOn();
  }
  void makeReady(Thread& thread) {
    thread.status = Status::ready;
    scheduler_.makeReady(thread.linear);
  }

  void releaseBarrier() {
    released_ = {arriving_.count, arriving_.count == arrived_, arriving_.count > 0};
    arrived_ = 0;
    arriving_ = {};
    const size_t n = threads_.size();
    for (size_t i = 0; i < n; i++) {
      Thread& thread = threads_[scheduler_.backwards() ? n - 1 - i : i];
      if (thread.status == Status::atBarrier) makeReady(thread);
    }
  }

  // If all lanes wait in the collective that `first` is in, performs it and wakes them. `self` is the lane that is
  // running.
  bool tryCollective(Warp& warp, const Thread& first, const Thread* self) {
    const uint32_t mask = first.mask, lanes = mask & warp.alive;
    const uint32_t here = warp.waiting | (self ? 1u << self->lane : 0);
    if (lanes & ~here) return false;
    void* arguments[kWarpSize] = {};
    for (uint32_t lane = 0; lane < kWarpSize; lane++) {
      if (!(lanes >> lane & 1)) continue;
      const Thread& other = *warp.lanes[lane];
      arguments[lane] = other.argument;
      if (&other == self) continue;
      if (other.mask == mask && other.combine == first.combine) continue;
      // The other lane may still come here after its collective, unless that collective waits for this lane.
      if (!self || !(other.mask >> self->lane & 1)) return false;
      fail("warp collective mismatch: " + describe(*self) + ", but lane " + std::to_string(lane) + " waits in " +
           describe(other));
    }
    first.combine(arguments, lanes);
    warp.waiting &= ~lanes;
    for (uint32_t i = 0; i < kWarpSize; i++) {
      const uint32_t lane = scheduler_.backwards() ? kWarpSize - 1 - i : i;
      if ((lanes >> lane & 1) && warp.lanes[lane] != self) makeReady(*warp.lanes[lane]);
    }
    return true;
  }

  // Ends a thread. It no longer counts at barriers and in masks, so threads that waited only for it can continue.
  void retire(Thread& thread) {
    thread.status = Status::done;
    alive_--;
    Warp& warp = *thread.warp;
    warp.alive &= ~(1u << thread.lane);
    warp.returned |= 1u << thread.lane;
    for (uint32_t lane = 0; lane < kWarpSize; lane++) {
      if (!(warp.waiting >> lane & 1)) continue;
      const Thread& waiting = *warp.lanes[lane];
      if (settings().strictMasks && (waiting.mask >> thread.lane & 1))
        fail("returned, but lane " + std::to_string(lane) + " waits for it in " + describe(waiting));
      tryCollective(warp, waiting, nullptr);
    }
    if (alive_ > 0 && arrived_ == alive_) releaseBarrier();
  }

  // The body of a fiber: it runs one thread of the block after another on the same stack.
  STEPSIZE_EMULATOR_INTERNAL static void fiberMain() {
    enterFiber();
    for (;;) {
      const bool sound = runner->runThread();
      if (!sound) switchTo(&runner->main);  // which discards this stack
      runner->idle_.push_back(currentFiber);
      runner->moveOn();
    }
  }

  STEPSIZE_EMULATOR_INTERNAL bool runThread() {
    try {
      inKernel = true;
      body_.call(body_.closure);
      inKernel = false;
      retire(*currentThread);
      return true;
    } catch (const std::exception& error) {
      inKernel = false;
      error_ = error.what();
    } catch (...) {
      inKernel = false;
      error_ = describe(blockIndex, currentThread->index) + ": threw something that is no std::exception";
    }
    return false;
  }

  Fiber* idleFiber() {
    if (idle_.empty()) {
      fibers_.push_back(createFiber(&fiberMain));
      return fibers_.back();
    }
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }
  void dropFibers() {
    for (Fiber* fiber : fibers_) destroyFiber(fiber);
    fibers_.clear();
    idle_.clear();
  }

  Body body_{};
  SharedBytes sharedBytes_{};
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  Scheduler scheduler_;
  uint32_t alive_ = 0, arrived_ = 0;
  BarrierResult arriving_{}, released_{};
  Place barrierWhere_;
  std::vector<Fiber*> fibers_, idle_;
  std::string error_;
};

}  // namespace stepsize::emulator
