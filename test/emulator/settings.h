// The settings of a run, and the error class that the emulator uses for everything it finds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

// Marks code that runs inside a kernel call but is not part of the kernel, so that the race detector ignores its
// accesses.
#define STEPSIZE_EMULATOR_INTERNAL __attribute__((no_sanitize("thread")))

namespace stepsize::emulator {

// A fault that the emulator found.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The order in which the threads of a block run. A device guarantees none, so a kernel must be correct in all of them.
// The greedy orders let one warp run as far as it can before another one runs; they find most missing barriers.
enum class Order { forward, reverse, random, greedy, greedyReverse };

struct Settings {
  int workers = 1;  // operating-system threads that run blocks
  Order order = Order::forward;
  uint64_t seed = 1;               // of the random order
  bool strictMasks = false;        // whether a mask that names a returned lane is an error; CUDA allows it
  size_t stackBytes = 64 << 10;    // stack of one CUDA thread
  size_t sharedLimit = 48 << 10;   // static and dynamic shared memory that a kernel gets by default
  size_t sharedOptIn = 163 << 10;  // what it can request: the value of compute capability 8.0
};

// The settings of the process.
inline Settings& settings() {
  static Settings settings;
  return settings;
}

}  // namespace stepsize::emulator
