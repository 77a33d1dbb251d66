// The state of one JavaScript environment (the main thread or a worker thread); environments share nothing of it.
#pragma once

#include <napi.h>

namespace stepsize {

// The classes that the addon uses in one environment.
struct Environment {
  Napi::FunctionReference errorClass;  // StepsizeError, set by the TypeScript side when it loads the addon
  Napi::FunctionReference tensorClass;
  Napi::FunctionReference listClass;
  Napi::FunctionReference captureClass;
  Napi::FunctionReference arrayBufferClass;  // JavaScript's ArrayBuffer

  // The state of this environment.
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
};

}  // namespace stepsize
