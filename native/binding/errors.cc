#include "errors.h"

#include "environment.h"

namespace stepsize {

Napi::Error makeError(Napi::Env env, const char* code, std::string_view message) {
  const auto text = Napi::String::New(env, message.data(), message.size());
  auto& errorClass = Environment::of(env).errorClass;
  if (!errorClass.IsEmpty()) return Napi::Error(env, errorClass.New({Napi::String::New(env, code), text}));
  napi_value error = nullptr;
  if (napi_create_error(env, nullptr, text, &error) != napi_ok) throw Napi::Error::New(env);
  return Napi::Error(env, error);
}

Napi::Error makeError(Napi::Env env, const Failure& failure) { return makeError(env, failure.code, failure.message); }

Napi::Object construct(const Napi::FunctionReference& addonClass) {
  try {
    return addonClass.New({});
  } catch (const Napi::Error& error) {
    // An exception from C++ that passes through JavaScript becomes an error with the same text.
    if (error.Message() == std::bad_alloc().what()) throw std::bad_alloc();
    throw;
  }
}

void refuse(Napi::Env env, const std::string& name, const std::string& expected, const Napi::Value& got) {
  std::string text;
  switch (got.Type()) {
    case napi_undefined: text = "undefined"; break;
    case napi_null: text = "null"; break;
    case napi_boolean:
    case napi_number: text = got.ToString().Utf8Value(); break;
    case napi_string: text = "\"" + got.As<Napi::String>().Utf8Value().substr(0, 60) + "\""; break;
    case napi_symbol: text = "a symbol"; break;
    case napi_function: text = "a function"; break;
    case napi_bigint: text = "a bigint"; break;
    default: text = got.IsTypedArray() ? "a typed array" : got.IsArray() ? "an array" : "an object"; break;
  }
  throw makeError(env, "invalid-argument", name + ": expected " + expected + ", got " + text);
}

}  // namespace stepsize
