// Allocations that fail on purpose, for programs that preload test/native/support/failing_allocations.c.
//
// A call of the runtime that creates something counts as one allocation of the program, and may be chosen to fail.
// Allocations inside the emulator do not count: a driver reports a lack of memory through its calls.
#pragma once

extern "C" {
// Functions of the preloaded library, null without it. The first counts an allocation and says whether it fails.
// The second adds to the number of reasons not to count the allocations of this thread.
__attribute__((weak, visibility("default"))) int stepsizeAllocationFails(void);
__attribute__((weak, visibility("default"))) void stepsizeSpareThread(int more);
}

namespace stepsize::emulator {

// Counts an allocation and returns whether it fails.
inline bool allocationFails() { return stepsizeAllocationFails && stepsizeAllocationFails(); }

// While an object of this class lives, allocations of its thread do not count.
class Spared {
 public:
  Spared() { spare(1); }
  ~Spared() { spare(-1); }
  Spared(const Spared&) = delete;
  Spared& operator=(const Spared&) = delete;

 private:
  static void spare(int more) {
    if (stepsizeSpareThread) stepsizeSpareThread(more);
  }
};

}  // namespace stepsize::emulator
