// What the binding needs of a backend: memory, and work done in the order it was given. Each addon links one backend.
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

// An operation with its tensors and attributes, checked: the unit that is queued and executed.
struct Record {
  OperationId id;
  int inputs;
  std::vector<TensorView> tensors;  // inputs, then outputs
  Lists lists;
  double attributes[kMaxAttributes] = {};
  Writes writes;
};

// Why memory does not hold what was asked for. Whoever reads the memory gets it as an error.
struct Failure {
  const char* code;  // of the StepsizeError
  std::string message;
};
// Null: all is well.
using Reason = std::shared_ptr<const Failure>;

// Work that was recorded instead of run, to be run as often as wanted. The device that made it knows its inside.
struct Graph {
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  virtual ~Graph() = default;
};

struct DeviceOptions {
  int index = 0;
  int threads = 0;             // 0: as many as the process may use
  std::string instructionSet;  // empty: the best this CPU has
  uint64_t stream = 0;         // somebody else's CUDA stream to work in; 0: the device's own
};

// The work cannot be done for want of memory.
struct OutOfMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The device itself has failed, whatever is asked of it.
struct DeviceFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Everything given to a device happens in the order it was given, on the device's own time; no call here waits but
// run() and awaitRoom(). A call that throws has given the device nothing.
//
// A record that fails spoils what it writes, and so does a record that reads what is spoiled: see spoiled_memory.h.
// Nobody hears of it but who reads spoiled memory.
class Device {
 public:
  virtual ~Device() = default;

  virtual bool implements(OperationId id) const = 0;
  // Null when there is no memory left. Only from the thread that owns the device, like release. Throws DeviceFailed.
  virtual void* acquire(int64_t bytes) = 0;
  virtual void release(void* memory, int64_t bytes) noexcept = 0;
  // Bytes that it could still be asked for, as far as the system says; below 0 where it does not.
  virtual int64_t freeMemory() const = 0;

  // Whom to ask to release what it keeps for later, when a record needs memory that the device has not.
  virtual void whenShort(std::function<void()> release) = 0;

  // A callback on a thread of the device, which must not block and must not throw.
  using Done = std::function<void(Reason reason)>;

  // For whoever gives work without ever waiting for it, so that what waits does not grow without bounds. Returns at
  // once while little waits, else when it is little again or the time is over; whether it is little.
  virtual bool awaitRoom(std::chrono::milliseconds atMost) = 0;

  virtual void enqueue(Record record) = 0;
  // Returns when the record is done, with the reason if it was not done: for records that use the host's memory.
  virtual Reason run(Record record) = 0;
  // What is behind `from` is read before it returns.
  virtual void upload(void* to, const std::byte* from, size_t bytes) = 0;
  // This memory belongs to a new tensor, which has nothing to do with what was there.
  virtual void renew(void* memory, int64_t bytes) = 0;
  // Copies to `to`, which must stay valid until `done` is called: with what spoiled the memory, or with the device's
  // own failure.
  virtual void read(void* to, const void* from, int64_t bytes, Done done) = 0;
  // Calls back when all that was given before is done, with the device's own failure.
  virtual void notify(Done done) = 0;

  // Between these two, records are kept instead of run. endCapture throws what went wrong in between.
  virtual void beginCapture() = 0;
  virtual std::shared_ptr<Graph> endCapture() = 0;
  // Returns how many replays it was given, at least one, which may be fewer than `times`: the caller asks again.
  virtual int64_t replay(std::shared_ptr<Graph> graph, int64_t times) = 0;

  // Begins and ends a stretch of the device's time; its length in milliseconds is there after a later notification.
  virtual void startTimer() = 0;
  virtual std::shared_ptr<const double> stopTimer() = 0;

  // Whether kernels can use the host's memory, such as the arrays of JavaScript.
  virtual bool usesHostMemory() const = 0;
  // Throws a CallError unless this many bytes from the address on are this device's memory, as far as can be told.
  virtual void expectDeviceMemory(uint64_t address, int64_t bytes) const = 0;
  // Of other programs on the same device: later work waits for their event; they may wait for the one returned, which
  // tells that all that was given before is done and stays the device's own.
  virtual void waitForEvent(uint64_t event) = 0;
  virtual uint64_t recordEvent() = 0;
  // The stream that it works in, for others to work in too.
  virtual uint64_t streamHandle() const = 0;

  // Forgets what is not yet begun, also the rest of a replay, and returns when nothing runs any more. No callback comes
  // after it.
  virtual void abandon() = 0;

  // Facts about the device for `info`, as name and value.
  virtual std::vector<std::pair<std::string, std::string>> describe() const = 0;
};

const char* backendName();
// Facts about what the backend found on this machine, whether or not a device can be opened.
std::vector<std::pair<std::string, std::string>> describeBackend();
// Throws CallError where the options ask for what this machine does not have.
std::unique_ptr<Device> openDevice(const DeviceOptions& options);

}  // namespace stepsize
