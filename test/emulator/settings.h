// What can be chosen about a run, and the error by which the emulator reports everything it finds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

// Code that runs inside a kernel call but is not the kernel's: its accesses are not the race detector's business.
#define STEPSIZE_EMULATOR_INTERNAL __attribute__((no_sanitize("thread")))

namespace stepsize::emulator {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In which order the threads of a block are advanced. A device promises none, so a kernel must be right under all.
// The greedy orders let one warp go as far as it can before another moves: they find most missing barriers.
enum class Order { forward, reverse, random, greedy, greedyReverse };

struct Settings {
  int workers = 1;  // operating-system threads that run blocks
  Order order = Order::forward;
  uint64_t seed = 1;               // of the random order
  bool strictMasks = false;        // a mask that names a lane which has returned is an error; CUDA allows it
  size_t stackBytes = 64 << 10;    // of one CUDA thread
  size_t sharedLimit = 48 << 10;   // static and dynamic together: what a device gives without being asked for more
  size_t sharedOptIn = 163 << 10;  // what it gives a kernel that asks: on compute capability 8.0
};

inline Settings& settings() {
  static Settings settings;
  return settings;
}

}  // namespace stepsize::emulator
