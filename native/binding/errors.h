// Makes the errors that JavaScript sees.
#pragma once

#include <napi.h>

#include <string>
#include <string_view>
#include <system_error>

#include "../allocator.h"
#include "../operations.h"

namespace stepsize {

// A StepsizeError with a code, or a plain Error if the TypeScript side has not set the class yet. Allocates no memory
// of its own.
Napi::Error makeError(Napi::Env env, const char* code, std::string_view message);
// The same for a failure of the device.
Napi::Error makeError(Napi::Env env, const Failure& failure);

// Throws "name: expected …, got …", in the words of the TypeScript side.
[[noreturn]] void refuse(Napi::Env env, const std::string& name, const std::string& expected, const Napi::Value& got);

// A new object of one of the addon's classes, whose constructor takes no arguments from JavaScript.
Napi::Object construct(const Napi::FunctionReference& addonClass);

// Runs `body` and turns the core's exceptions into errors for JavaScript. Every entry point uses it.
template <class F>
auto guarded(Napi::Env env, const F& body) -> decltype(body()) {
  try {
    return body();
  } catch (const CallError& error) {
    throw makeError(env, "invalid-argument", error.what());
  } catch (const OutOfMemory& error) {
    throw makeError(env, "out-of-memory", error.what());
  } catch (const DeviceFailed& error) {
    throw makeError(env, "device-failed", error.what());
  } catch (const std::bad_alloc&) {
    throw makeError(env, "out-of-memory", "the system has no memory left for this call");
  } catch (const std::system_error&) {
    throw makeError(env, "out-of-memory", "the system starts no more threads: raise its limits (ulimit -v, ulimit -u)");
  }
}

}  // namespace stepsize
