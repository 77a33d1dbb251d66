// The JavaScript object of a device: it opens the device, owns the allocator, and settles promises when work is done.
#pragma once

#include <napi.h>

#include <atomic>
#include <deque>
#include <memory>
#include <unordered_set>

#include "../allocator.h"
#include "../backend.h"

namespace stepsize {

// The memory that captured work holds: claims on blocks that existed before, and the arena for blocks that it made.
struct CapturedMemory {
  std::unique_ptr<Pool> arena;
  std::unordered_set<Block*> claimed, watched, written;

  void use(Allocator& allocator, Block* block) {
    // Memory of the arena is not claimed: no other work can get it, and inside the capture it may be reused after a
    // tensor is disposed.
    const bool isOwn = allocator.isIn(*arena, *block);
    if (isOwn && watched.insert(block).second) allocator.watch(block);
    if (!isOwn && claimed.insert(block).second) allocator.claim(block);
  }
  // Gives everything back.
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

// The state of a device that outlives its JavaScript object. Tensors share it, so that their memory can be given back
// in whatever order objects are collected.
struct OpenDevice {
  std::unique_ptr<Device> device;
  std::unique_ptr<Allocator> allocator;
  bool closed = false;
  std::unique_ptr<CapturedMemory> capturing;
  TensorHandle* tensors = nullptr;  // those with memory, newest first

  ~OpenDevice() {
    // The allocator gives its blocks back through the device, so it goes first.
    if (capturing) capturing->release(*allocator);
    allocator.reset();
    device.reset();
  }
};

// The class NativeDevice in JavaScript; lib/native/addon.ts declares its methods.
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
  Napi::Value close(const Napi::CallbackInfo& info);

  // Returns the device; throws if it was closed.
  OpenDevice& open(Napi::Env env);
  // Returns the device; throws if it was closed, or if work is being captured, because `what` cannot be captured.
  OpenDevice& openEager(Napi::Env env, const char* what);
  // Runs the garbage collector and gives back the memory of tensors that turn out to be dead; returns whether there
  // were any.
  bool reclaim();
  // A promise that settles when the device calls the callback that `begin` gets: with `number` or `value`, or with the
  // error.
  Napi::Promise whenDone(Napi::Env env, Napi::Value value, const std::function<void(Device::Done)>& begin,
                         std::shared_ptr<const double> number = nullptr);
  // A promise that settles when all work enqueued before is done.
  Napi::Promise whenAllIsDone(Napi::Env env, std::shared_ptr<const double> number = nullptr);
  void settle(Napi::Env env);
  void shutDown();
  static void shutDownHandle(void* handle);

  // Where the device's thread leaves an outcome for the JavaScript thread. It is made beforehand, so that the callback
  // needs no memory, and shared, so that it still exists if the callback comes late.
  struct Outcome {
    Reason reason;
    std::atomic<bool> isThere{false};
  };
  struct Waiter {
    Napi::Promise::Deferred promise;
    Napi::ObjectReference value;  // empty: resolve with undefined
    std::shared_ptr<const double> number;
    std::shared_ptr<Outcome> outcome;
  };

  std::shared_ptr<OpenDevice> open_;
  Lists distinct_;              // the last lists that were found not to overlap
  std::deque<Waiter> waiters_;  // in the order in which the device calls back
  // While this is true, the event loop does not end and this object is not collected.
  bool waiting_ = false;
  napi_threadsafe_function wake_ = nullptr;
};

// Waits while the device has a long queue, so that a program that never waits does not fill the memory. Throws if the
// JavaScript thread is being ended meanwhile.
void awaitRoom(Napi::Env env, Device& device);
// Throws if the JavaScript thread is being ended, as a terminated worker thread is.
void expectRunning(Napi::Env env);

}  // namespace stepsize
