// The addon's exports, the same for every backend.
#include <napi.h>

#include "../update/scalars.h"
#include "arguments.h"
#include "capture_handle.h"
#include "device_handle.h"
#include "environment.h"
#include "errors.h"
#include "list_handle.h"
#include "tensor_handle.h"

namespace stepsize {

namespace {

Napi::Value setErrorClass(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    if (!info[0].IsFunction()) refuse(info.Env(), "errorClass", "a class", info[0]);
  });
  Environment::of(info.Env()).errorClass = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

Napi::Value describeThisBackend(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto result = Napi::Object::New(info.Env());
    for (const auto& [name, value] : describeBackend()) result.Set(name, value);
    return result;
  });
}

Napi::Array operationNames(Napi::Env env) {
  auto names = Napi::Array::New(env, kOperations);
  for (int i = 0; i < kOperations; i++)
    names.Set(static_cast<uint32_t>(i), Napi::String::New(env, operation(static_cast<OperationId>(i)).name));
  return names;
}

template <size_t Count>
Napi::Array namesOf(Napi::Env env, const char* const (&names)[Count]) {
  auto array = Napi::Array::New(env, Count);
  for (uint32_t i = 0; i < Count; i++) array.Set(i, Napi::String::New(env, names[i]));
  return array;
}

// The layout of the float64 tensors that an optimizer step reads.
Napi::Object stepLayout(Napi::Env env) {
  auto layout = Napi::Object::New(env);
  layout.Set("hyper", namesOf(env, update::kHyperNames));
  layout.Set("scheduled", namesOf(env, update::kScheduledNames));
  layout.Set("state", namesOf(env, update::kStateNames));
  layout.Set("groupState", namesOf(env, update::kGroupStateNames));
  layout.Set("asManyAsAll", Napi::Number::New(env, update::kAsManyAsAll));
  return layout;
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto* environment = new Environment();
  env.SetInstanceData(environment);
  environment->tensorClass = Napi::Persistent(TensorHandle::define(env));
  environment->listClass = Napi::Persistent(ListHandle::define(env));
  environment->captureClass = Napi::Persistent(CaptureHandle::define(env));
  environment->arrayBufferClass = Napi::Persistent(env.Global().Get("ArrayBuffer").As<Napi::Function>());
  exports.Set("backend", backendName());
  exports.Set("operations", operationNames(env));
  exports.Set("stepLayout", stepLayout(env));
  exports.Set("setErrorClass", Napi::Function::New(env, setErrorClass, "setErrorClass"));
  exports.Set("describe", Napi::Function::New(env, describeThisBackend, "describe"));
  exports.Set("NativeDevice", DeviceHandle::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(stepsize, initialise)

}  // namespace stepsize
