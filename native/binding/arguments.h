// Reads arguments from JavaScript. Every value is checked before anything touches memory; a value that is refused
// throws.
#pragma once

#include <napi.h>

#include "../operations.h"

namespace stepsize {

// A number; may be NaN or infinite. `name` is the argument's name in the error message, here and below.
double readNumber(const Napi::Value& value, const std::string& name);
// A whole number in [least, most].
int64_t readInteger(const Napi::Value& value, const std::string& name, int64_t least, int64_t most);
// A nonzero 64-bit handle from a bigint: a stream or an event of another program.
uint64_t readHandle(const Napi::Value& value, const std::string& name);
// A data type from its name.
DataType readDataType(const Napi::Value& value, const std::string& name);
// A shape from an array of sizes.
Shape readShape(const Napi::Value& value, const std::string& name);

// The attributes of an operation from an object, in the order of the table. Unknown names are refused.
void readAttributes(const Operation& operation, const Napi::Value& value, double* attributes);

// The memory of a typed array; JavaScript owns it.
struct ByteView {
  const std::byte* data;
  int64_t elements;
};
// A typed array that must have the element type of `type`.
ByteView readTypedArray(const Napi::Value& value, DataType type, const std::string& name);
// The data type that the elements of an array stand for; a Uint16Array holds the bits of bfloat16.
DataType typeOfArray(const Napi::Value& value, const std::string& name);
// A new typed array of zeros. Throws CallError if JavaScript has no arrays of this length, and OutOfMemory if there is
// no memory.
Napi::TypedArray makeTypedArray(Napi::Env env, DataType type, int64_t elements, void** data);

// A shape as a JavaScript array of sizes.
Napi::Array shapeToArray(Napi::Env env, const Shape& shape);

}  // namespace stepsize
