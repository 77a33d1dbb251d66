#include "capture_handle.h"

#include "arguments.h"
#include "environment.h"
#include "errors.h"

namespace stepsize {

namespace {

constexpr napi_type_tag kCaptureTag = {0x2f60b8d94ce17a35, 0xb7e3915c08d24f6a};

struct CaptureBirth {
  const std::shared_ptr<OpenDevice>& device;
  std::shared_ptr<CapturedWork> work;
  CapturedMemory memory;
};
thread_local CaptureBirth* pendingCapture = nullptr;

}  // namespace

Napi::Function CaptureHandle::define(Napi::Env env) {
  return DefineClass(
      env, "NativeCapture",
      {InstanceMethod<&CaptureHandle::replay>("replay"), InstanceMethod<&CaptureHandle::dispose>("dispose")});
}

Napi::Object CaptureHandle::make(Napi::Env env, const std::shared_ptr<OpenDevice>& device,
                                 std::shared_ptr<CapturedWork> work, CapturedMemory memory) {
  CaptureBirth birth{device, std::move(work), std::move(memory)};
  pendingCapture = &birth;
  try {
    return construct(Environment::of(env).captureClass);
  } catch (...) {
    if (pendingCapture != nullptr) birth.memory.release(*device->allocator);
    pendingCapture = nullptr;
    throw;
  }
}

CaptureHandle::CaptureHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CaptureHandle>(info) {
  if (pendingCapture == nullptr)
    throw makeError(info.Env(), "invalid-argument", "a NativeCapture cannot be constructed; use device.endCapture");
  info.This().As<Napi::Object>().TypeTag(&kCaptureTag);
  // Nothing fails from here on; release() gives back what is taken here.
  device_ = pendingCapture->device;
  work_ = std::move(pendingCapture->work);
  memory_ = std::move(pendingCapture->memory);
  pendingCapture = nullptr;
}

CaptureHandle::~CaptureHandle() { release(); }

void CaptureHandle::release() {
  if (!work_) return;
  // Replays that still wait share the work, and stream order protects their memory.
  work_.reset();
  if (device_->allocator) memory_.release(*device_->allocator);
  device_.reset();
}

Napi::Value CaptureHandle::replay(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    const int64_t times = readInteger(info[0], "times", 0, int64_t{1} << 32);
    if (!work_) throw makeError(env, "invalid-state", "replay: the captured work was disposed");
    if (device_->closed) throw makeError(env, "invalid-state", "the device was closed");
    if (device_->capturing) throw makeError(env, "invalid-state", "replay cannot be captured");
    if (times == 0) return;
    for (Block* block : memory_.written) block->version++;
    for (int64_t left = times; left > 0;) {
      awaitRoom(env, *device_->device);
      left -= device_->device->replay(work_, left);
      if (left > 0) expectRunning(env);
    }
  });
  return env.Undefined();
}

Napi::Value CaptureHandle::dispose(const Napi::CallbackInfo& info) {
  release();
  return info.Env().Undefined();
}

}  // namespace stepsize
