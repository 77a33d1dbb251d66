#include "graph_handle.h"

#include "arguments.h"
#include "environment.h"
#include "errors.h"

namespace stepsize {

namespace {

constexpr napi_type_tag kGraphTag = {0x2f60b8d94ce17a35, 0xb7e3915c08d24f6a};

struct GraphBirth {
  const std::shared_ptr<OpenDevice>& device;
  std::shared_ptr<Graph> graph;
  Capture capture;
};
thread_local GraphBirth* pendingGraph = nullptr;

}  // namespace

Napi::Function GraphHandle::define(Napi::Env env) {
  return DefineClass(
      env, "NativeGraph",
      {InstanceMethod<&GraphHandle::replay>("replay"), InstanceMethod<&GraphHandle::dispose>("dispose")});
}

Napi::Object GraphHandle::make(Napi::Env env, const std::shared_ptr<OpenDevice>& device, std::shared_ptr<Graph> graph,
                               Capture capture) {
  GraphBirth birth{device, std::move(graph), std::move(capture)};
  pendingGraph = &birth;
  try {
    return construct(Environment::of(env).graphClass);
  } catch (...) {
    if (pendingGraph != nullptr) birth.capture.release(*device->allocator);
    pendingGraph = nullptr;
    throw;
  }
}

GraphHandle::GraphHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GraphHandle>(info) {
  if (pendingGraph == nullptr)
    throw makeError(info.Env(), "invalid-argument", "a NativeGraph cannot be constructed; use device.endCapture");
  info.This().As<Napi::Object>().TypeTag(&kGraphTag);
  // Nothing fails from here on; release() gives back what is taken here.
  device_ = pendingGraph->device;
  graph_ = std::move(pendingGraph->graph);
  capture_ = std::move(pendingGraph->capture);
  pendingGraph = nullptr;
}

GraphHandle::~GraphHandle() { release(); }

void GraphHandle::release() {
  if (!graph_) return;
  // Replays that still wait share the graph, and stream order protects their memory.
  graph_.reset();
  if (device_->allocator) capture_.release(*device_->allocator);
  device_.reset();
}

Napi::Value GraphHandle::replay(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    const int64_t times = readInteger(info[0], "times", 0, int64_t{1} << 32);
    if (!graph_) throw makeError(env, "invalid-state", "replay: the captured work was disposed");
    if (device_->closed) throw makeError(env, "invalid-state", "the device was closed");
    if (device_->capturing) throw makeError(env, "invalid-state", "replay cannot be captured");
    if (times == 0) return;
    for (Block* block : capture_.written) block->version++;
    for (int64_t left = times; left > 0;) {
      awaitRoom(env, *device_->device);
      left -= device_->device->replay(graph_, left);
      if (left > 0) expectRunning(env);
    }
  });
  return env.Undefined();
}

Napi::Value GraphHandle::dispose(const Napi::CallbackInfo& info) {
  release();
  return info.Env().Undefined();
}

}  // namespace stepsize
