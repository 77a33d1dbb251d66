// The JavaScript object of captured work. It claims the memory of every tensor that its records use, and owns the arena
// in which they were made.
#pragma once

#include <napi.h>

#include "device_handle.h"

namespace stepsize {

// The class NativeCapture in JavaScript.
class CaptureHandle : public Napi::ObjectWrap<CaptureHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // Makes the object; the binding alone can. If it throws, `memory` has been given back.
  static Napi::Object make(Napi::Env env, const std::shared_ptr<OpenDevice>& device, std::shared_ptr<CapturedWork> work,
                           CapturedMemory memory);

  explicit CaptureHandle(const Napi::CallbackInfo& info);
  ~CaptureHandle() override;

 private:
  Napi::Value replay(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  void release();

  std::shared_ptr<OpenDevice> device_;
  std::shared_ptr<CapturedWork> work_;
  CapturedMemory memory_;
};

}  // namespace stepsize
