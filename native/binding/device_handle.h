// A device as JavaScript holds it: opens it, owns its allocator, and turns "done" into promises.
#pragma once

#include <napi.h>

#include <deque>
#include <memory>
#include <mutex>

#include "../allocator.h"
#include "../backend.h"

namespace stepsize {

// What outlives the JavaScript object: tensors hold it, so that their memory can be given back whatever is collected
// first.
struct OpenDevice {
  std::unique_ptr<Device> device;
  std::unique_ptr<Allocator> allocator;
  bool closed = false;

  ~OpenDevice() {
    // The allocator gives its blocks back through the device.
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
  Napi::Value reshape(const Napi::CallbackInfo& info);
  Napi::Value enqueue(const Napi::CallbackInfo& info);
  Napi::Value synchronize(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value trim(const Napi::CallbackInfo& info);
  Napi::Value describe(const Napi::CallbackInfo& info);
  Napi::Value implements(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // Throws unless the device is open.
  OpenDevice& open(Napi::Env env);
  // A promise that settles when all that was enqueued before is done, with `value`.
  Napi::Promise whenDone(Napi::Env env, Napi::Value value);
  void settle(Napi::Env env);
  void shutDown();
  static void shutDownHandle(void* handle);

  struct Waiter {
    Napi::Promise::Deferred promise;
    Napi::ObjectReference value;  // empty: undefined
  };
  struct Outcomes;

  std::shared_ptr<OpenDevice> open_;
  std::deque<Waiter> waiters_;
  bool waiting_ = false;  // while it is, neither the event loop ends nor is the device collected
  std::shared_ptr<Outcomes> outcomes_;
};

}  // namespace stepsize
