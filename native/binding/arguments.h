// Reading arguments from JavaScript: every value is checked before anything touches memory.
#pragma once

#include <napi.h>

#include "../operations.h"

namespace stepsize {

double readNumber(const Napi::Value& value, const std::string& name);
// A whole number in [least, most].
int64_t readInteger(const Napi::Value& value, const std::string& name, int64_t least, int64_t most);
// An address of 64 bits, from a bigint: a stream or an event of another program.
uint64_t readHandle(const Napi::Value& value, const std::string& name);
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
// The data type that an array's elements are taken for; a Uint16Array holds the bits of bfloat16.
DataType typeOfArray(const Napi::Value& value, const std::string& name);
// An array of zeros. Throws CallError where JavaScript has no arrays of this length, OutOfMemory where there is no
// memory.
Napi::TypedArray makeTypedArray(Napi::Env env, DataType type, int64_t elements, void** data);

Napi::Array shapeToArray(Napi::Env env, const Shape& shape);

}  // namespace stepsize
