// A device as JavaScript holds it: opens it, owns its allocator, and turns "done" into promises.
#pragma once

#include <napi.h>

#include <atomic>
#include <deque>
#include <memory>
#include <unordered_set>

#include "../allocator.h"
#include "../backend.h"

namespace stepsize {

// What captured work holds: the blocks of others that its records use, and the arena for what they made.
struct Capture {
  std::unique_ptr<Pool> arena;
  std::unordered_set<Block*> claimed, watched, written;

  void use(Allocator& allocator, Block* block) {
    // The arena is nobody else's, so that what is disposed of inside serves the next records.
    const bool isOwn = allocator.isIn(*arena, *block);
    if (isOwn && watched.insert(block).second) allocator.watch(block);
    if (!isOwn && claimed.insert(block).second) allocator.claim(block);
  }
  void release(Allocator& allocator) {
    for (Block* block : claimed) allocator.unclaim(block);
    for (Block* block : watched) allocator.unwatch(block);
    if (arena) allocator.dissolve(*arena);
    claimed.clear();
    watched.clear();
    written.clear();
    arena.reset();
  }
};

class TensorHandle;

// What outlives the JavaScript object: tensors hold it, so that their memory can be given back whatever is collected
// first.
struct OpenDevice {
  std::unique_ptr<Device> device;
  std::unique_ptr<Allocator> allocator;
  bool closed = false;
  std::unique_ptr<Capture> capturing;
  TensorHandle* tensors = nullptr;  // those with memory of the device, the newest first

  ~OpenDevice() {
    // The allocator gives its blocks back through the device.
    if (capturing) capturing->release(*allocator);
    allocator.reset();
    device.reset();
  }
};

class DeviceHandle : public Napi::ObjectWrap<DeviceHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit DeviceHandle(const Napi::CallbackInfo& info);
  ~DeviceHandle() override;

 private:
  Napi::Value create(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value writePart(const Napi::CallbackInfo& info);
  Napi::Value readPart(const Napi::CallbackInfo& info);
  Napi::Value reshape(const Napi::CallbackInfo& info);
  Napi::Value enqueue(const Napi::CallbackInfo& info);
  Napi::Value list(const Napi::CallbackInfo& info);
  Napi::Value overlap(const Napi::CallbackInfo& info);
  Napi::Value synchronize(const Napi::CallbackInfo& info);
  Napi::Value beginCapture(const Napi::CallbackInfo& info);
  Napi::Value endCapture(const Napi::CallbackInfo& info);
  Napi::Value startTimer(const Napi::CallbackInfo& info);
  Napi::Value stopTimer(const Napi::CallbackInfo& info);
  Napi::Value waitForEvent(const Napi::CallbackInfo& info);
  Napi::Value recordEvent(const Napi::CallbackInfo& info);
  Napi::Value streamHandle(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value trim(const Napi::CallbackInfo& info);
  Napi::Value describe(const Napi::CallbackInfo& info);
  Napi::Value implements(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // Throws unless the device is open.
  OpenDevice& open(Napi::Env env);
  // Also throws while work is captured, for what cannot be.
  OpenDevice& openEager(Napi::Env env, const char* what);
  // Gives back the memory of tensors that the collector can find to be dead; whether there were any.
  bool reclaim();
  // A promise that settles as the device calls back what `begin` is given: with `value`, or with the error.
  Napi::Promise whenDone(Napi::Env env, Napi::Value value, const std::function<void(Device::Done)>& begin,
                         std::shared_ptr<const double> number = nullptr);
  // When all that was enqueued before is done.
  Napi::Promise whenAllIsDone(Napi::Env env, std::shared_ptr<const double> number = nullptr);
  void settle(Napi::Env env);
  void shutDown();
  static void shutDownHandle(void* handle);

  // Where the device's thread leaves an outcome for the JavaScript thread: made beforehand, so that the callback needs
  // no memory, and shared, so that a late one finds it.
  struct Outcome {
    Reason reason;
    std::atomic<bool> isThere{false};
  };
  struct Waiter {
    Napi::Promise::Deferred promise;
    Napi::ObjectReference value;  // empty: undefined
    std::shared_ptr<const double> number;
    std::shared_ptr<Outcome> outcome;
  };

  std::shared_ptr<OpenDevice> open_;
  Lists distinct_;              // the last lists that were seen not to overlap
  std::deque<Waiter> waiters_;  // in the order in which the device calls back
  bool waiting_ = false;        // while it is, neither the event loop ends nor is the device collected
  napi_threadsafe_function wake_ = nullptr;
};

// Waits while much is given to the device that it has not done, so that a program that never waits does not fill the
// memory. Throws if JavaScript is being ended meanwhile.
void awaitRoom(Napi::Env env, Device& device);
// Throws if JavaScript is being ended, as a worker thread is that was terminated.
void expectRunning(Napi::Env env);

}  // namespace stepsize
