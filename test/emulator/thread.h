// The state of one CUDA thread and of its warp, and which of them is running.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda_types.h"
#include "fiber.h"

namespace stepsize::emulator {

constexpr uint32_t kWarpSize = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

// A line of source. As a default argument, `Place where = Place::current()`, it is the caller's.
// std::source_location would do the same, but clang had none before version 16.
struct Place {
  const char* file = "";
  int line = 0;
  static constexpr Place current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

enum class Status : uint8_t { fresh, running, ready, atBarrier, inCollective, done };

// Does a warp collective for all its lanes at once: `arguments` holds one pointer per lane, null for absent ones.
using Combine = void (*)(void** arguments, uint32_t lanes);

struct Warp;

// 16 bytes on their way to shared memory; zeros where `from` is null.
struct AsyncCopy {
  void* to;
  const void* from;
  uint32_t group;
};

struct Thread {
  uint3 index;
  uint32_t linear, lane;
  Warp* warp;
  Fiber* fiber;
  Status status;
  // What it waits for.
  uint32_t mask;
  Combine combine;
  void* argument;
  const char* call;
  Place where;
  // How many barriers of the block and of the whole warp it has passed: what the race detector orders accesses by.
  uint32_t barriers, warpBarriers;
  std::vector<AsyncCopy> copies;
  uint32_t copyGroup;  // that copies belong to from now on
};

struct Warp {
  Thread* lanes[kWarpSize];
  uint32_t alive, waiting, returned;  // waiting: in a collective
};

inline std::string describe(const Place& where) { return std::string(where.file) + ":" + std::to_string(where.line); }

inline constinit thread_local Thread* currentThread = nullptr;
inline constinit thread_local bool inKernel = false;  // the kernel's own code is running

// Marks emulator code that a kernel calls.
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
