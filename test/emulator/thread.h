// The state of one CUDA thread and of its warp, and which thread is running.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda_types.h"
#include "fiber.h"

namespace stepsize::emulator {

constexpr uint32_t kWarpSize = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

// A line of source code. The default argument `Place where = Place::current()` gives the line of the caller.
// std::source_location would do the same, but clang before version 16 does not have it.
struct Place {
  const char* file = "";
  int line = 0;
  static constexpr Place current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

// What a thread is doing.
enum class Status : uint8_t { fresh, running, ready, atBarrier, inCollective, done };

// Performs a warp collective for all its lanes. `arguments` has one pointer per lane, null for absent lanes.
using Combine = void (*)(void** arguments, uint32_t lanes);

struct Warp;

// An asynchronous copy of 16 bytes to shared memory; zeros if `from` is null.
struct AsyncCopy {
  void* to;
  const void* from;
  uint32_t group;
};

// A CUDA thread.
struct Thread {
  uint3 index;
  uint32_t linear, lane;
  Warp* warp;
  Fiber* fiber;
  Status status;
  // The collective or barrier that the thread waits in.
  uint32_t mask;
  Combine combine;
  void* argument;
  const char* call;
  Place where;
  // The number of barriers of the block, and of the whole warp, that the thread has passed. The race detector orders
  // accesses by these.
  uint32_t barriers, warpBarriers;
  std::vector<AsyncCopy> copies;
  uint32_t copyGroup;  // the group of copies that start from now on
};

// A warp.
struct Warp {
  Thread* lanes[kWarpSize];
  uint32_t alive, waiting, returned;  // bit masks; waiting: in a collective
};

// "file:line".
inline std::string describe(const Place& where) { return std::string(where.file) + ":" + std::to_string(where.line); }

inline constinit thread_local Thread* currentThread = nullptr;
inline constinit thread_local bool inKernel = false;  // whether code of the kernel is running

// Marks emulator code that a kernel calls, for as long as the object lives.
class OutsideKernel {
 public:
  STEPSIZE_EMULATOR_INTERNAL OutsideKernel() : was_(inKernel) { inKernel = false; }
  STEPSIZE_EMULATOR_INTERNAL ~OutsideKernel() { inKernel = was_; }
  OutsideKernel(const OutsideKernel&) = delete;
  OutsideKernel& operator=(const OutsideKernel&) = delete;

 private:
  bool was_;
};

}  // namespace stepsize::emulator
