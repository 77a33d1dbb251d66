// The interface between the binding and a backend: device memory, and work that is done in the order in which it was
// given. Each addon links one backend.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "operations.h"

namespace stepsize {

// A checked operation with its tensors and attributes: the unit that is queued and executed.
struct Record {
  OperationId id;
  int inputs;
  std::vector<TensorView> tensors;  // inputs, then outputs
  Lists lists;
  double attributes[kMaxAttributes] = {};
  Writes writes;
};

// Why memory does not hold the result that was asked for. A read of that memory fails with this error.
struct Failure {
  const char* code;  // the code of the StepsizeError
  std::string message;
};
// A shared failure; null if there is none.
using Reason = std::shared_ptr<const Failure>;

// Captured work that can be replayed any number of times. Only the device that captured it knows its content.
struct CapturedWork {
  CapturedWork() = default;
  CapturedWork(const CapturedWork&) = delete;
  CapturedWork& operator=(const CapturedWork&) = delete;
  virtual ~CapturedWork() = default;
};

// How a device is opened.
struct DeviceOptions {
  int index = 0;
  int threads = 0;             // 0: as many as the process may use
  std::string instructionSet;  // empty: the best that this CPU supports
  uint64_t stream = 0;         // a caller-owned CUDA stream to work in; 0: a stream of the device's own
  bool tf32 = false;           // round float32 to TF32 for matrix products and convolutions
};

// There is not enough memory for the work.
struct OutOfMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The device itself has failed, so that every call fails.
struct DeviceFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A device runs the work that it is given in order, in one stream. Calls return before the work is done, with these
// exceptions: run() waits for its record, awaitRoom() for room in the queue, abandon() for the work that is running,
// and acquire() may wait for memory that was released earlier. Any call may wait if a queue or a staging buffer is
// full. A call that throws has enqueued nothing.
//
// A record that fails spoils the memory it writes, and so does a record that reads spoiled memory (spoiled_memory.h).
// The failure is reported only to a read of spoiled memory.
class Device {
 public:
  virtual ~Device() = default;

  // Returns memory of the device, or null if there is none left. Throws DeviceFailed. Like release(), it is called only
  // by the thread that owns the device.
  virtual void* acquire(int64_t bytes) = 0;
  // Gives memory back once all work enqueued so far is done.
  virtual void release(void* memory, int64_t bytes) noexcept = 0;
  // The size of the segments that small tensors share, because acquire() takes long; 0 if it does not, and every tensor
  // may have a segment.
  virtual int64_t sharedSegmentBytes() const { return 0; }
  // The bytes that the system says are still free; negative if it does not say.
  virtual int64_t freeMemory() const = 0;

  // Sets the function that is called if a record needs memory and the device has none; it releases cached memory.
  virtual void whenShort(std::function<void()> release) = 0;

  // A callback that runs on a thread of the device. It must not block and must not throw.
  using Done = std::function<void(Reason reason)>;

  // Bounds the queue for programs that enqueue without ever waiting. Returns true at once if the queue is short;
  // otherwise returns when the queue is short again or the time is over, and says whether it is short.
  virtual bool awaitRoom(std::chrono::milliseconds atMost) = 0;

  // Enqueues a record.
  virtual void enqueue(Record record) = 0;
  // Runs a record and returns when it is done, with the reason if it failed. Used for records that work on arrays of
  // the caller.
  virtual Reason run(Record record) = 0;
  // Enqueues a copy from the host. The source is read before the call returns.
  virtual void upload(void* to, const std::byte* from, size_t bytes) = 0;
  // Says that the memory now belongs to a new tensor, so that an earlier failure no longer spoils it.
  virtual void renew(void* memory, int64_t bytes) = 0;
  // Copies to `to`, which must stay valid until `done` is called. `done` gets the reason that spoiled the memory, or
  // the device's own failure.
  virtual void read(void* to, const void* from, int64_t bytes, Done done) = 0;
  // Calls `done` when all work given so far is done, with the device's own failure if there is one.
  virtual void notify(Done done) = 0;

  // Between these two calls, records are captured instead of run. endCapture() throws what went wrong in between.
  virtual void beginCapture() = 0;
  virtual std::shared_ptr<CapturedWork> endCapture() = 0;
  // Enqueues up to `times` replays and returns how many it enqueued, which is at least one. The caller asks again for
  // the rest.
  virtual int64_t replay(std::shared_ptr<CapturedWork> work, int64_t times) = 0;

  // Begin and end a measurement of the device's time. The result in milliseconds is set before a later notify() calls
  // back.
  virtual void startTimer() = 0;
  virtual std::shared_ptr<const double> stopTimer() = 0;

  // Whether kernels can use the host's memory, such as JavaScript arrays.
  virtual bool usesHostMemory() const = 0;
  // Throws a CallError unless these bytes are memory of this device, as far as the driver can tell.
  virtual void expectDeviceMemory(uint64_t address, int64_t bytes) const = 0;
  // Synchronise with other programs on the same device. waitForEvent() makes later work wait for their event.
  // recordEvent() returns an event, owned by the device, that is reached when all work given so far is done.
  virtual void waitForEvent(uint64_t event) = 0;
  virtual uint64_t recordEvent() = 0;
  // The device's stream, so that other programs can enqueue work in it.
  virtual uint64_t streamHandle() const = 0;

  // Drops the work that has not begun, including the rest of a replay, and returns when nothing runs any more. On CUDA,
  // whatever was launched counts as begun. No callback comes after this call.
  virtual void abandon() = 0;

  // Facts about the device for `stepsize info`, as pairs of name and value.
  virtual std::vector<std::pair<std::string, std::string>> describe() const = 0;
};

// The name of the backend that is linked into this addon.
const char* backendName();
// Facts about what the backend found on this machine, whether or not a device can be opened.
std::vector<std::pair<std::string, std::string>> describeBackend();
// Opens a device. Throws CallError if the options ask for something that this machine does not have.
std::unique_ptr<Device> openDevice(const DeviceOptions& options);

}  // namespace stepsize
