// The CUDA runtime, or the emulator's, and owners of what it hands out.
#pragma once

#if defined(STEPSIZE_EMULATED)
#include "../../test/emulator/cuda_runtime_emulated.h"
#else
#include <cuda_runtime.h>
#endif

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace stepsize::cuda {

struct CudaError : std::runtime_error {
  CudaError(const std::string& message, cudaError_t errorCode) : std::runtime_error(message), code(errorCode) {}
  cudaError_t code;
};

// Whether a kernel or the GPU went wrong, after which the driver refuses all work of the process.
inline bool isFatal(cudaError_t code) {
  switch (code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorExternalDevice: return true;
    default: return false;
  }
}

inline std::string describe(cudaError_t code) {
  return std::string(cudaGetErrorString(code)) + " (" + cudaGetErrorName(code) + ")";
}

// Throws what the runtime says of a call that failed.
inline void check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  // Taken away: an error that does not stay must not be found by a later call.
  cudaGetLastError();
  throw CudaError(std::string(what) + ": " + describe(code), code);
}

// Whether somebody in this process uses the device already. The question is the driver's, which is not linked.
inline bool hasContext(int device) {
  using Question = int (*)(int device, unsigned* flags, int* isActive);
  static const Question question = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSuccess;
    const cudaError_t code =
        cudaGetDriverEntryPointByVersion("cuDevicePrimaryCtxGetState", &found, 7000, cudaEnableDefault, &result);
    if (code != cudaSuccess) cudaGetLastError();
    return code == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<Question>(found) : nullptr;
  }();
  unsigned flags = 0;
  int isActive = 1;
  return question == nullptr || question(device, &flags, &isActive) != 0 || isActive != 0;
}

// Makes a device the current one of this thread for as long as it lives. Costs a look-up where it is already.
class CurrentDevice {
 public:
  explicit CurrentDevice(int index) : index_(index) {
    cudaGetDevice(&before_);
    if (index != before_) outcome_ = cudaSetDevice(index);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    // A thread that never chose has device 0, and to choose that makes a context on it: hundreds of megabytes for
    // somebody who uses another GPU.
    if (index_ != before_ && hasContext(before_)) cudaSetDevice(before_);
  }

  // Throws where the device could not be made the current one.
  void expectChosen() const { check(outcome_, "the device"); }

 private:
  const int index_;
  int before_ = 0;
  cudaError_t outcome_ = cudaSuccess;
};

class Stream {
 public:
  // A stream of its own, or somebody else's.
  explicit Stream(uint64_t others = 0) : owned_(others == 0) {
    if (owned_)
      check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
    else
      stream_ = reinterpret_cast<cudaStream_t>(others);  // NOLINT(performance-no-int-to-ptr)
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (owned_) cudaStreamDestroy(stream_);
  }
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
  bool owned_;
};

class Event {
 public:
  explicit Event(unsigned flags) { check(cudaEventCreateWithFlags(&event_, flags), "an event"); }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace stepsize::cuda
