// CUDA's error codes, the last error of each thread, and the sticky failure.
#pragma once

#include <atomic>
#include <forward_list>
#include <mutex>
#include <string>

#include "failing_allocations.h"
#include "settings.h"

#define STEPSIZE_CUDA_ERRORS(X)                                                                             \
  X(cudaSuccess, 0, "no error")                                                                             \
  X(cudaErrorInvalidValue, 1, "invalid argument")                                                           \
  X(cudaErrorMemoryAllocation, 2, "out of memory")                                                          \
  X(cudaErrorCudartUnloading, 4, "driver shutting down")                                                    \
  X(cudaErrorInvalidConfiguration, 9, "invalid configuration argument")                                     \
  X(cudaErrorInsufficientDriver, 35, "CUDA driver version is insufficient for CUDA runtime version")        \
  X(cudaErrorNoDevice, 100, "no CUDA-capable device is detected")                                           \
  X(cudaErrorInvalidDevice, 101, "invalid device ordinal")                                                  \
  X(cudaErrorECCUncorrectable, 214, "uncorrectable ECC error encountered")                                  \
  X(cudaErrorNvlinkUncorrectable, 220, "uncorrectable NVLink error detected during the execution")          \
  X(cudaErrorContained, 226, "Invalid access of peer GPU memory over nvlink or a hardware error")           \
  X(cudaErrorInvalidResourceHandle, 400, "invalid resource handle")                                         \
  X(cudaErrorIllegalState, 401, "the operation cannot be performed in the present state")                   \
  X(cudaErrorNotReady, 600, "device not ready")                                                             \
  X(cudaErrorIllegalAddress, 700, "an illegal memory access was encountered")                               \
  X(cudaErrorLaunchTimeout, 702, "the launch timed out and was terminated")                                 \
  X(cudaErrorAssert, 710, "device-side assert triggered")                                                   \
  X(cudaErrorHardwareStackError, 714, "hardware stack error")                                               \
  X(cudaErrorIllegalInstruction, 715, "an illegal instruction was encountered")                             \
  X(cudaErrorMisalignedAddress, 716, "misaligned address")                                                  \
  X(cudaErrorInvalidAddressSpace, 717, "operation not supported on global/shared address space")            \
  X(cudaErrorInvalidPc, 718, "invalid program counter")                                                     \
  X(cudaErrorLaunchFailure, 719, "unspecified launch failure")                                              \
  X(cudaErrorTensorMemoryLeak, 721, "tensor memory not completely freed")                                   \
  X(cudaErrorNotSupported, 801, "operation not supported")                                                  \
  X(cudaErrorStreamCaptureUnsupported, 900, "operation not permitted when stream is capturing")             \
  X(cudaErrorStreamCaptureInvalidated, 901, "operation failed due to a previous error during capture")      \
  X(cudaErrorStreamCaptureIsolation, 905, "dependency created on uncaptured work in another stream")        \
  X(cudaErrorCapturedEvent, 907, "operation not permitted on an event last recorded in a capturing stream") \
  X(cudaErrorStreamCaptureWrongThread, 908,                                                                 \
    "attempt to terminate a thread-local capture sequence from another thread")                             \
  X(cudaErrorExternalDevice, 911, "unrecoverable error in an external device")                              \
  X(cudaErrorUnknown, 999, "unknown error")

enum cudaError {
#define STEPSIZE_ENUMERATOR(name, value, text) name = (value),
  STEPSIZE_CUDA_ERRORS(STEPSIZE_ENUMERATOR)
#undef STEPSIZE_ENUMERATOR
};
using cudaError_t = cudaError;

namespace stepsize::emulator {

// The message of the first kernel that failed. From then on, streams do no work for the rest of the process, and every
// call that can report the failure returns cudaErrorLaunchFailure.
class Failure {
 public:
  void happen(const std::string& message) {
    const Spared spared;
    const std::lock_guard lock(mutex_);
    if (message_) return;
    messages_.push_front(message);
    message_ = messages_.front().c_str();
  }
  const char* message() const { return message_; }  // null if there is none; stays valid until the process ends
  void forget() { message_ = nullptr; }

 private:
  std::mutex mutex_;
  std::forward_list<std::string> messages_;
  std::atomic<const char*> message_{nullptr};
};

// Never destroyed, because streams may still run when the process ends.
inline Failure& failure() {
  static auto& failure = *new Failure;
  return failure;
}

inline constinit thread_local cudaError lastError = cudaSuccess;

// Records the result of a call of the runtime and returns it.
inline cudaError report(cudaError code) {
  if (failure().message()) code = cudaErrorLaunchFailure;
  if (code != cudaSuccess) lastError = code;
  return code;
}

// Clears the failure, which no device can do, so that a test of failures can be followed by other tests. The streams
// must be idle.
inline void forgetFailure() {
  failure().forget();
  lastError = cudaSuccess;
}

}  // namespace stepsize::emulator

inline cudaError_t cudaPeekAtLastError() {
  return stepsize::emulator::failure().message() ? cudaErrorLaunchFailure : stepsize::emulator::lastError;
}
inline cudaError_t cudaGetLastError() {
  const cudaError_t code = cudaPeekAtLastError();
  stepsize::emulator::lastError = cudaSuccess;
  return code;
}

inline const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define STEPSIZE_NAME(name, value, text) \
  case name: return #name;
    STEPSIZE_CUDA_ERRORS(STEPSIZE_NAME)
#undef STEPSIZE_NAME
  }
  return "unrecognized error code";
}

// For a launch failure, the text is the emulator's message, which says what the kernel did and where.
inline const char* cudaGetErrorString(cudaError_t error) {
  const char* message = error == cudaErrorLaunchFailure ? stepsize::emulator::failure().message() : nullptr;
  if (message) return message;
  switch (error) {
#define STEPSIZE_TEXT(name, value, text) \
  case name: return text;
    STEPSIZE_CUDA_ERRORS(STEPSIZE_TEXT)
#undef STEPSIZE_TEXT
  }
  return "unrecognized error code";
}
