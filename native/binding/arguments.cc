#include "arguments.h"

#include <cmath>
#include <string>

#include "../allocator.h"
#include "environment.h"
#include "errors.h"

namespace stepsize {

namespace {

std::string plain(double value) {
  return std::isfinite(value) && value == std::floor(value) && std::fabs(value) < 1e15
             ? std::to_string(static_cast<int64_t>(value))
             : std::to_string(value);
}

// The range of a numeric attribute in words.
std::string rangeOf(const Attribute& attribute) {
  if (std::isinf(attribute.min)) return "a number (not NaN)";
  if (std::isinf(attribute.max)) return "a number of at least " + plain(attribute.min);
  return "a number from " + plain(attribute.min) + " to " + plain(attribute.max);
}

}  // namespace

double readNumber(const Napi::Value& value, const std::string& name) {
  if (!value.IsNumber()) refuse(value.Env(), name, "a number", value);
  return value.As<Napi::Number>().DoubleValue();
}

int64_t readInteger(const Napi::Value& value, const std::string& name, int64_t least, int64_t most) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || number != std::floor(number))
    refuse(value.Env(), name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most), value);
  return static_cast<int64_t>(number);
}

uint64_t readHandle(const Napi::Value& value, const std::string& name) {
  bool lossless = false;
  const uint64_t handle = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless || handle == 0) refuse(value.Env(), name, "a bigint of 64 bits that is not 0", value);
  return handle;
}

namespace {

// The index of a name among `count` choices.
int readChoice(const Napi::Value& value, const std::string& name, const char* const* choices, int count) {
  std::string names;
  if (value.IsString()) {
    const std::string text = value.As<Napi::String>();
    for (int i = 0; i < count; i++)
      if (text == choices[i]) return i;
  }
  for (int i = 0; i < count; i++) names += (i ? ", " : "one of ") + std::string(choices[i]);
  refuse(value.Env(), name, names, value);
}

}  // namespace

DataType readDataType(const Napi::Value& value, const std::string& name) {
  return static_cast<DataType>(readChoice(value, name, dataTypeNames(), kDataTypes));
}

Shape readShape(const Napi::Value& value, const std::string& name) {
  const std::string expected = "an array of at most " + std::to_string(kMaxRank) + " sizes";
  if (!value.IsArray()) refuse(value.Env(), name, expected, value);
  const auto array = value.As<Napi::Array>();
  if (array.Length() > static_cast<uint32_t>(kMaxRank)) refuse(value.Env(), name, expected, value);
  Shape shape;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const int64_t size = readInteger(array[i], name + "[" + std::to_string(i) + "]", 0, int64_t{1} << 40);
    shape.sizes[shape.rank++] = size;
  }
  if (!fits(shape)) throw CallError(name + ": " + describe(shape) + " has more elements than a tensor can hold");
  return shape;
}

void readAttributes(const Operation& operation, const Napi::Value& value, double* attributes) {
  const Napi::Env env = value.Env();
  const bool given = !value.IsUndefined();
  if (given && (!value.IsObject() || value.IsArray() || value.IsFunction()))
    refuse(env, std::string(operation.name) + ": attributes", "an object", value);
  uint32_t found = 0;
  for (size_t i = 0; i < operation.attributes.size(); i++) {
    const Attribute& attribute = operation.attributes[i];
    const Napi::Value field = given ? value.As<Napi::Object>().Get(attribute.name) : env.Undefined();
    const std::string name = std::string(operation.name) + ": " + attribute.name;
    if (field.IsUndefined()) {
      if (attribute.required) refuse(env, name, "a value", field);
      attributes[i] = attribute.otherwise;
      continue;
    }
    found++;
    switch (attribute.kind) {
      case AttributeKind::integer:
        attributes[i] = static_cast<double>(
            readInteger(field, name, static_cast<int64_t>(attribute.min), static_cast<int64_t>(attribute.max)));
        break;
      case AttributeKind::number: {
        const double number = readNumber(field, name);
        if (!(number >= attribute.min && number <= attribute.max)) refuse(env, name, rangeOf(attribute), field);
        attributes[i] = number;
        break;
      }
      case AttributeKind::flag:
        if (!field.IsBoolean()) refuse(env, name, "true or false", field);
        attributes[i] = field.As<Napi::Boolean>() ? 1 : 0;
        break;
      case AttributeKind::choice:
        attributes[i] = readChoice(field, name, attribute.choices, static_cast<int>(attribute.max) + 1);
        break;
    }
  }
  if (!given) return;
  const Napi::Array names = value.As<Napi::Object>().GetPropertyNames();
  if (names.Length() == found) return;
  for (uint32_t n = 0; n < names.Length(); n++) {
    const std::string name = names.Get(n).ToString();
    bool known = false;
    for (const Attribute& attribute : operation.attributes) known = known || name == attribute.name;
    if (!known) throw CallError(std::string(operation.name) + ": there is no attribute \"" + name + "\"");
  }
}

namespace {

// Some versions of Node end the process if a longer array is made.
constexpr int64_t kMaxArrayElements = (int64_t{1} << 32) - 1;

napi_typedarray_type arrayTypeOf(DataType type) {
  constexpr napi_typedarray_type types[kDataTypes] = {napi_float32_array, napi_float64_array, napi_int32_array,
                                                      napi_uint8_array, napi_uint16_array};
  return types[static_cast<int>(type)];
}

const char* arrayNameOf(DataType type) {
  constexpr const char* names[kDataTypes] = {"a Float32Array", "a Float64Array", "an Int32Array", "a Uint8Array",
                                             "a Uint16Array of bfloat16 bits"};
  return names[static_cast<int>(type)];
}

}  // namespace

ByteView readTypedArray(const Napi::Value& value, DataType type, const std::string& name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != arrayTypeOf(type))
    refuse(value.Env(), name, arrayNameOf(type), value);
  // The raw call also reads views of a SharedArrayBuffer, for which node-addon-api has no wrapper class.
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  size_t offset = 0;
  napi_typedarray_type actual = napi_uint8_array;
  if (napi_get_typedarray_info(value.Env(), value, &actual, &length, &data, &buffer, &offset) != napi_ok ||
      (data == nullptr && length > 0))
    refuse(value.Env(), name, std::string(arrayNameOf(type)) + " that is not detached", value);
  return {static_cast<const std::byte*>(data), static_cast<int64_t>(length)};
}

DataType typeOfArray(const Napi::Value& value, const std::string& name) {
  if (value.IsTypedArray())
    for (int i = 0; i < kDataTypes; i++)
      if (value.As<Napi::TypedArray>().TypedArrayType() == arrayTypeOf(static_cast<DataType>(i)))
        return static_cast<DataType>(i);
  refuse(value.Env(), name, "a Float32Array, Float64Array, Int32Array, Uint8Array or Uint16Array", value);
}

Napi::TypedArray makeTypedArray(Napi::Env env, DataType type, int64_t elements, void** data) {
  if (elements > kMaxArrayElements)
    throw CallError("an array of JavaScript's holds at most " + std::to_string(kMaxArrayElements) +
                    " elements, and the tensor has " + std::to_string(elements) + ": divide it into several tensors");
  const int64_t bytes = elements * sizeOf(type);
  Napi::ArrayBuffer buffer;
  try {
    // Made by JavaScript's constructor, which throws if memory is short; V8's own function would end the process.
    const Napi::Value length = Napi::Number::New(env, static_cast<double>(bytes));
    buffer = Environment::of(env).arrayBufferClass.New({length}).As<Napi::ArrayBuffer>();
  } catch (const Napi::Error&) {
    throw OutOfMemory("the system has no memory left for an array of " + std::to_string(bytes) +
                      " bytes: dispose of what is not needed, or read smaller tensors");
  }
  *data = buffer.Data();
  const auto length = static_cast<size_t>(elements);
  switch (type) {
    case DataType::float32: return Napi::Float32Array::New(env, length, buffer, 0);
    case DataType::float64: return Napi::Float64Array::New(env, length, buffer, 0);
    case DataType::int32: return Napi::Int32Array::New(env, length, buffer, 0);
    case DataType::uint8: return Napi::Uint8Array::New(env, length, buffer, 0);
    case DataType::bfloat16: return Napi::Uint16Array::New(env, length, buffer, 0);
  }
  throw CallError("unknown data type");
}

Napi::Array shapeToArray(Napi::Env env, const Shape& shape) {
  auto array = Napi::Array::New(env, static_cast<size_t>(shape.rank));
  for (int axis = 0; axis < shape.rank; axis++)
    array.Set(static_cast<uint32_t>(axis), Napi::Number::New(env, static_cast<double>(shape[axis])));
  return array;
}

}  // namespace stepsize
