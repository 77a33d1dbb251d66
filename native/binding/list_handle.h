// The JavaScript object of a list of tensors. It holds weak references: it keeps no memory alive, and using a list with
// a disposed tensor throws.
#pragma once

#include <napi.h>

#include "device_handle.h"

namespace stepsize {

// The class NativeList in JavaScript.
class ListHandle : public Napi::ObjectWrap<ListHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // Makes an empty list; the binding alone can.
  static Napi::Object make(Napi::Env env, const std::shared_ptr<OpenDevice>& device);
  // The list behind a value. Throws if the value is not a list of this device; `name` is its name in the message.
  static ListHandle& from(const Napi::Value& value, const OpenDevice& device, const std::string& name);

  explicit ListHandle(const Napi::CallbackInfo& info);
  ~ListHandle() override;

  // The list for a record. Throws if a tensor was disposed or an array was detached or resized.
  const std::shared_ptr<const TensorList>& checked(Napi::Env env, const std::string& name) const;
  // The block of each tensor, null for caller-owned memory.
  const std::vector<Block*>& blocks() const { return blocks_; }

 private:
  Napi::Value set(const Napi::CallbackInfo& info);
  Napi::Value length(const Napi::CallbackInfo& info);
  Napi::Value note(const Napi::CallbackInfo& info);
  Napi::Value changed(const Napi::CallbackInfo& info);
  void noteVersions();
  void watch(std::vector<Block*> blocks);

  std::shared_ptr<OpenDevice> device_;
  std::shared_ptr<const TensorList> list_;
  std::vector<Block*> blocks_;
  std::vector<uint32_t> noted_;   // the version of each block when it was last set or noted
  Napi::ObjectReference arrays_;  // the elements, if JavaScript arrays are among them
};

// Two tensors in lists that share memory, by list and index.
struct Overlap {
  bool found = false;
  size_t list = 0, index = 0, otherList = 0, otherIndex = 0;
};
// Finds two tensors that share memory, at least one of them in the first `written` lists.
Overlap findOverlap(const Lists& lists, size_t written);

}  // namespace stepsize
