// Captured work as JavaScript holds it. It claims the memory of every tensor that its records use, and owns the arena
// that they were made in.
#pragma once

#include <napi.h>

#include "device_handle.h"

namespace stepsize {

class GraphHandle : public Napi::ObjectWrap<GraphHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object make(Napi::Env env, const std::shared_ptr<OpenDevice>& device, std::shared_ptr<Graph> graph,
                           Capture capture);

  explicit GraphHandle(const Napi::CallbackInfo& info);
  ~GraphHandle() override;

 private:
  Napi::Value replay(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  void release();

  std::shared_ptr<OpenDevice> device_;
  std::shared_ptr<Graph> graph_;
  Capture capture_;
};

}  // namespace stepsize
