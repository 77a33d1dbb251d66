// Events: points in the work of a stream.
#pragma once

#include <chrono>

#include "runtime_streams.h"

constexpr unsigned cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2;

namespace stepsize::emulator {

// A point in the work of a stream, and the time when the stream reached it.
struct Moment {
  std::shared_ptr<Stream> stream;
  uint64_t position;
  std::chrono::steady_clock::time_point time;

  bool passed() const { return stream->reached(position); }
  void wait() const { stream->wait(position); }
};

}  // namespace stepsize::emulator

// An event. Recording the event again replaces its moment; code that waits for the previous moment still holds that
// one.
struct CUevent_st {
  int device;
  unsigned flags;
  std::mutex mutex = {};
  std::shared_ptr<stepsize::emulator::Moment> moment = nullptr;          // null until it is recorded
  std::shared_ptr<const stepsize::emulator::Capture> capture = nullptr;  // of its last record, if any

  std::shared_ptr<stepsize::emulator::Moment> latest() {
    const std::lock_guard lock(mutex);
    return moment;
  }
  std::shared_ptr<const stepsize::emulator::Capture> captured() {
    const std::lock_guard lock(mutex);
    return capture;
  }
};
using cudaEvent_t = CUevent_st*;

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  using namespace stepsize::emulator;
  if (const cudaError_t code = whyUnusable()) return report(code);
  if (flags > (cudaEventBlockingSync | cudaEventDisableTiming)) return report(cudaErrorInvalidValue);
  if (allocationFails()) return report(cudaErrorMemoryAllocation);
  const Spared spared;
  *event = new CUevent_st{currentDevice, flags};
  return report(cudaSuccess);
}

inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (event) stepsize::emulator::expectCurrent(event->device, "event");
  delete event;
  return stepsize::emulator::report(event ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

// In a capture, an event is not a node of the graph: it orders captured work, and the work of one stream is in order
// anyway.
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found found) {
    if (!event || found->device != event->device) return cudaErrorInvalidResourceHandle;
    if (found->captureStatus() == cudaStreamCaptureStatusInvalidated) return cudaErrorStreamCaptureInvalidated;
    const std::lock_guard lock(event->mutex);
    event->capture = found->capture();
    if (event->capture) return cudaSuccess;
    auto moment = std::make_shared<Moment>(Moment{found, 0, {}});
    // The pointer is weak: the work must not keep alive the stream that has it in its queue.
    moment->position = found->push([of = std::weak_ptr(moment)] {
      if (const auto moment = of.lock()) moment->time = std::chrono::steady_clock::now();
    });
    event->moment = std::move(moment);
    return cudaSuccess;
  });
}

// Only a stream that captures can wait for a captured event, and only for an event of the same capture. This emulator
// does not support captures that fork into several streams.
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found found) {
    if (!event) return cudaErrorInvalidResourceHandle;
    if (flags != 0) return cudaErrorInvalidValue;
    const auto moment = event->latest();
    if (const auto captured = event->captured()) {
      if (captured == found->capture()) return cudaSuccess;
      const cudaError_t code = found->forbidCapture();
      return code == cudaSuccess ? cudaErrorStreamCaptureUnsupported : code;
    }
    if (!moment) return cudaSuccess;
    const cudaError_t code = found->forbidCapture(cudaErrorStreamCaptureIsolation);
    if (code == cudaSuccess && moment->stream != found) found->push([moment] { moment->wait(); });
    return code;
  });
}

namespace stepsize::emulator {

// Why the host may not query an event now; cudaSuccess if it may.
inline cudaError whyHidden(cudaEvent_t event) {
  if (!event) return cudaErrorInvalidResourceHandle;
  if (const cudaError code = whyUnsafe()) return code;
  return event->captured() ? cudaErrorCapturedEvent : cudaSuccess;
}

}  // namespace stepsize::emulator

inline cudaError_t cudaEventQuery(cudaEvent_t event) {
  using namespace stepsize::emulator;
  if (const cudaError_t code = whyHidden(event)) return report(code);
  const auto moment = event->latest();
  return report(!moment || moment->passed() ? cudaSuccess : cudaErrorNotReady);
}

inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  using namespace stepsize::emulator;
  if (const cudaError_t code = whyHidden(event)) return report(code);
  if (const auto moment = event->latest()) moment->wait();
  return report(cudaSuccess);
}

inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
  using namespace stepsize::emulator;
  if (!start || !stop || (start->flags | stop->flags) & cudaEventDisableTiming)
    return report(cudaErrorInvalidResourceHandle);
  if (start->captured() || stop->captured()) return report(cudaErrorCapturedEvent);
  const auto from = start->latest(), to = stop->latest();
  if (!from || !to) return report(cudaErrorInvalidResourceHandle);
  if (!from->passed() || !to->passed()) return report(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return report(cudaSuccess);
}
