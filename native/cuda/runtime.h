// Includes the CUDA runtime, or that of the tests' emulator, and defines owners for its objects.
#pragma once

#if defined(STEPSIZE_EMULATED)
#include <cuda_runtime_emulated.h>
#else
#include <cuda_runtime.h>
#endif

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace stepsize::cuda {

// An error of the CUDA runtime.
struct CudaError : std::runtime_error {
  CudaError(const std::string& message, cudaError_t errorCode) : std::runtime_error(message), code(errorCode) {}
  cudaError_t code;
};

// Whether an error means that a kernel or the GPU failed, after which the driver refuses all work of the process.
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

// The text and the name of an error.
inline std::string describe(cudaError_t code) {
  return std::string(cudaGetErrorString(code)) + " (" + cudaGetErrorName(code) + ")";
}

// Throws a CudaError if a call failed.
inline void check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  // Clear the error, so that a later call does not report it.
  cudaGetLastError();
  throw CudaError(std::string(what) + ": " + describe(code), code);
}

// Whether this process already has a context on a device. Only the driver knows that, and the driver is not linked.
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

// The size of the segments that small tensors share. cudaMalloc maps device memory in units of this size, and a call
// takes much longer than a launch. The emulator's tests give every tensor a segment, so that an access beyond a tensor
// is found.
inline int64_t sharedSegment() {
#if defined(STEPSIZE_EMULATED)
  return emulator::sharedSegment();
#else
  return 2 << 20;
#endif
}

// Makes a device the current one of this thread for as long as this object lives. If the device is current already,
// this costs one look-up.
class CurrentDevice {
 public:
  explicit CurrentDevice(int index) : index_(index) {
    cudaGetDevice(&before_);
    if (index != before_) outcome_ = cudaSetDevice(index);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    // A thread that never chose a device has device 0. Choosing device 0 makes a context on it, which would cost
    // hundreds of megabytes in a program that uses another GPU.
    if (index_ != before_ && hasContext(before_)) cudaSetDevice(before_);
  }

  // Throws if the device could not be made current.
  void expectChosen() const { check(outcome_, "the device"); }

 private:
  const int index_;
  int before_ = 0;
  cudaError_t outcome_ = cudaSuccess;
};

// The current device of this thread.
inline int currentDevice() {
  int device = 0;
  check(cudaGetDevice(&device), "the device");
  return device;
}

// Owns a CUDA stream of the current device, or refers to a caller-owned one. A stream or an event is destroyed while
// its device is the current one, because CUDA does not document what happens otherwise.
class Stream {
 public:
  // Creates a stream if `others` is 0; otherwise refers to that caller-owned stream.
  explicit Stream(uint64_t others = 0) : owned_(others == 0) {
    if (owned_)
      check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
    else
      stream_ = reinterpret_cast<cudaStream_t>(others);  // NOLINT(performance-no-int-to-ptr)
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (!owned_) return;
    const CurrentDevice current(device_);
    cudaStreamDestroy(stream_);
  }
  cudaStream_t get() const { return stream_; }

 private:
  const int device_ = currentDevice();
  cudaStream_t stream_ = nullptr;
  bool owned_;
};

// Owns a CUDA event of the current device.
class Event {
 public:
  explicit Event(unsigned flags) { check(cudaEventCreateWithFlags(&event_, flags), "an event"); }
  Event(Event&& other) noexcept : device_(other.device_), event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(event_, other.event_);
    return *this;
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() {
    if (event_ == nullptr) return;
    const CurrentDevice current(device_);
    cudaEventDestroy(event_);
  }
  cudaEvent_t get() const { return event_; }

 private:
  int device_ = currentDevice();
  cudaEvent_t event_ = nullptr;
};

}  // namespace stepsize::cuda
