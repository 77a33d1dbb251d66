// The JavaScript object of a tensor: a shape and a handle to a block of a device's memory.
#pragma once

#include <napi.h>

#include "device_handle.h"

namespace stepsize {

// The class NativeTensor in JavaScript.
class TensorHandle : public Napi::ObjectWrap<TensorHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // Makes the object; JavaScript cannot construct one. The caller's handle to the block passes to the object, or is
  // released if make() throws.
  static Napi::Object make(Napi::Env env, const std::shared_ptr<OpenDevice>& device, Block* block,
                           const TensorSpec& spec);
  // Whether a value is an object of this class.
  static bool is(const Napi::Value& value);
  // The tensor behind a value. Throws if the value is not a tensor of this device or was disposed; `name` is its name
  // in the message.
  static TensorHandle& from(const Napi::Value& value, const OpenDevice& device, const std::string& name);

  // Gives back the memory of tensors whose objects were collected and whose finalizers have not run yet; returns
  // whether there were any.
  static bool releaseDead(OpenDevice& device);

  explicit TensorHandle(const Napi::CallbackInfo& info);
  ~TensorHandle() override;

  const TensorSpec& spec() const { return spec_; }
  Block* block() const { return block_; }
  // The tensor as a kernel sees it.
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
  TensorHandle *previous_ = nullptr, *next_ = nullptr;  // neighbours in OpenDevice::tensors
};

}  // namespace stepsize
