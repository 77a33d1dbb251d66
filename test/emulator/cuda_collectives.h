// CUDA's barriers, shuffles and votes.
#pragma once

#include <cstring>
#include <type_traits>

#include "block_runner.h"

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's.

namespace stepsize::emulator {

template <class T>
struct Shuffle {
  T value;
  uint32_t source;
  T result;
};

template <class T>
STEPSIZE_EMULATOR_INTERNAL void combineShuffle(void** arguments, uint32_t lanes) {
  for (uint32_t lane = 0; lane < kWarpSize; lane++) {
    if (!(lanes >> lane & 1)) continue;
    auto* self = static_cast<Shuffle<T>*>(arguments[lane]);
    if (lanes >> self->source & 1)
      self->result = static_cast<const Shuffle<T>*>(arguments[self->source])->value;
    else
      memset(&self->result, 0xff, sizeof(T));  // undefined on a device; NaN here, so that it shows
  }
}

template <class T>
STEPSIZE_EMULATOR_INTERNAL T shuffle(uint32_t mask, T value, uint32_t source, const char* call, Place where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  Shuffle<T> argument{value, source, value};
  runner->collective(mask, combineShuffle<T>, &argument, call, where);
  return argument.result;
}

struct Vote {
  bool predicate;
  uint32_t result;
};

STEPSIZE_EMULATOR_INTERNAL inline void combineVote(void** arguments, uint32_t lanes) {
  uint32_t result = 0;
  for (uint32_t lane = 0; lane < kWarpSize; lane++)
    if (lanes >> lane & 1) result |= uint32_t{static_cast<Vote*>(arguments[lane])->predicate} << lane;
  for (uint32_t lane = 0; lane < kWarpSize; lane++)
    if (lanes >> lane & 1) static_cast<Vote*>(arguments[lane])->result = result;
}

STEPSIZE_EMULATOR_INTERNAL inline uint32_t vote(uint32_t mask, bool predicate, const char* call, Place where) {
  Vote argument{predicate, 0};
  runner->collective(mask, combineVote, &argument, call, where);
  return argument.result;
}

inline void combineNothing(void**, uint32_t) {}

STEPSIZE_EMULATOR_INTERNAL inline void warpBarrier(uint32_t mask, const char* call, Place where) {
  runner->collective(mask, combineNothing, nullptr, call, where);
  if (mask == kAllLanes) currentThread->warpBarriers++;
}

inline uint32_t laneId() { return currentThread->lane; }

}  // namespace stepsize::emulator

// The default argument makes a report name the line in the kernel.
#define STEPSIZE_WHERE stepsize::emulator::Place where = stepsize::emulator::Place::current()

inline void __syncthreads(STEPSIZE_WHERE) { stepsize::emulator::runner->barrier(false, "__syncthreads", where); }
inline int __syncthreads_count(int predicate, STEPSIZE_WHERE) {
  return static_cast<int>(stepsize::emulator::runner->barrier(predicate != 0, "__syncthreads_count", where).count);
}
inline int __syncthreads_and(int predicate, STEPSIZE_WHERE) {
  return stepsize::emulator::runner->barrier(predicate != 0, "__syncthreads_and", where).all;
}
inline int __syncthreads_or(int predicate, STEPSIZE_WHERE) {
  return stepsize::emulator::runner->barrier(predicate != 0, "__syncthreads_or", where).any;
}

inline void __syncwarp(uint32_t mask = stepsize::emulator::kAllLanes, STEPSIZE_WHERE) {
  stepsize::emulator::warpBarrier(mask, "__syncwarp", where);
}

// `width` divides a warp into parts. A lane that would read beyond its part gets the value that it passed.
template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32, STEPSIZE_WHERE) {
  const uint32_t part = stepsize::emulator::laneId() & ~(width - 1u);
  return stepsize::emulator::shuffle(mask, value, part | (source & (width - 1u)), "__shfl_sync", where);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32, STEPSIZE_WHERE) {
  const uint32_t lane = stepsize::emulator::laneId(), source = lane ^ lanes;
  const bool beyond = source >= (lane & ~(width - 1u)) + width;
  return stepsize::emulator::shuffle(mask, value, beyond ? lane : source, "__shfl_xor_sync", where);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, STEPSIZE_WHERE) {
  const uint32_t lane = stepsize::emulator::laneId(), source = lane + delta;
  const bool beyond = source >= (lane & ~(width - 1u)) + width;
  return stepsize::emulator::shuffle(mask, value, beyond ? lane : source, "__shfl_down_sync", where);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, STEPSIZE_WHERE) {
  const uint32_t lane = stepsize::emulator::laneId();
  const bool beyond = (lane & (width - 1u)) < delta;
  return stepsize::emulator::shuffle(mask, value, beyond ? lane : lane - delta, "__shfl_up_sync", where);
}

inline uint32_t __ballot_sync(uint32_t mask, int predicate, STEPSIZE_WHERE) {
  return stepsize::emulator::vote(mask, predicate != 0, "__ballot_sync", where);
}
inline int __any_sync(uint32_t mask, int predicate, STEPSIZE_WHERE) {
  return stepsize::emulator::vote(mask, predicate != 0, "__any_sync", where) != 0;
}
inline int __all_sync(uint32_t mask, int predicate, STEPSIZE_WHERE) {
  return stepsize::emulator::vote(mask, predicate == 0, "__all_sync", where) == 0;
}

#undef STEPSIZE_WHERE

// NOLINTEND(bugprone-reserved-identifier)
