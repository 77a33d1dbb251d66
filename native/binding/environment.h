// What belongs to one JavaScript environment (the main thread, or a worker thread): nothing here is shared.
#pragma once

#include <napi.h>

namespace stepsize {

struct Environment {
  Napi::FunctionReference errorClass;  // StepsizeError, given by the TypeScript side when it loads the addon
  Napi::FunctionReference tensorClass;
  Napi::FunctionReference listClass;
  Napi::FunctionReference graphClass;
  Napi::FunctionReference arrayBufferClass;  // JavaScript's

  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
};

}  // namespace stepsize
