// What the binding needs of a backend: memory, and work done in the order it was given. Each addon links one backend.
#pragma once

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
  double attributes[kMaxAttributes] = {};
};

struct DeviceOptions {
  int index = 0;
  int threads = 0;             // 0: as many as the process may use
  std::string instructionSet;  // empty: the best this CPU has
};

// Everything given to a device happens in the order it was given, on the device's own time; no call here waits.
class Device {
 public:
  virtual ~Device() = default;

  virtual bool implements(OperationId id) const = 0;
  // Null when there is no memory left. Only from the thread that owns the device, like release.
  virtual void* acquire(int64_t bytes) = 0;
  virtual void release(void* memory, int64_t bytes) = 0;

  virtual void enqueue(Record record) = 0;
  virtual void upload(void* to, std::vector<std::byte> from) = 0;
  // `to` must stay valid until a later notification.
  virtual void download(void* to, const void* from, int64_t bytes) = 0;
  // Calls back on a thread of the device when all that was given before is done, with the first error since the last
  // notification, or an empty string. The callback must not block and must not throw.
  virtual void notify(std::function<void(std::string error)> done) = 0;
  // Forgets what is not yet begun, and returns when nothing runs any more. No callback comes after it.
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
