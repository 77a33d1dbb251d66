// Reading arguments from JavaScript: every value is checked before anything touches memory.
#pragma once

#include <napi.h>

#include "../operations.h"

namespace stepsize {

double readNumber(const Napi::Value& value, const std::string& name);
// A whole number in [least, most].
int64_t readInteger(const Napi::Value& value, const std::string& name, int64_t least, int64_t most);
DataType readDataType(const Napi::Value& value, const std::string& name);
Shape readShape(const Napi::Value& value, const std::string& name);

// The attributes of an operation from an object, in the table's order. Unknown names are refused.
void readAttributes(const Operation& operation, const Napi::Value& value, double* attributes);

// The bytes of a typed array whose element type is that of `type`.
struct ByteView {
  const std::byte* data;
  int64_t elements;
};
ByteView readTypedArray(const Napi::Value& value, DataType type, const std::string& name);
Napi::TypedArray makeTypedArray(Napi::Env env, DataType type, int64_t elements, void** data);

Napi::Array shapeToArray(Napi::Env env, const Shape& shape);

}  // namespace stepsize
