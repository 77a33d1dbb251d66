// Describes where a thread is and what it waits for.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "thread.h"

namespace stepsize::emulator {

inline std::string describe(const uint3& index) {
  return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

inline std::string describe(const uint3& block, const uint3& thread) {
  return "block " + describe(block) + " thread " + describe(thread);
}

inline std::string describe(const Thread& thread) {
  char mask[32] = "";
  if (thread.mask != 0) snprintf(mask, sizeof mask, " mask %08x", thread.mask);
  return std::string(thread.call) + mask + " at " + describe(thread.where);
}

// Describes a deadlock with one line per run of neighboring threads that wait in the same place.
inline std::string describeDeadlock(const uint3& block, const std::vector<Thread>& threads, uint32_t waiting) {
  constexpr int kMaxLines = 16;
  std::string text = "deadlock in block " + describe(block) + ": " + std::to_string(waiting) + " of " +
                     std::to_string(threads.size()) + " threads wait";
  std::string previous;
  int lines = 0;
  for (const Thread& thread : threads) {
    const std::string place = thread.status == Status::done ? "" : describe(thread);
    if (!place.empty() && place != previous && lines++ < kMaxLines)
      text += "\n  from warp " + std::to_string(thread.linear / kWarpSize) + " lane " + std::to_string(thread.lane) +
              ": " + place;
    previous = place;
  }
  return text;
}

}  // namespace stepsize::emulator
