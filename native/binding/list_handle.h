// A list of tensors as JavaScript holds it. It keeps no memory alive: a tensor that was disposed since is found when
// the list is used.
#pragma once

#include <napi.h>

#include "device_handle.h"

namespace stepsize {

class ListHandle : public Napi::ObjectWrap<ListHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // For the binding alone, like TensorHandle::make.
  static Napi::Object make(Napi::Env env, const std::shared_ptr<OpenDevice>& device);
  static ListHandle& from(const Napi::Value& value, const OpenDevice& device, const std::string& name);

  explicit ListHandle(const Napi::CallbackInfo& info);
  ~ListHandle() override;

  // The list for a record, when everything in it can still be used. Throws otherwise.
  const std::shared_ptr<const TensorList>& checked(Napi::Env env, const std::string& name) const;
  // The block of each tensor, null for memory that is somebody else's.
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
  std::vector<uint32_t> noted_;   // the version of each when it was set or noted last
  Napi::ObjectReference arrays_;  // the elements, where arrays of JavaScript's are among them
};

// Two places of the lists that share memory.
struct Overlap {
  bool found = false;
  size_t list = 0, index = 0, otherList = 0, otherIndex = 0;
};
// One of the two is in the first `written` lists.
Overlap findOverlap(const Lists& lists, size_t written);

}  // namespace stepsize
