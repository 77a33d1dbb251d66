// Who is told about memory of devices: set where something is kept beside the memory itself (test/ptx/).
#pragma once

#include <cstddef>

namespace stepsize::emulator {

class MemoryObserver {
 public:
  virtual void acquired(const void* memory, size_t bytes) = 0;
  virtual void released(const void* memory) = 0;
  // From the host, or by a memset.
  virtual void written(const void* to, size_t bytes) = 0;
  // Between two places on the device, and to the host.
  virtual void copied(const void* to, const void* from, size_t bytes) = 0;
  virtual void read(const void* from, size_t bytes) = 0;

 protected:
  ~MemoryObserver() = default;
};

inline MemoryObserver* memoryObserver = nullptr;

}  // namespace stepsize::emulator
