// Streams: each has a thread that does the work it is given in order, while the caller continues.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "launch.h"
#include "runtime_devices.h"

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2,
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone = 0,
  cudaStreamCaptureStatusActive = 1,
  cudaStreamCaptureStatusInvalidated = 2,
};
constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;

namespace stepsize::emulator {

using Work = std::function<void()>;

// Which captures forbid unsafe calls on this thread: those of all threads, those of this thread, or none.
inline constinit thread_local cudaStreamCaptureMode threadMode = cudaStreamCaptureModeGlobal;

// The work that a stream records instead of doing it, between cudaStreamBeginCapture and cudaStreamEndCapture.
struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  std::vector<Work> nodes;
  bool invalid;
};

// A stream of one device.
class Stream final : public CUstream_st {
 public:
  const int device;

  // Without a thread this is the null stream, which does all work at once.
  Stream(int device, bool hasThread) : device(device), hasThread_(hasThread) {
    if (hasThread) thread_ = std::thread([this] { serve(); });
  }
  ~Stream() override { close(); }

  // The work of a launch. A launch reports its errors only through cudaGetLastError.
  void submit(const Work& work) override {
    report(device == currentDevice ? add(work) : cudaErrorInvalidResourceHandle);
  }
  void refuse(const Error&) override { report(cudaErrorInvalidConfiguration); }

  // Adds work that a capture records, and that is dropped if the device failed before its turn.
  cudaError add(const Work& work) {
    {
      const std::lock_guard lock(mutex_);
      if (capture_ && capture_->invalid) return cudaErrorStreamCaptureInvalidated;
      if (capture_) return capture_->nodes.push_back(work), cudaSuccess;
    }
    push([work] {
      if (failure().message()) return;
      try {
        work();
      } catch (const std::exception& error) {
        failure().happen(error.what());
      }
    });
    return cudaSuccess;
  }

  // Adds work that is done even after a failure. Waits while the queue is full. Returns the position of the work, for
  // wait().
  uint64_t push(Work work) {
    if (!hasThread_) return work(), 0;
    std::unique_lock lock(mutex_);
    const auto hasPlace = [&] { return closing_ || queue_.size() < places_; };
    if (!hasPlace()) {
      if (fullQueueFails()) failure().happen("the queue of a stream was full");
      progress_.wait(lock, hasPlace);
    }
    if (closing_) return 0;
    queue_.push_back(std::move(work));
    wake_.notify_all();
    return ++added_;
  }
  void wait(uint64_t position) {
    std::unique_lock lock(mutex_);
    progress_.wait(lock, [&] { return done_ >= position; });
  }
  bool reached(uint64_t position) {
    const std::lock_guard lock(mutex_);
    return done_ >= position;
  }
  uint64_t end() {
    const std::lock_guard lock(mutex_);
    return added_;
  }

  // Ends the thread when it has done all of its work.
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    progress_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  cudaError beginCapture(cudaStreamCaptureMode mode) {
    if (!hasThread_) return cudaErrorStreamCaptureUnsupported;
    const std::lock_guard lock(mutex_);
    if (capture_) return cudaErrorIllegalState;
    capture_ = std::make_shared<Capture>(Capture{mode, std::this_thread::get_id(), {}, false});
    return cudaSuccess;
  }
  cudaError endCapture(std::vector<Work>& nodes) {
    const std::lock_guard lock(mutex_);
    if (!capture_) return cudaErrorIllegalState;
    if (capture_->mode != cudaStreamCaptureModeRelaxed && capture_->thread != std::this_thread::get_id())
      return cudaErrorStreamCaptureWrongThread;
    const std::shared_ptr<Capture> ended = std::exchange(capture_, nullptr);
    if (ended->invalid) return cudaErrorStreamCaptureInvalidated;
    nodes = std::move(ended->nodes);
    return cudaSuccess;
  }
  std::shared_ptr<const Capture> capture() {
    const std::lock_guard lock(mutex_);
    return capture_;
  }
  cudaStreamCaptureStatus captureStatus() {
    const std::lock_guard lock(mutex_);
    if (!capture_) return cudaStreamCaptureStatusNone;
    return capture_->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  }

  // For calls that are not allowed in a capture: makes the capture invalid and returns the error.
  cudaError forbidCapture(cudaError code = cudaErrorStreamCaptureUnsupported) {
    const std::lock_guard lock(mutex_);
    if (!capture_) return cudaSuccess;
    return std::exchange(capture_->invalid, true) ? cudaErrorStreamCaptureInvalidated : code;
  }
  // For calls that CUDA considers unsafe during a capture in any stream.
  cudaError forbidUnsafe() {
    const std::lock_guard lock(mutex_);
    if (!capture_ || capture_->mode == cudaStreamCaptureModeRelaxed || threadMode == cudaStreamCaptureModeRelaxed)
      return cudaSuccess;
    const bool isOfEveryThread =
        capture_->mode == cudaStreamCaptureModeGlobal && threadMode == cudaStreamCaptureModeGlobal;
    if (!isOfEveryThread && capture_->thread != std::this_thread::get_id()) return cudaSuccess;
    capture_->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }

 private:
  void serve() {
    const Spared spared;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      Work work = std::move(queue_.front());
      queue_.pop_front();
      progress_.notify_all();  // there is a place in the queue
      lock.unlock();
      work();
      work = nullptr;  // what the work held is released before the work counts as done
      lock.lock();
      done_++;
      progress_.notify_all();
    }
  }

  const bool hasThread_;
  const size_t places_ = queuePlaces();
  std::mutex mutex_;
  std::condition_variable wake_, progress_;
  std::deque<Work> queue_;
  uint64_t added_ = 0, done_ = 0;
  bool closing_ = false;
  std::shared_ptr<Capture> capture_;
  std::thread thread_;
};

// All streams that have not been destroyed.
class Streams {
 public:
  // Creates what the threads of streams use first, so that it is destroyed last.
  Streams() {
    settings();
    workers();
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;
  // Running work is completed; kernels and copies that wait are dropped, as after a failure.
  ~Streams() {
    failure().happen("the process has ended");
    for (const auto& [handle, stream] : live_) stream->close();
  }

  cudaStream_t add() {
    const std::lock_guard lock(mutex_);
    auto stream = std::make_shared<Stream>(currentDevice, true);
    return live_.emplace(stream.get(), stream).first->first;
  }
  // The stream of a handle; null if there is none.
  std::shared_ptr<Stream> find(cudaStream_t handle) {
    if (!handle) return std::make_shared<Stream>(currentDevice, false);
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(handle);
    return found == live_.end() ? nullptr : found->second;
  }
  std::shared_ptr<Stream> take(cudaStream_t handle) {
    const std::lock_guard lock(mutex_);
    auto node = live_.extract(handle);
    return node ? node.mapped() : nullptr;
  }
  std::vector<std::shared_ptr<Stream>> all() {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Stream>> streams;
    for (const auto& [handle, stream] : live_) streams.push_back(stream);
    return streams;
  }

 private:
  std::mutex mutex_;
  std::map<cudaStream_t, std::shared_ptr<Stream>> live_;
};

// The streams of the process.
inline Streams& streams() {
  static Streams streams;
  return streams;
}

// Calls `call` with the stream of a handle and reports the result.
template <class Call>
cudaError onStream(cudaStream_t handle, const Call& call) {
  const Spared spared;
  const std::shared_ptr<Stream> found = streams().find(handle);
  return report(found ? call(found) : cudaErrorInvalidResourceHandle);
}
using Found = const std::shared_ptr<Stream>&;

constexpr int kAllDevices = -1;

inline void waitForDevice(int device) {
  const Spared spared;
  for (const auto& stream : streams().all())
    if (device == kAllDevices || stream->device == device) stream->wait(stream->end());
}

// Call this first in a call that CUDA considers unsafe during a capture; returns the error if there is such a capture.
inline cudaError whyUnsafe() {
  const Spared spared;
  cudaError code = cudaSuccess;
  for (const auto& stream : streams().all())
    if (const cudaError forbidden = stream->forbidUnsafe()) code = forbidden;
  return code;
}

}  // namespace stepsize::emulator

namespace stepsize::emulator {

// CUDA does not document whether a stream or an event can be destroyed while another device is current. Here it is a
// failure, so that a test notices it.
inline void expectCurrent(int device, const char* what) {
  if (device == currentDevice) return;
  failure().happen(std::string("a ") + what + " of device " + std::to_string(device) + " was destroyed while device " +
                   std::to_string(currentDevice) + " was the current one");
}

}  // namespace stepsize::emulator

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  using namespace stepsize::emulator;
  if (const cudaError_t code = whyUnusable()) return report(code);
  if (flags > cudaStreamNonBlocking) return report(cudaErrorInvalidValue);
  if (allocationFails()) return report(cudaErrorMemoryAllocation);
  const Spared spared;
  haveContext(currentDevice);
  *stream = streams().add();
  return report(cudaSuccess);
}

// This waits for the work of the stream, although CUDA only promises that the work will be done: no thread outlives its
// stream.
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  using namespace stepsize::emulator;
  const Spared spared;
  const auto taken = streams().take(stream);
  if (!taken) return report(cudaErrorInvalidResourceHandle);
  expectCurrent(taken->device, "stream");
  taken->close();
  return report(cudaSuccess);
}

inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  using namespace stepsize::emulator;
  return onStream(stream, [](Found found) {
    const cudaError_t code = found->forbidCapture();
    if (code == cudaSuccess) found->wait(found->end());
    return code;
  });
}

inline cudaError_t cudaStreamQuery(cudaStream_t stream) {
  using namespace stepsize::emulator;
  return onStream(stream, [](Found found) {
    if (const cudaError_t code = found->forbidCapture()) return code;
    return found->reached(found->end()) ? cudaSuccess : cudaErrorNotReady;
  });
}

inline cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  using namespace stepsize::emulator;
  std::swap(*mode, threadMode);
  return report(cudaSuccess);
}

inline cudaError_t cudaDeviceSynchronize() {
  using namespace stepsize::emulator;
  cudaError_t code = whyNoDevice();
  if (code == cudaSuccess) code = whyUnsafe();
  if (code == cudaSuccess) waitForDevice(currentDevice);
  return report(code);
}
