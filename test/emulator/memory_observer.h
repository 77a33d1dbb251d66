// An observer of device memory, set by code that keeps data beside the memory itself (test/ptx/).
#pragma once

#include <cstddef>

namespace stepsize::emulator {

// Is called for every change of device memory.
class MemoryObserver {
 public:
  virtual void acquired(const void* memory, size_t bytes) = 0;
  virtual void released(const void* memory) = 0;
  // By a copy from the host, or a memset.
  virtual void written(const void* to, size_t bytes) = 0;
  // By a copy inside the device.
  virtual void copied(const void* to, const void* from, size_t bytes) = 0;
  // By a copy to the host.
  virtual void read(const void* from, size_t bytes) = 0;

 protected:
  ~MemoryObserver() = default;
};

inline MemoryObserver* memoryObserver = nullptr;

}  // namespace stepsize::emulator
