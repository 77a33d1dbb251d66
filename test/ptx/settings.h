// The settings of a run, from environment variables.
//
//   STEPSIZE_PTX_SCHEDULE   the order in which the warps of a block run: see Schedule
//   STEPSIZE_PTX_SEED       the seed of random choices, 1 by default
//   STEPSIZE_PTX_CHECKS     1: check for races and for reads of uninitialized memory
//   STEPSIZE_PTX_ULPS       moves results of approximate instructions by up to this many units in the last place
#pragma once

#include <cstdint>

#include "../emulator/settings.h"

namespace stepsize::ptx {

using emulator::Error;

// The orders in which blocks, warps and lanes run.
enum class Schedule {
  inOrder,    // "in-order": block after block, warp after warp
  random,     // "random": several blocks at once, their warps in random order between barriers
  switching,  // "switching": other warps run between any two memory accesses
  diverging,  // "diverging": the same, and the lanes of a warp diverge wherever no instruction joins them
};

struct Settings {
  Schedule schedule = Schedule::inOrder;
  uint64_t seed = 1;
  bool checks = false;
  unsigned ulps = 0;
};

// The settings, read from the environment at the first call; a test may change them.
Settings& settings();

// A pseudo-random generator, xorshift*.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x1234567u) {
    next();
    next();
  }
  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1du;
  }
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>((next() >> 33) % limit); }

 private:
  uint64_t state_;
};

}  // namespace stepsize::ptx
