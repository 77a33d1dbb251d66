// Device memory, pinned host memory, and copies between them and pageable memory.
#pragma once

#include <cstring>

#include "memory_observer.h"
#include "runtime_streams.h"

enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4,
};
enum cudaMemoryType {
  cudaMemoryTypeUnregistered = 0,
  cudaMemoryTypeHost = 1,
  cudaMemoryTypeDevice = 2,
  cudaMemoryTypeManaged = 3
};
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
  void* devicePointer;
  void* hostPointer;
};

namespace stepsize::emulator {

constexpr int kNoDevice = -2;  // cudaInvalidDeviceId

struct Allocation {
  cudaMemoryType type = cudaMemoryTypeUnregistered;  // default: memory that the runtime did not allocate
  int device = kNoDevice;
  size_t bytes = 0;
  std::shared_ptr<char> memory = nullptr;

  bool holds(const void* address, size_t count) const {
    const auto offset = static_cast<size_t>(static_cast<const char*>(address) - memory.get());
    return offset <= bytes && count <= bytes - offset;
  }
};

// All memory that the runtime has allocated. Never destroyed, because streams may hold some when the process ends.
class Memory {
 public:
  // Allocates memory; null if the device has no room. The allocation has exactly the requested size, so that
  // AddressSanitizer detects an access one byte beyond. It is initialized with NaN, so that reading a value that was
  // never written shows in the result.
  void* acquire(size_t bytes, cudaMemoryType type, int device) {
    const size_t counted = type == cudaMemoryTypeDevice ? bytes : 0;
    const std::lock_guard lock(mutex_);
    if (counted > deviceBytes() || used_[device] > deviceBytes() - counted) return nullptr;
    void* made = nullptr;
    if (posix_memalign(&made, 256, bytes) != 0) return nullptr;
    memset(made, 0xff, bytes);
    used_[device] += counted;
    const bool isObserved = memoryObserver && type == cudaMemoryTypeDevice;
    if (isObserved) memoryObserver->acquired(made, bytes);
    live_[static_cast<char*>(made)] = {type, device, bytes, {static_cast<char*>(made), [=, this](char* memory) {
                                                               if (isObserved) memoryObserver->released(memory);
                                                               free(memory);
                                                               const std::lock_guard lock(mutex_);
                                                               used_[device] -= counted;
                                                             }}};
    return made;
  }
  // Removes an allocation; the memory is freed with the last copy of the returned value.
  Allocation release(void* memory, cudaMemoryType type) {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(static_cast<char*>(memory));
    return found == live_.end() || found->second.type != type ? Allocation{} : live_.extract(found).mapped();
  }
  // The allocation that contains an address.
  Allocation at(const void* address) {
    const std::lock_guard lock(mutex_);
    auto above = live_.upper_bound(static_cast<char*>(const_cast<void*>(address)));
    return above == live_.begin() || !(--above)->second.holds(address, 1) ? Allocation{} : above->second;
  }
  // The bytes in use, including those that a stream has yet to free.
  size_t used(int device) {
    const std::lock_guard lock(mutex_);
    return used_[device];
  }

 private:
  std::mutex mutex_;
  std::map<char*, Allocation> live_;
  std::map<int, size_t> used_;
};

inline Memory& memory() {
  static auto& memory = *new Memory;
  return memory;
}

// As in CUDA, a size of 0 gives null and is not an error.
inline cudaError acquire(void** to, size_t bytes, cudaMemoryType type) {
  *to = nullptr;
  cudaError code = whyUnusable();
  if (code == cudaSuccess) code = whyUnsafe();
  if (code != cudaSuccess || bytes == 0) return report(code);
  if (allocationFails()) return report(cudaErrorMemoryAllocation);
  const Spared spared;
  haveContext(currentDevice);
  *to = memory().acquire(bytes, type, currentDevice);
  return report(*to ? cudaSuccess : cudaErrorMemoryAllocation);
}

inline void observeCopy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (!memoryObserver) return;
  if (kind == cudaMemcpyHostToDevice) memoryObserver->written(to, bytes);
  if (kind == cudaMemcpyDeviceToDevice) memoryObserver->copied(to, from, bytes);
  if (kind == cudaMemcpyDeviceToHost) memoryObserver->read(from, bytes);
}

// Waits for the work that may still use the memory, as CUDA does.
inline cudaError release(void* pointer, cudaMemoryType type) {
  if (!pointer) return report(cudaSuccess);
  if (const cudaError code = whyUnsafe()) return report(code);
  const Spared spared;
  const Allocation released = memory().release(pointer, type);
  if (!released.memory) return report(cudaErrorInvalidValue);
  waitForDevice(type == cudaMemoryTypeDevice ? released.device : kAllDevices);
  return report(cudaSuccess);
}

}  // namespace stepsize::emulator

inline cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return stepsize::emulator::acquire(pointer, bytes, cudaMemoryTypeDevice);
}
inline cudaError_t cudaFree(void* pointer) { return stepsize::emulator::release(pointer, cudaMemoryTypeDevice); }
inline cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return stepsize::emulator::acquire(pointer, bytes, cudaMemoryTypeHost);
}
inline cudaError_t cudaFreeHost(void* pointer) { return stepsize::emulator::release(pointer, cudaMemoryTypeHost); }

// In a capture, CUDA would make these calls nodes of the graph; here they are refused.
inline cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  using namespace stepsize::emulator;
  *pointer = nullptr;
  return onStream(stream, [&](Found found) {
    cudaError_t code = whyUnusable();
    if (code == cudaSuccess) code = found->forbidCapture();
    if (code != cudaSuccess || bytes == 0) return code;
    if (allocationFails()) return cudaErrorMemoryAllocation;
    *pointer = memory().acquire(bytes, cudaMemoryTypeDevice, found->device);
    if (*pointer) return cudaSuccess;
    found->wait(found->end());  // the stream has then freed what it was given to free
    *pointer = memory().acquire(bytes, cudaMemoryTypeDevice, found->device);
    return *pointer ? cudaSuccess : cudaErrorMemoryAllocation;
  });
}

inline cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found found) {
    if (const cudaError_t code = found->forbidCapture()) return code;
    const Allocation released = memory().release(pointer, cudaMemoryTypeDevice);
    if (!released.memory) return cudaErrorInvalidValue;
    found->push([released] {});  // the memory is freed with this work, in stream order
    return cudaSuccess;
  });
}

// These are templates in CUDA too, because a float** does not convert to void**.
template <class T>
cudaError_t cudaMalloc(T** pointer, size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(pointer), bytes);
}
template <class T>
cudaError_t cudaMallocHost(T** pointer, size_t bytes) {
  return cudaMallocHost(reinterpret_cast<void**>(pointer), bytes);
}
template <class T>
cudaError_t cudaMallocAsync(T** pointer, size_t bytes, cudaStream_t stream) {
  return cudaMallocAsync(reinterpret_cast<void**>(pointer), bytes, stream);
}

inline cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  using namespace stepsize::emulator;
  if (const cudaError_t code = whyNoDevice()) return report(code);
  const Spared spared;
  *total = deviceBytes();
  *free = *total - std::min(*total, memory().used(currentDevice));
  return report(cudaSuccess);
}

inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  using namespace stepsize::emulator;
  if (const cudaError_t code = whyNoDevice()) return report(code);
  const Spared spared;
  auto* address = const_cast<void*>(pointer);
  const Allocation found = memory().at(pointer);
  *attributes = {found.type, found.device, found.type == cudaMemoryTypeUnregistered ? nullptr : address,
                 found.type == cudaMemoryTypeDevice ? nullptr : address};
  return report(cudaSuccess);
}

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream = nullptr) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found found) {
    if (bytes == 0) return cudaSuccess;
    const Allocation target = memory().at(to), source = memory().at(from);
    if ((target.memory && !target.holds(to, bytes)) || (source.memory && !source.holds(from, bytes)))
      return cudaErrorInvalidValue;
    const int actualKind = 2 * (source.type == cudaMemoryTypeDevice) + (target.type == cudaMemoryTypeDevice);
    if (kind != cudaMemcpyDefault && kind != actualKind) return cudaErrorInvalidValue;
    if (!target.memory || !source.memory)
      if (const cudaError_t code = found->forbidCapture()) return code;
    // The caller may free pageable memory when the call returns, so it is read and written before that.
    std::shared_ptr<std::vector<char>> copy;
    if (!source.memory)
      copy =
          std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    const cudaError_t code = found->add([=] {
      memcpy(to, copy ? copy->data() : from, bytes);
      observeCopy(to, from, bytes, static_cast<cudaMemcpyKind>(actualKind));
    });
    if (!target.memory) found->wait(found->end());
    return code;
  });
}

inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream = nullptr) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found found) {
    if (bytes == 0) return cudaSuccess;
    const Allocation target = memory().at(to);
    if (!target.memory || !target.holds(to, bytes)) return cudaErrorInvalidValue;
    return found->add([=] {
      memset(to, value, bytes);
      if (memoryObserver && target.type == cudaMemoryTypeDevice) memoryObserver->written(to, bytes);
    });
  });
}

// The pool behind cudaMallocAsync keeps no memory, so that every use of freed memory is detected. Its attributes have
// no effect.
struct CUmemPoolHandle_st {};
using cudaMemPool_t = CUmemPoolHandle_st*;
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold = 4 };

inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  static CUmemPoolHandle_st only;
  *pool = &only;
  return stepsize::emulator::report(stepsize::emulator::whyNotDevice(device));
}
inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr, void* value) {
  return stepsize::emulator::report(pool && value ? cudaSuccess : cudaErrorInvalidValue);
}
