// A tensor as JavaScript holds it: a shape and a claim on a block of a device's memory.
#pragma once

#include <napi.h>

#include "device_handle.h"

namespace stepsize {

class TensorHandle : public Napi::ObjectWrap<TensorHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // For the binding alone: JavaScript cannot construct one. Takes the caller's claim on the block, also where it
  // throws.
  static Napi::Object make(Napi::Env env, const std::shared_ptr<OpenDevice>& device, Block* block,
                           const TensorSpec& spec);
  // The tensor behind a value, checked: of this class, not disposed, of this device.
  static bool is(const Napi::Value& value);
  static TensorHandle& from(const Napi::Value& value, const OpenDevice& device, const std::string& name);

  // Gives back the memory of tensors whose objects were collected and whose finalizers have not run yet; whether there
  // were any.
  static bool releaseDead(OpenDevice& device);

  explicit TensorHandle(const Napi::CallbackInfo& info);
  ~TensorHandle() override;

  const TensorSpec& spec() const { return spec_; }
  Block* block() const { return block_; }
  TensorView view() const;

 private:
  Napi::Value shape(const Napi::CallbackInfo& info);
  Napi::Value dtype(const Napi::CallbackInfo& info);
  Napi::Value version(const Napi::CallbackInfo& info);
  Napi::Value shared(const Napi::CallbackInfo& info);
  Napi::Value devicePointer(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  void release();

  std::shared_ptr<OpenDevice> device_;
  Block* block_ = nullptr;
  TensorSpec spec_;
  TensorHandle *previous_ = nullptr, *next_ = nullptr;  // in OpenDevice::tensors
};

}  // namespace stepsize
