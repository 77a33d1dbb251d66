// The emulated devices: their number, their properties, and the current device of a thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "failing_allocations.h"
#include "runtime_errors.h"
#include "shared_allowance.h"
#include "thread.h"

#define CUDART_VERSION 13000

namespace stepsize::emulator {

// There are few multiprocessors with few blocks each, so that grids sized by them are small, and the loops of kernels
// over more work than threads run more than once.
constexpr int kMultiprocessors = 2, kBlocksPerMultiprocessor = 2, kThreadsPerMultiprocessor = 2048;
constexpr int kCacheBytes = 4 << 20;

// The value of an environment variable. It is read at every call, so that a test can set it before it first uses the
// runtime.
inline int64_t numberFrom(const char* variable, int64_t otherwise) {
  const char* text = getenv(variable);
  return text && *text ? strtoll(text, nullptr, 10) : otherwise;
}
inline int driverVersion() { return static_cast<int>(numberFrom("STEPSIZE_EMULATED_DRIVER", CUDART_VERSION)); }
inline int capability() { return static_cast<int>(numberFrom("STEPSIZE_EMULATED_CAPABILITY", 90)); }
// The shared memory that a kernel can request.
inline auto sharedOptIn() {
  return static_cast<size_t>(numberFrom("STEPSIZE_EMULATED_SHARED", static_cast<int64_t>(settings().sharedOptIn)));
}
// The launches and other calls that a stream holds before the next one waits, as the driver's queue does. With
// STEPSIZE_EMULATED_FULL_QUEUE=fails, a call that would wait is a failure of the device, so that a test notices it.
inline auto queuePlaces() { return static_cast<size_t>(numberFrom("STEPSIZE_EMULATED_QUEUE", 1024)); }
inline bool fullQueueFails() {
  const char* text = getenv("STEPSIZE_EMULATED_FULL_QUEUE");
  return text && strcmp(text, "fails") == 0;
}
// For the allocator of tensors: see native/cuda/runtime.h.
inline int64_t sharedSegment() { return numberFrom("STEPSIZE_EMULATED_SEGMENT", 0); }
inline auto deviceBytes() { return static_cast<size_t>(numberFrom("STEPSIZE_EMULATED_MEMORY", int64_t{4} << 30)); }

// The machine's numbers of the devices that the process sees, in the order in which it sees them. As in CUDA, the list
// ends at the first entry that is not a device.
inline std::vector<int> visibleDevices() {
  const Spared spared;
  const auto devices = static_cast<long>(numberFrom("STEPSIZE_EMULATED_DEVICES", 2));
  const char* list = getenv("CUDA_VISIBLE_DEVICES");
  std::vector<int> visible;
  if (!list)
    for (int i = 0; i < devices; i++) visible.push_back(i);
  while (list) {
    char* end = nullptr;
    const long index = strtol(list, &end, 10);
    if (end == list || index < 0 || index >= devices) break;
    visible.push_back(static_cast<int>(index));
    list = *end == ',' ? end + 1 : nullptr;
  }
  return visible;
}

// Why the process has no device; cudaSuccess if it has one.
inline cudaError whyNoDevice() {
  if (driverVersion() / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
  return visibleDevices().empty() ? cudaErrorNoDevice : cudaSuccess;
}
// Why nothing can be created any more.
inline cudaError whyUnusable() { return failure().message() ? cudaErrorLaunchFailure : whyNoDevice(); }

inline constinit thread_local int currentDevice = 0;

// The devices that have a context, one bit each. A device has one once it was chosen, or used by a thread that never
// chose a device.
inline std::atomic<uint64_t> contexts{0};
inline void haveContext(int device) { contexts |= uint64_t{1} << device; }

// Why a number is not a device; cudaSuccess if it is one.
inline cudaError whyNotDevice(int device) {
  if (const cudaError code = whyNoDevice()) return code;
  return device < 0 || device >= static_cast<int>(visibleDevices().size()) ? cudaErrorInvalidDevice : cudaSuccess;
}

}  // namespace stepsize::emulator

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem, sharedMemPerBlock;
  int regsPerBlock, warpSize, maxThreadsPerBlock, major, minor, multiProcessorCount, integrated, concurrentKernels;
  int pciBusID, pciDeviceID, pciDomainID, asyncEngineCount, unifiedAddressing, memoryBusWidth, l2CacheSize;
  int maxThreadsPerMultiProcessor, maxBlocksPerMultiProcessor;
  size_t sharedMemPerMultiprocessor, sharedMemPerBlockOptin;
  int memoryPoolsSupported;
};

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMemoryPoolsSupported = 115,
};

// The version is 0 without a driver, as in CUDA.
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = stepsize::emulator::driverVersion();
  return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

inline cudaError_t cudaGetDeviceCount(int* count) {
  const cudaError_t code = stepsize::emulator::whyNoDevice();
  *count = code == cudaSuccess ? static_cast<int>(stepsize::emulator::visibleDevices().size()) : 0;
  return stepsize::emulator::report(code);
}

inline cudaError_t cudaSetDevice(int device) {
  const cudaError_t code = stepsize::emulator::whyNotDevice(device);
  if (code == cudaSuccess) stepsize::emulator::haveContext(stepsize::emulator::currentDevice = device);
  return stepsize::emulator::report(code);
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = stepsize::emulator::currentDevice;
  return stepsize::emulator::report(stepsize::emulator::whyNoDevice());
}

inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  using namespace stepsize::emulator;
  if (const cudaError_t code = whyNotDevice(device)) return report(code);
  const int number = visibleDevices()[device];
  *properties = {};
  snprintf(properties->name, sizeof properties->name, "Emulated GPU %d", number);
  properties->totalGlobalMem = deviceBytes();
  properties->sharedMemPerBlock = settings().sharedLimit;
  properties->sharedMemPerBlockOptin = sharedOptIn();
  properties->sharedMemPerMultiprocessor = sharedOptIn() + (1 << 10);
  properties->regsPerBlock = 64 << 10;
  properties->warpSize = kWarpSize;
  properties->maxThreadsPerBlock = 1024;
  properties->major = capability() / 10;
  properties->minor = capability() % 10;
  properties->multiProcessorCount = kMultiprocessors;
  properties->concurrentKernels = properties->unifiedAddressing = properties->memoryPoolsSupported = 1;
  properties->pciBusID = number + 1;
  properties->asyncEngineCount = 2;
  properties->memoryBusWidth = 5120;
  properties->l2CacheSize = kCacheBytes;
  properties->maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  properties->maxBlocksPerMultiProcessor = kBlocksPerMultiprocessor;
  return report(cudaSuccess);
}

enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess = 0, cudaDriverEntryPointSymbolNotFound = 1 };
constexpr unsigned long long cudaEnableDefault = 0;

inline cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                                    cudaDriverEntryPointQueryResult* result) {
  const auto stateOf = [](int device, unsigned* flags, int* isActive) -> int {
    *flags = 0;
    *isActive = static_cast<int>(stepsize::emulator::contexts >> device & 1);
    return 0;
  };
  const bool isKnown = strcmp(symbol, "cuDevicePrimaryCtxGetState") == 0;
  int (*const found)(int, unsigned*, int*) = stateOf;
  *function = isKnown ? reinterpret_cast<void*>(found) : nullptr;
  *result = isKnown ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return stepsize::emulator::report(cudaSuccess);
}

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9,
};
enum cudaSharedCarveout {
  cudaSharedmemCarveoutDefault = -1,
  cudaSharedmemCarveoutMaxL1 = 0,
  cudaSharedmemCarveoutMaxShared = 100,
};

// The emulator has no caches: a preferred division of a multiprocessor's memory has no effect.
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute attribute, int value) {
  using namespace stepsize::emulator;
  if (kernel != nullptr && attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
    return report(value < cudaSharedmemCarveoutDefault || value > cudaSharedmemCarveoutMaxShared ? cudaErrorInvalidValue
                                                                                                 : cudaSuccess);
  const bool known = kernel != nullptr && attribute == cudaFuncAttributeMaxDynamicSharedMemorySize;
  if (!known || value < 0 || static_cast<size_t>(value) > sharedOptIn()) return report(cudaErrorInvalidValue);
  const Spared spared;
  sharedAllowances().allow(reinterpret_cast<const void*>(kernel), static_cast<size_t>(value));
  return report(cudaSuccess);
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t code = cudaGetDeviceProperties(&properties, device)) return code;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; break;
    case cudaDevAttrComputeCapabilityMajor: *value = properties.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; break;
    case cudaDevAttrMemoryPoolsSupported: *value = properties.memoryPoolsSupported; break;
    default: return stepsize::emulator::report(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

// The emulator has no model of registers: the number of blocks is lower only if their threads fill a multiprocessor.
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel, int blockSize, size_t) {
  using namespace stepsize::emulator;
  if (blockSize <= 0) return report(cudaErrorInvalidValue);
  *blocks = blockSize > 1024 ? 0 : std::min(kBlocksPerMultiprocessor, kThreadsPerMultiprocessor / blockSize);
  return report(cudaSuccess);
}
