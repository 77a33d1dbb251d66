// Tests of the emulated runtime: which calls wait, what a capture refuses, which errors are sticky.
#define STEPSIZE_TEST_MAIN
#include "../../native/cuda/runtime.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>

#include "../../native/cuda/platform.cuh"
#include "cuda_runtime_emulated.h"
#include "kernel_test.h"

namespace {

using namespace stepsize::emulator;
using stepsize::cuda::launch;

// Expects a call to return this code, and clears the last error.
void expectCode(cudaError_t expected, cudaError_t code, Place where = Place::current()) {
  expect(code == expected, std::string("expected ") + cudaGetErrorName(expected) + ", got " + cudaGetErrorName(code),
         where.file, where.line);
  const cudaError_t last = cudaGetLastError();
  if (code != cudaSuccess) expect(last == code, "the last error differs", where.file, where.line);
}
void expectSuccess(cudaError_t code, Place where = Place::current()) { expectCode(cudaSuccess, code, where); }

struct ScopedStream {
  cudaStream_t handle = nullptr;
  ScopedStream() { expectSuccess(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
  ScopedStream(const ScopedStream&) = delete;
  ScopedStream& operator=(const ScopedStream&) = delete;
  ~ScopedStream() { expectSuccess(cudaStreamDestroy(handle)); }
  operator cudaStream_t() const { return handle; }  // NOLINT(google-explicit-constructor): it stands for the handle
};

struct ScopedEvent {
  cudaEvent_t handle = nullptr;
  explicit ScopedEvent(unsigned flags = cudaEventDefault) { expectSuccess(cudaEventCreateWithFlags(&handle, flags)); }
  ScopedEvent(const ScopedEvent&) = delete;
  ScopedEvent& operator=(const ScopedEvent&) = delete;
  ~ScopedEvent() { expectSuccess(cudaEventDestroy(handle)); }
  operator cudaEvent_t() const { return handle; }  // NOLINT(google-explicit-constructor): it stands for the handle
};

// Integers in device memory or in pinned host memory.
template <cudaError_t (*acquire)(void**, size_t), cudaError_t (*release)(void*)>
struct Integers {
  int* data = nullptr;
  explicit Integers(size_t count) { expectSuccess(acquire(reinterpret_cast<void**>(&data), count * sizeof(int))); }
  Integers(const Integers&) = delete;
  Integers& operator=(const Integers&) = delete;
  ~Integers() { expectSuccess(release(data)); }
  operator int*() const { return data; }  // NOLINT(google-explicit-constructor): it stands for the pointer
};
using OnDevice = Integers<cudaMalloc, cudaFree>;
using Pinned = Integers<cudaMallocHost, cudaFreeHost>;

// Sets an environment variable until the end of the scope.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { unsetenv(name_); }

 private:
  const char* name_;
};

// A kernel that runs until the host opens the gate. No work behind it in its stream is done before.
__global__ void waitsAtGate(const int* gate) {
  while (!__atomic_load_n(gate, __ATOMIC_ACQUIRE)) std::this_thread::yield();
}
struct Gate {
  int isOpen = 0;
  explicit Gate(cudaStream_t stream) { launch(waitsAtGate, 1, 1, 0, stream, &isOpen); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() { __atomic_store_n(&isOpen, 1, __ATOMIC_RELEASE); }
};
// Opens a gate after a while, for calls that wait behind it.
struct Opener {
  std::atomic<bool> opened{false};
  std::thread thread;
  explicit Opener(Gate& gate)
      : thread([&] {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          opened = true;
          gate.open();
        }) {}
  Opener(const Opener&) = delete;
  Opener& operator=(const Opener&) = delete;
  ~Opener() { thread.join(); }
};

__global__ void multiplyAndAdd(int* x, int factor, int term) {
  if (threadIdx.x == 0) *x = *x * factor + term;
}
__global__ void traps(int* x) {
  *x = 1;
  __trap();
}

int valueOf(const int* onDevice) {
  int value = 0;
  expectSuccess(cudaMemcpyAsync(&value, onDevice, sizeof value, cudaMemcpyDeviceToHost, nullptr));
  return value;
}

STEPSIZE_TEST(theHostContinuesWhileAStreamWorks) {
  const ScopedStream stream;
  const ScopedEvent before, after;
  const OnDevice x(1);
  expectSuccess(cudaMemsetAsync(x, 0, 4, nullptr));
  STEPSIZE_EXPECT(cudaEventQuery(after) == cudaSuccess);  // it has no record to wait for
  expectSuccess(cudaEventRecord(before, stream));
  Gate gate(stream);
  launch(multiplyAndAdd, 1, 32, 0, stream, x.data, 1, 7);
  expectSuccess(cudaEventRecord(after, stream));
  expectSuccess(cudaEventSynchronize(before));
  expectSuccess(cudaEventQuery(before));
  expectCode(cudaErrorNotReady, cudaStreamQuery(stream));
  expectCode(cudaErrorNotReady, cudaEventQuery(after));
  float milliseconds = -1;
  expectCode(cudaErrorNotReady, cudaEventElapsedTime(&milliseconds, before, after));
  STEPSIZE_EXPECT(valueOf(x) == 0);
  {
    const Opener opener(gate);
    expectSuccess(cudaEventSynchronize(after));
    STEPSIZE_EXPECT(opener.opened);
  }
  STEPSIZE_EXPECT(valueOf(x) == 7);
  expectSuccess(cudaStreamQuery(stream));
  expectSuccess(cudaEventElapsedTime(&milliseconds, before, after));
  STEPSIZE_EXPECT(milliseconds >= 20);
  const ScopedEvent untimed(cudaEventDisableTiming);
  expectSuccess(cudaEventRecord(untimed, stream));
  expectSuccess(cudaStreamSynchronize(stream));
  expectCode(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&milliseconds, before, untimed));
}

STEPSIZE_TEST(synchronizingWaitsForAllThatWasGiven) {
  for (const bool wholeDevice : {false, true}) {
    const ScopedStream stream;
    const OnDevice x(1);
    Gate gate(stream);
    expectSuccess(cudaMemsetAsync(x, 0, 4, stream));
    for (int i = 0; i < 10; i++) launch(multiplyAndAdd, 1, 1, 0, stream, x.data, 2, i);
    const Opener opener(gate);
    expectSuccess(wholeDevice ? cudaDeviceSynchronize() : cudaStreamSynchronize(stream));
    STEPSIZE_EXPECT(opener.opened && valueOf(x) == 1013);  // the sum of 2^(9 - i) i
    expectSuccess(cudaStreamQuery(stream));
  }
}

STEPSIZE_TEST(aCallWaitsWhileTheQueueIsFull) {
  const Environment places("STEPSIZE_EMULATED_QUEUE", "8");
  const ScopedStream stream, other;
  const OnDevice x(1);
  expectSuccess(cudaMemsetAsync(x, 0, 4, nullptr));
  Gate gate(stream);
  for (int i = 0; i < 8; i++) launch(multiplyAndAdd, 1, 32, 0, stream, x.data, 1, 1);
  // The queue of another stream has places of its own.
  expectSuccess(cudaStreamSynchronize(other));
  {
    const Opener opener(gate);
    launch(multiplyAndAdd, 1, 32, 0, stream, x.data, 2, 0);
    STEPSIZE_EXPECT(opener.opened);
  }
  expectSuccess(cudaStreamSynchronize(stream));
  STEPSIZE_EXPECT(valueOf(x) == 16);
  const Environment fails("STEPSIZE_EMULATED_FULL_QUEUE", "fails");
  Gate second(stream);
  {
    const Opener opener(second);
    for (int i = 0; i < 20; i++) launch(multiplyAndAdd, 1, 32, 0, stream, x.data, 1, 1);
  }
  STEPSIZE_EXPECT(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure);
  STEPSIZE_EXPECT(std::string(cudaGetErrorString(cudaErrorLaunchFailure)) == "the queue of a stream was full");
  forgetFailure();
}

STEPSIZE_TEST(streamsWaitForEachOtherOnlyByEvents) {
  const ScopedStream first, second;
  const ScopedEvent event;
  const OnDevice x(2);
  Gate gate(first);
  expectSuccess(cudaMemsetAsync(x, 0, 4, first));
  expectSuccess(cudaEventRecord(event, first));
  expectSuccess(cudaMemsetAsync(x + 1, 0, 4, second));
  expectSuccess(cudaStreamSynchronize(second));
  STEPSIZE_EXPECT(valueOf(x) == -1 && valueOf(x + 1) == 0);
  expectSuccess(cudaStreamWaitEvent(second, event));
  // A wait is for the last record at the time of the call.
  expectSuccess(cudaEventRecord(event, nullptr));
  expectSuccess(cudaMemcpyAsync(x + 1, x, 4, cudaMemcpyDeviceToDevice, second));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  expectCode(cudaErrorNotReady, cudaStreamQuery(second));
  expectSuccess(cudaEventQuery(event));
  gate.open();
  expectSuccess(cudaStreamSynchronize(second));
  STEPSIZE_EXPECT(valueOf(x + 1) == 0);
}

STEPSIZE_TEST(pageableMemoryIsReadAtTheCallAndPinnedMemoryInItsTurn) {
  const ScopedStream stream;
  const OnDevice x(2);
  const Pinned pinned(1);
  int pageable = *pinned.data = 1;
  Gate gate(stream);
  expectSuccess(cudaMemcpyAsync(x, &pageable, 4, cudaMemcpyHostToDevice, stream));
  expectSuccess(cudaMemcpyAsync(x + 1, pinned, 4, cudaMemcpyDefault, stream));
  pageable = *pinned.data = 2;
  gate.open();
  expectSuccess(cudaStreamSynchronize(stream));
  STEPSIZE_EXPECT(valueOf(x) == 1 && valueOf(x + 1) == 2);
}

STEPSIZE_TEST(copiesToPageableMemoryWaitAndToPinnedMemoryDoNot) {
  const ScopedStream stream;
  const OnDevice x(1);
  const Pinned pinned(1);
  int pageable = *pinned.data = 5;
  Gate gate(stream);
  expectSuccess(cudaMemsetAsync(x, 0, 4, stream));
  expectSuccess(cudaMemcpyAsync(pinned, x, 4, cudaMemcpyDeviceToHost, stream));
  STEPSIZE_EXPECT(*pinned.data == 5);
  const Opener opener(gate);
  expectSuccess(cudaMemcpyAsync(&pageable, x, 4, cudaMemcpyDefault, stream));
  STEPSIZE_EXPECT(opener.opened && pageable == 0 && *pinned.data == 0);
}

STEPSIZE_TEST(copiesThatCannotBeRightAreRefused) {
  const OnDevice x(4);
  const Pinned pinned(4);
  int pageable[4] = {};
  expectCode(cudaErrorInvalidValue, cudaMemcpyAsync(x, x, 4, cudaMemcpyHostToDevice));
  expectCode(cudaErrorInvalidValue, cudaMemcpyAsync(pinned, x, 4, cudaMemcpyHostToDevice));
  expectCode(cudaErrorInvalidValue, cudaMemcpyAsync(x, pageable, 4, cudaMemcpyDeviceToDevice));
  expectCode(cudaErrorInvalidValue, cudaMemcpyAsync(x + 1, pageable, 16, cudaMemcpyHostToDevice));
  expectCode(cudaErrorInvalidValue, cudaMemcpyAsync(pageable, x + 1, 16, cudaMemcpyDefault));
  expectCode(cudaErrorInvalidValue, cudaMemsetAsync(x + 1, 0, 16));
  expectCode(cudaErrorInvalidValue, cudaMemsetAsync(pageable, 0, 16));
  expectSuccess(cudaMemcpyAsync(x + 1, pageable, 12, cudaMemcpyHostToDevice));
  expectSuccess(cudaMemcpyAsync(pinned, pageable, 16, cudaMemcpyHostToHost));
  STEPSIZE_EXPECT(valueOf(x) == -1 && valueOf(x + 3) == 0 && *pinned.data == 0);
}

STEPSIZE_TEST(aGraphDoesWhatWasCapturedEachTimeAndInOrder) {
  const ScopedStream captured, replayed;
  const ScopedEvent event;
  const OnDevice x(2);
  const Pinned in(1), out(1);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusInvalidated;
  expectSuccess(cudaStreamIsCapturing(captured, &status));
  STEPSIZE_EXPECT(status == cudaStreamCaptureStatusNone);
  expectSuccess(cudaMemsetAsync(x, 0, 8, captured));
  expectSuccess(cudaStreamBeginCapture(captured, cudaStreamCaptureModeThreadLocal));
  expectSuccess(cudaStreamIsCapturing(captured, &status));
  STEPSIZE_EXPECT(status == cudaStreamCaptureStatusActive);
  int terms[] = {3, 1};
  for (int& term : terms) {
    launch(multiplyAndAdd, 1, 32, 0, captured, x.data, 2, term);
    term = 100;  // the launch uses the value at the time of the call
  }
  expectSuccess(cudaEventRecord(event, captured));
  expectSuccess(cudaStreamWaitEvent(captured, event));
  expectSuccess(cudaMemcpyAsync(x + 1, in, 4, cudaMemcpyHostToDevice, captured));
  expectSuccess(cudaMemcpyAsync(out, x, 4, cudaMemcpyDeviceToHost, captured));
  expectSuccess(cudaMemsetAsync(in, 0, 4, captured));
  cudaGraph_t graph = nullptr;
  expectSuccess(cudaStreamEndCapture(captured, &graph));
  expectSuccess(cudaStreamSynchronize(captured));
  STEPSIZE_EXPECT(valueOf(x) == 0 && *in.data == -1 && *out.data == -1);

  cudaGraphExec_t exec = nullptr;
  expectSuccess(cudaGraphInstantiate(&exec, graph, 0));
  expectSuccess(cudaGraphDestroy(graph));
  *in.data = 9;
  Gate gate(replayed);
  for (int i = 0; i < 3; i++) expectSuccess(cudaGraphLaunch(exec, replayed));
  expectSuccess(cudaGraphExecDestroy(exec));  // launches in flight continue
  STEPSIZE_EXPECT(*out.data == -1);
  gate.open();
  expectSuccess(cudaStreamSynchronize(replayed));
  STEPSIZE_EXPECT(*out.data == 147);  // 0 → 7 → 35 → 147, by x → 2 (2 x + 3) + 1
  STEPSIZE_EXPECT(*in.data == 0 && valueOf(x + 1) == 0);
}

// Begins a capture and makes a call that it must refuse. Expects that there is no graph and that the stream can be used
// again.
template <class Call>
void expectRefusal(cudaError_t expected, const Call& call, cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal,
                   Place where = Place::current()) {
  const ScopedStream stream;
  expectSuccess(cudaStreamBeginCapture(stream, mode), where);
  expectCode(expected, call(stream), where);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  expectSuccess(cudaStreamIsCapturing(stream, &status), where);
  const bool refused = expected != cudaSuccess;
  expect(status == (refused ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive),
         "status of the capture", where.file, where.line);
  const ScopedEvent event;
  launch(waitsAtGate, 1, 1, 0, stream, nullptr);
  expectCode(refused ? cudaErrorStreamCaptureInvalidated : cudaSuccess, cudaPeekAtLastError(), where);
  expectCode(refused ? cudaErrorStreamCaptureInvalidated : cudaSuccess, cudaEventRecord(event, stream), where);
  cudaGraph_t graph = nullptr;
  expectCode(refused ? cudaErrorStreamCaptureInvalidated : cudaSuccess, cudaStreamEndCapture(stream, &graph), where);
  expect((graph == nullptr) == refused, "existence of a graph", where.file, where.line);
  if (graph) expectSuccess(cudaGraphDestroy(graph), where);
  expectSuccess(cudaStreamSynchronize(stream), where);
}

STEPSIZE_TEST(aCaptureRefusesWhatNoGraphCanDo) {
  const OnDevice x(2);
  int pageable = 0;
  void* pointer = nullptr;
  const ScopedStream other;
  const ScopedEvent recorded, captured;
  expectSuccess(cudaEventRecord(recorded, other));
  const cudaError_t refused = cudaErrorStreamCaptureUnsupported;
  expectRefusal(refused, [&](cudaStream_t s) { return cudaStreamSynchronize(s); });
  expectRefusal(refused, [&](cudaStream_t s) { return cudaStreamQuery(s); });
  expectRefusal(refused, [&](cudaStream_t s) { return cudaMallocAsync(&pointer, 4, s); });
  expectRefusal(refused, [&](cudaStream_t s) { return cudaFreeAsync(x, s); });
  expectRefusal(refused, [&](cudaStream_t s) { return cudaMemcpyAsync(x, &pageable, 4, cudaMemcpyDefault, s); });
  expectRefusal(refused, [&](cudaStream_t s) { return cudaMemcpyAsync(&pageable, x, 4, cudaMemcpyDefault, s); });
  expectRefusal(refused, [&](cudaStream_t s) {
    expectSuccess(cudaEventRecord(captured, s));
    return cudaEventQuery(captured);
  });
  expectCode(cudaErrorCapturedEvent, cudaEventQuery(captured));  // also after the capture
  expectCode(refused, cudaStreamWaitEvent(other, captured));
  expectRefusal(cudaErrorStreamCaptureIsolation, [&](cudaStream_t s) { return cudaStreamWaitEvent(s, recorded); });
  expectSuccess(cudaEventRecord(captured, other));
  expectSuccess(cudaEventSynchronize(captured));
}

STEPSIZE_TEST(theCaptureModeSelectsTheUnsafeCallsThatEndIt) {
  const ScopedEvent event;
  int* pointer = nullptr;
  const auto here = [&](cudaStream_t) { return cudaEventQuery(event); };
  const auto elsewhere = [&](cudaStream_t) {
    cudaError_t code = cudaSuccess;
    std::thread([&] { code = cudaEventQuery(event); }).join();
    lastError = code;  // expected in this thread
    return code;
  };
  const cudaError_t refused = cudaErrorStreamCaptureUnsupported;
  expectRefusal(refused, here, cudaStreamCaptureModeGlobal);
  expectRefusal(refused, here, cudaStreamCaptureModeThreadLocal);
  expectRefusal(cudaSuccess, here, cudaStreamCaptureModeRelaxed);
  expectRefusal(refused, elsewhere, cudaStreamCaptureModeGlobal);
  expectRefusal(cudaSuccess, elsewhere, cudaStreamCaptureModeThreadLocal);
  expectRefusal(cudaSuccess, elsewhere, cudaStreamCaptureModeRelaxed);
  // A thread can set a mode in which unsafe calls are allowed.
  const auto relaxedElsewhere = [&](cudaStream_t) {
    cudaError_t code = cudaSuccess;
    std::thread([&] {
      cudaStreamCaptureMode threads = cudaStreamCaptureModeRelaxed;
      expectSuccess(cudaThreadExchangeStreamCaptureMode(&threads));
      STEPSIZE_EXPECT(threads == cudaStreamCaptureModeGlobal);
      code = cudaEventQuery(event);
    }).join();
    return code;
  };
  expectRefusal(cudaSuccess, relaxedElsewhere, cudaStreamCaptureModeGlobal);
  const cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal;
  expectRefusal(
      refused, [&](cudaStream_t) { return cudaMalloc(&pointer, 4); }, mode);
  expectRefusal(
      refused, [&](cudaStream_t) { return cudaMallocHost(&pointer, 4); }, mode);
  expectRefusal(
      refused, [&](cudaStream_t) { return cudaFree(&pointer); }, mode);
  expectRefusal(
      refused, [&](cudaStream_t) { return cudaFreeHost(&pointer); }, mode);
  expectRefusal(
      refused, [&](cudaStream_t) { return cudaEventSynchronize(event); }, mode);
  expectRefusal(
      refused, [&](cudaStream_t) { return cudaDeviceSynchronize(); }, mode);

  const ScopedStream stream;
  cudaGraph_t graph = nullptr;
  expectCode(cudaErrorIllegalState, cudaStreamEndCapture(stream, &graph));
  expectCode(refused, cudaStreamBeginCapture(nullptr, mode));
  expectSuccess(cudaStreamBeginCapture(stream, mode));
  expectCode(cudaErrorIllegalState, cudaStreamBeginCapture(stream, mode));
  std::thread([&] { expectCode(cudaErrorStreamCaptureWrongThread, cudaStreamEndCapture(stream, &graph)); }).join();
  expectSuccess(cudaStreamEndCapture(stream, &graph));
  expectSuccess(cudaGraphDestroy(graph));
}

STEPSIZE_TEST(launchesThatADeviceRefusesAreTheLastErrorOnce) {
  const ScopedStream stream;
  const OnDevice x(1);
  launch(traps, 1, 2000, 0, stream, x.data);
  STEPSIZE_EXPECT(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
  STEPSIZE_EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
  STEPSIZE_EXPECT(cudaGetLastError() == cudaSuccess);
  expectError("invalid block (2000,1,1)", [&] { launch(traps, 1, 2000, 0, nullptr, x.data); });
  // A kernel must be launched in a stream of the current device.
  expectSuccess(cudaSetDevice(1));
  launch(traps, 1, 1, 0, stream, x.data);
  STEPSIZE_EXPECT(cudaGetLastError() == cudaErrorInvalidResourceHandle);
  {
    const ScopedEvent event;
    expectCode(cudaErrorInvalidResourceHandle, cudaEventRecord(event, stream));
  }
  expectSuccess(cudaSetDevice(0));
  expectSuccess(cudaStreamSynchronize(stream));
  STEPSIZE_EXPECT(valueOf(x) == -1);
}

// The calls that can report an earlier error.
void expectFailureEverywhere(cudaStream_t stream, cudaEvent_t event, int* x, int* pinned) {
  const cudaError_t failed = cudaErrorLaunchFailure;
  STEPSIZE_EXPECT(cudaGetLastError() == failed && cudaGetLastError() == failed && cudaPeekAtLastError() == failed);
  STEPSIZE_EXPECT(strstr(cudaGetErrorString(failed), "block (0,0,0) thread (0,0,0): __trap()") != nullptr);
  void* pointer = nullptr;
  size_t bytes = 0;
  cudaEvent_t madeEvent = nullptr;
  cudaStream_t madeStream = nullptr;
  expectCode(failed, cudaStreamSynchronize(stream));
  expectCode(failed, cudaStreamQuery(stream));
  expectCode(failed, cudaDeviceSynchronize());
  expectCode(failed, cudaEventRecord(event, stream));
  expectCode(failed, cudaEventQuery(event));
  expectCode(failed, cudaEventSynchronize(event));
  expectCode(failed, cudaMemcpyAsync(pinned, x, 4, cudaMemcpyDefault, stream));
  expectCode(failed, cudaMemsetAsync(pinned, 0, 4, stream));
  expectCode(failed, cudaMalloc(&pointer, 4));
  expectCode(failed, cudaMallocHost(&pointer, 4));
  expectCode(failed, cudaMallocAsync(&pointer, 4, stream));
  expectCode(failed, cudaMemGetInfo(&bytes, &bytes));
  expectCode(failed, cudaEventCreateWithFlags(&madeEvent, cudaEventDefault));
  expectCode(failed, cudaStreamCreateWithFlags(&madeStream, cudaStreamNonBlocking));
  expectCode(failed, cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  STEPSIZE_EXPECT(!pointer && !madeEvent && !madeStream);
}

STEPSIZE_TEST(whatAKernelDoesWrongStays) {
  const ScopedStream stream, other;
  const ScopedEvent event;
  const OnDevice x(1);
  const Pinned pinned(1);
  for (const bool byGraph : {false, true}) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    expectSuccess(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    launch(traps, 1, 1, 0, stream, x.data);
    launch(multiplyAndAdd, 1, 1, 0, stream, x.data, 1, 1);
    expectSuccess(cudaStreamEndCapture(stream, &graph));
    expectSuccess(cudaGraphInstantiate(&exec, graph));
    Gate gate(stream);
    if (byGraph)
      expectSuccess(cudaGraphLaunch(exec, stream));
    else
      launch(traps, 1, 1, 0, stream, x.data);
    gate.open();
    // Whether or not the failure has happened by now, this work is dropped, and so are the rest of a graph and the work
    // of other streams.
    launch(multiplyAndAdd, 1, 1, 0, stream, x.data, 1, 1);
    STEPSIZE_EXPECT(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure);
    expectFailureEverywhere(stream, event, x, pinned);
    launch(multiplyAndAdd, 1, 1, 0, other, x.data, 1, 1);
    STEPSIZE_EXPECT(cudaStreamSynchronize(other) == cudaErrorLaunchFailure);
    STEPSIZE_EXPECT(cudaGraphExecDestroy(exec) == cudaErrorLaunchFailure);
    STEPSIZE_EXPECT(cudaGraphDestroy(graph) == cudaErrorLaunchFailure);
    STEPSIZE_EXPECT(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
    forgetFailure();
    expectSuccess(cudaDeviceSynchronize());
    STEPSIZE_EXPECT(valueOf(x) == 1 && *pinned.data == -1);
    STEPSIZE_EXPECT(std::string(cudaGetErrorString(cudaErrorLaunchFailure)) == "unspecified launch failure");
  }
}

STEPSIZE_TEST(memoryIsLimitedPerDevice) {
  const Environment limit("STEPSIZE_EMULATED_MEMORY", "1000");
  const auto available = [] {
    size_t free = 0, total = 0;
    expectSuccess(cudaMemGetInfo(&free, &total));
    STEPSIZE_EXPECT(total == 1000);
    return free;
  };
  const ScopedStream stream;
  const OnDevice occupied(200);
  char *rest = nullptr, *more = nullptr;
  STEPSIZE_EXPECT(available() == 200);
  expectCode(cudaErrorMemoryAllocation, cudaMalloc(&rest, 201));
  expectCode(cudaErrorMemoryAllocation, cudaMallocAsync(&rest, ~size_t{0}, stream));
  STEPSIZE_EXPECT(rest == nullptr);
  expectSuccess(cudaMallocAsync(&rest, 200, stream));
  STEPSIZE_EXPECT(available() == 0);
  { const Pinned pinned(1000); }  // host memory does not count
  Gate gate(stream);
  expectSuccess(cudaFreeAsync(rest, stream));
  STEPSIZE_EXPECT(available() == 0);  // it is not freed yet
  {
    const Opener opener(gate);
    expectSuccess(cudaMallocAsync(&more, 100, stream));  // waits until the other memory is free
  }
  STEPSIZE_EXPECT(available() == 100);
  expectSuccess(cudaSetDevice(1));
  STEPSIZE_EXPECT(available() == 1000);
  expectSuccess(cudaSetDevice(0));
  expectSuccess(cudaFree(more));
  STEPSIZE_EXPECT(available() == 200);
}

STEPSIZE_TEST(onlyLiveAllocationsCanBeFreed) {
  const ScopedStream stream;
  const Pinned pinned(1);
  int* x = nullptr;
  expectSuccess(cudaMalloc(&x, 8));
  STEPSIZE_EXPECT(reinterpret_cast<uintptr_t>(x) % 256 == 0 && valueOf(x) == -1 && valueOf(x + 1) == -1);
  expectCode(cudaErrorInvalidValue, cudaFree(x + 1));
  expectCode(cudaErrorInvalidValue, cudaFree(pinned));
  expectCode(cudaErrorInvalidValue, cudaFreeHost(x));
  expectSuccess(cudaFreeAsync(x, stream));
  expectCode(cudaErrorInvalidValue, cudaFreeAsync(x, stream));
  expectCode(cudaErrorInvalidValue, cudaFree(x));
  expectSuccess(cudaFree(nullptr));
  expectSuccess(cudaMalloc(&x, 0));
  STEPSIZE_EXPECT(x == nullptr);
}

STEPSIZE_TEST(memoryMayBeFreedWhileItIsUsed) {
  const ScopedStream stream;
  int *x = nullptr, *y = nullptr, *pinned = nullptr;
  expectSuccess(cudaMalloc(&x, 4));
  expectSuccess(cudaMallocAsync(&y, 4, stream));
  expectSuccess(cudaMallocHost(&pinned, 4));
  Gate gate(stream);
  expectSuccess(cudaMemsetAsync(y, 0, 4, stream));
  expectSuccess(cudaMemcpyAsync(x, y, 4, cudaMemcpyDefault, stream));
  expectSuccess(cudaFreeAsync(y, stream));
  expectSuccess(cudaMemcpyAsync(pinned, x, 4, cudaMemcpyDefault, stream));
  const Opener opener(gate);
  expectSuccess(cudaFree(x));
  STEPSIZE_EXPECT(opener.opened && *pinned == 0);
  launch(multiplyAndAdd, 1, 1, 0, stream, pinned, 1, 1);
  expectSuccess(cudaFreeHost(pinned));
}

STEPSIZE_TEST(pointersSayWhatTheyPointTo) {
  expectSuccess(cudaSetDevice(1));
  int* x = nullptr;
  expectSuccess(cudaMalloc(&x, 8));
  expectSuccess(cudaSetDevice(0));
  const Pinned pinned(2);
  cudaPointerAttributes found{};
  for (const int k : {0, 1}) {
    expectSuccess(cudaPointerGetAttributes(&found, x + k));
    STEPSIZE_EXPECT(found.type == cudaMemoryTypeDevice && found.device == 1 && found.devicePointer == x + k);
    expectSuccess(cudaPointerGetAttributes(&found, pinned + k));
    STEPSIZE_EXPECT(found.type == cudaMemoryTypeHost && found.hostPointer == pinned + k);
  }
  for (const void* pointer : {static_cast<const void*>(&found), static_cast<const void*>(x + 2)}) {
    expectSuccess(cudaPointerGetAttributes(&found, pointer));
    STEPSIZE_EXPECT(found.type == cudaMemoryTypeUnregistered && found.devicePointer == nullptr);
  }
  expectSuccess(cudaFree(x));
  expectSuccess(cudaPointerGetAttributes(&found, x));
  STEPSIZE_EXPECT(found.type == cudaMemoryTypeUnregistered);
}

STEPSIZE_TEST(devicesDescribeThemselves) {
  int count = 0, device = -1, version = 0, value = 0, blocks = 0;
  expectSuccess(cudaGetDeviceCount(&count));
  expectSuccess(cudaGetDevice(&device));
  STEPSIZE_EXPECT(count == 2 && device == 0);
  expectSuccess(cudaDriverGetVersion(&version));
  STEPSIZE_EXPECT(version == 13000);
  expectSuccess(cudaRuntimeGetVersion(&version));
  STEPSIZE_EXPECT(version == 13000);
  cudaDeviceProp properties{};
  expectSuccess(cudaGetDeviceProperties(&properties, 1));
  STEPSIZE_EXPECT(properties.name == std::string("Emulated GPU 1") && properties.totalGlobalMem == size_t{4} << 30);
  expectSuccess(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
  STEPSIZE_EXPECT(value == properties.multiProcessorCount && value > 0);
  expectSuccess(cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, 0));
  STEPSIZE_EXPECT(value == 9);
  expectSuccess(cudaDeviceGetAttribute(&value, cudaDevAttrMemoryPoolsSupported, 0));
  STEPSIZE_EXPECT(value == 1);
  expectSuccess(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, multiplyAndAdd, 256, 0));
  STEPSIZE_EXPECT(blocks == properties.maxBlocksPerMultiProcessor);
  expectSuccess(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, multiplyAndAdd, 1024, 0));
  STEPSIZE_EXPECT(blocks == 2);
  cudaMemPool_t pool = nullptr;
  uint64_t threshold = ~uint64_t{0};
  expectSuccess(cudaDeviceGetDefaultMemPool(&pool, 0));
  expectSuccess(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  expectCode(cudaErrorInvalidDevice, cudaSetDevice(2));
  expectCode(cudaErrorInvalidDevice, cudaGetDeviceProperties(&properties, -1));
}

STEPSIZE_TEST(theEnvironmentSaysWhatMachineItIs) {
  int count = -1, version = -1;
  void* pointer = nullptr;
  cudaStream_t stream = nullptr;
  for (const char* driver : {"12040", "0"}) {
    const Environment old("STEPSIZE_EMULATED_DRIVER", driver);
    expectSuccess(cudaDriverGetVersion(&version));
    STEPSIZE_EXPECT(version == atoi(driver));
    expectCode(cudaErrorInsufficientDriver, cudaGetDeviceCount(&count));
    STEPSIZE_EXPECT(count == 0);
    expectCode(cudaErrorInsufficientDriver, cudaMalloc(&pointer, 4));
    expectCode(cudaErrorInsufficientDriver, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    expectCode(cudaErrorInsufficientDriver, cudaSetDevice(0));
  }
  {
    const Environment newer("STEPSIZE_EMULATED_DRIVER", "13020");
    expectSuccess(cudaGetDeviceCount(&count));
  }
  {
    const Environment many("STEPSIZE_EMULATED_DEVICES", "5");
    expectSuccess(cudaGetDeviceCount(&count));
    STEPSIZE_EXPECT(count == 5);
    const Environment some("CUDA_VISIBLE_DEVICES", "4,1,7,0");
    expectSuccess(cudaGetDeviceCount(&count));
    cudaDeviceProp properties{};
    expectSuccess(cudaGetDeviceProperties(&properties, 0));
    STEPSIZE_EXPECT(count == 2 && properties.name == std::string("Emulated GPU 4"));
  }
  for (const char* none : {"", "-1", "nothing"}) {
    const Environment hidden("CUDA_VISIBLE_DEVICES", none);
    expectCode(cudaErrorNoDevice, cudaGetDeviceCount(&count));
    STEPSIZE_EXPECT(count == 0);
  }
  const Environment without("STEPSIZE_EMULATED_DEVICES", "0");
  expectCode(cudaErrorNoDevice, cudaGetDeviceCount(&count));
}

STEPSIZE_TEST(errorsHaveTheNamesAndWordsOfCuda) {
  STEPSIZE_EXPECT(cudaGetErrorName(cudaErrorNotReady) == std::string("cudaErrorNotReady"));
  STEPSIZE_EXPECT(cudaGetErrorString(cudaErrorMemoryAllocation) == std::string("out of memory"));
  STEPSIZE_EXPECT(cudaGetErrorName(static_cast<cudaError_t>(12)) == std::string("unrecognized error code"));
  // The last error belongs to one thread.
  expectCode(cudaErrorInvalidDevice, cudaSetDevice(9));
  cudaSetDevice(9);
  std::thread([] { STEPSIZE_EXPECT(cudaPeekAtLastError() == cudaSuccess); }).join();
  STEPSIZE_EXPECT(cudaGetLastError() == cudaErrorInvalidDevice);
}

// Library code that is not part of CUDA: see runtime.h.
STEPSIZE_TEST(streamsAndEventsAreDestroyedUnderTheirDevice) {
  expectSuccess(cudaSetDevice(1));
  {
    auto stream = std::make_unique<stepsize::cuda::Stream>();
    auto event = std::make_unique<stepsize::cuda::Event>(cudaEventDisableTiming);
    stepsize::cuda::Event moved(cudaEventDisableTiming);
    expectSuccess(cudaSetDevice(0));
    stepsize::cuda::Event ofFirst(cudaEventDisableTiming);
    ofFirst = std::move(moved);
    stream.reset();
    event.reset();
  }
  int device = -1;
  expectSuccess(cudaGetDevice(&device));
  STEPSIZE_EXPECT(device == 0 && cudaPeekAtLastError() == cudaSuccess);
  cudaStream_t stream = nullptr;
  expectSuccess(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  expectSuccess(cudaSetDevice(1));
  STEPSIZE_EXPECT(cudaStreamDestroy(stream) == cudaErrorLaunchFailure);
  STEPSIZE_EXPECT(std::string(cudaGetErrorString(cudaErrorLaunchFailure)) ==
                  "a stream of device 0 was destroyed while device 1 was the current one");
  forgetFailure();
  cudaEvent_t event = nullptr;
  expectSuccess(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  expectSuccess(cudaSetDevice(0));
  STEPSIZE_EXPECT(cudaEventDestroy(event) == cudaErrorLaunchFailure);
  forgetFailure();
}

STEPSIZE_TEST(anUnusedDeviceGetsNoContext) {
  const auto currentAfterUseOf = [](int device) {
    int after = -1;
    std::thread([&] {
      { const stepsize::cuda::CurrentDevice chosen(device); }
      expectSuccess(cudaGetDevice(&after));
    }).join();
    return after;
  };
  const uint64_t known = contexts.exchange(0);
  STEPSIZE_EXPECT(currentAfterUseOf(1) == 1 && contexts == 2);
  contexts = 3;
  STEPSIZE_EXPECT(currentAfterUseOf(1) == 0);
  contexts = known;
}

// The smallest count over a while, because a joined thread stays listed until the operating system removes it.
ptrdiff_t threadsOfProcess() {
  ptrdiff_t fewest = 1000;
  for (int i = 0; i < 20; i++) {
    const std::filesystem::directory_iterator first("/proc/self/task"), last;
    fewest = std::min(fewest, std::distance(first, last));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return fewest;
}

STEPSIZE_TEST(streamsMayBeUsedByManyThreadsAndLeaveNone) {
  {
    const ScopedStream first;  // creates what is created once, such as the threads that run blocks
    const OnDevice open(1);
    expectSuccess(cudaMemsetAsync(open, 1, 4, nullptr));
    launch(waitsAtGate, 4, 1, 0, first, open.data);
  }
  const ptrdiff_t before = threadsOfProcess();
  const ScopedStream shared;
  const OnDevice sum(1);
  expectSuccess(cudaMemsetAsync(sum, 0, 4, shared));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++)
    threads.emplace_back([&] {
      for (int round = 0; round < 20; round++) {
        const ScopedStream stream;
        const ScopedEvent event;
        int* x = nullptr;
        expectSuccess(cudaMallocAsync(&x, 4, stream));
        expectSuccess(cudaMemsetAsync(x, 0, 4, stream));
        launch(multiplyAndAdd, 1, 4, 0, stream, x, 1, round);
        expectSuccess(cudaEventRecord(event, stream));
        expectSuccess(cudaStreamWaitEvent(shared, event));
        launch(multiplyAndAdd, 1, 4, 0, shared, sum.data, 1, 1);
        int value = -1;
        expectSuccess(cudaMemcpyAsync(&value, x, 4, cudaMemcpyDeviceToHost, stream));
        STEPSIZE_EXPECT(value == round);
        expectSuccess(cudaFreeAsync(x, stream));
        if (round % 4 == 0) expectSuccess(cudaDeviceSynchronize());
      }
    });
  for (std::thread& thread : threads) thread.join();
  expectSuccess(cudaDeviceSynchronize());
  STEPSIZE_EXPECT(valueOf(sum) == 80);
  STEPSIZE_EXPECT(threadsOfProcess() == before + 1);  // the thread of the shared stream
}

STEPSIZE_TEST(handlesOfNothingAreRefused) {
  cudaStream_t stream = nullptr;
  expectSuccess(cudaStreamCreateWithFlags(&stream, cudaStreamDefault));
  expectSuccess(cudaStreamDestroy(stream));
  expectCode(cudaErrorInvalidResourceHandle, cudaStreamSynchronize(stream));
  expectCode(cudaErrorInvalidResourceHandle, cudaStreamDestroy(stream));
  expectCode(cudaErrorInvalidResourceHandle, cudaEventQuery(nullptr));
  expectCode(cudaErrorInvalidValue, cudaGraphLaunch(nullptr, nullptr));
}

// The program ends while one stream works and others wait. It must end normally, and drop the work that has not begun.
STEPSIZE_FAULT(leavesStreamsBehind) {
  static int open = 0;  // outlives the streams
  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t event = nullptr;
  int* x = nullptr;
  expectSuccess(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  expectSuccess(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  expectSuccess(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  expectSuccess(cudaMalloc(&x, 4));
  launch(waitsAtGate, 1, 1, 0, first, &open);
  expectSuccess(cudaFreeAsync(x, first));
  launch(traps, 1, 1, 0, first, x);
  expectSuccess(cudaEventRecord(event, first));
  expectSuccess(cudaStreamWaitEvent(second, event));
  launch(traps, 1, 1, 0, second, x);
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    __atomic_store_n(&open, 1, __ATOMIC_RELEASE);
  }).detach();
}

STEPSIZE_FAULT(usesFreedDeviceMemory) {
  int* x = nullptr;
  expectSuccess(cudaMalloc(&x, 4));
  expectSuccess(cudaFree(x));
  const ScopedStream stream;
  launch(multiplyAndAdd, 1, 1, 0, stream, x, 1, 1);
}
STEPSIZE_FAULT(usesMemoryBeyondAnAllocation) {
  const ScopedStream stream;
  const OnDevice x(3);
  launch(multiplyAndAdd, 1, 1, 0, stream, x + 3, 1, 1);
}

}  // namespace
