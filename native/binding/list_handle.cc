#include "list_handle.h"

#include <algorithm>
#include <utility>

#include "arguments.h"
#include "environment.h"
#include "errors.h"
#include "tensor_handle.h"

namespace stepsize {

namespace {

constexpr napi_type_tag kListTag = {0x8c12e57d30b94fa6, 0x94d07be1c3a85f29};

thread_local const std::shared_ptr<OpenDevice>* pendingDevice = nullptr;

std::string at(const std::string& name, size_t index) { return name + "[" + std::to_string(index) + "]"; }

// An element of a list, read before any other JavaScript may run.
struct Element {
  Napi::Value value;
  bool pointer = false;
  uint64_t address = 0;
  TensorSpec spec;
};

// Reads caller-owned device memory: { devicePointer, length, dtype }.
Element readPointer(const Napi::Object& object, const std::string& name) {
  Element element{object, true, 0, {}};
  const Napi::Value address = object.Get("devicePointer"), length = object.Get("length"), type = object.Get("dtype");
  if (!address.IsBigInt())
    refuse(object.Env(), name, "a tensor, a typed array or { devicePointer: bigint, length, dtype }", object);
  bool lossless = false;
  element.address = address.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) refuse(object.Env(), name + ".devicePointer", "an address of 64 bits", address);
  element.spec.type = type.IsUndefined() ? DataType::float32 : readDataType(type, name + ".dtype");
  if (element.address % static_cast<uint64_t>(sizeOf(element.spec.type)) != 0)
    throw CallError(name + ".devicePointer: expected a multiple of " + std::to_string(sizeOf(element.spec.type)) +
                    ", the size of a " + nameOf(element.spec.type) + ", got " + std::to_string(element.address));
  element.spec.shape.rank = 1;
  element.spec.shape.sizes[0] = readInteger(length, name + ".length", 0, static_cast<int64_t>(kMaxElements));
  return element;
}

std::vector<uint32_t> readPlaces(const Napi::Value& value, size_t count) {
  if (value.IsUndefined()) return {};
  const ByteView places = readTypedArray(value, DataType::int32, "places");
  if (places.elements != static_cast<int64_t>(count))
    throw CallError("places: expected one for each of " + std::to_string(count) + " tensors, got " +
                    std::to_string(places.elements));
  const auto* numbers = reinterpret_cast<const int32_t*>(places.data);
  std::vector<uint32_t> result(count);
  for (size_t i = 0; i < count; i++) {
    if (numbers[i] < 0)
      throw CallError(at("places", i) + ": expected a whole number ≥ 0, got " + std::to_string(numbers[i]));
    result[i] = static_cast<uint32_t>(numbers[i]);
  }
  return result;
}

bool sameTensors(const TensorList& a, const TensorList& b) {
  const auto same = [](const TensorView& x, const TensorView& y) {
    return x.data == y.data && x.type == y.type && x.shape == y.shape;
  };
  return a.places == b.places && a.foreign == b.foreign && a.inHostMemory == b.inHostMemory &&
         std::equal(a.tensors.begin(), a.tensors.end(), b.tensors.begin(), b.tensors.end(), same);
}

}  // namespace

Napi::Function ListHandle::define(Napi::Env env) {
  return DefineClass(
      env, "NativeList",
      {InstanceMethod<&ListHandle::set>("set"), InstanceMethod<&ListHandle::note>("note"),
       InstanceMethod<&ListHandle::changed>("changed"), InstanceAccessor<&ListHandle::length>("length")});
}

Napi::Object ListHandle::make(Napi::Env env, const std::shared_ptr<OpenDevice>& device) {
  pendingDevice = &device;
  try {
    return construct(Environment::of(env).listClass);
  } catch (...) {
    pendingDevice = nullptr;
    throw;
  }
}

ListHandle::ListHandle(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ListHandle>(info), list_(std::make_shared<TensorList>()) {
  if (pendingDevice == nullptr)
    throw makeError(info.Env(), "invalid-argument", "a NativeList cannot be constructed; use device.list");
  device_ = *std::exchange(pendingDevice, nullptr);
  info.This().As<Napi::Object>().TypeTag(&kListTag);
}

ListHandle::~ListHandle() { watch({}); }

ListHandle& ListHandle::from(const Napi::Value& value, const OpenDevice& device, const std::string& name) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kListTag))
    refuse(value.Env(), name, "a list of tensors", value);
  ListHandle& list = *Unwrap(value.As<Napi::Object>());
  if (list.device_.get() != &device) throw CallError(name + ": the list is of another device");
  return list;
}

void ListHandle::watch(std::vector<Block*> blocks) {
  if (!device_ || !device_->allocator) return;
  for (Block* block : blocks)
    if (block != nullptr) block->watchers++;
  for (Block* block : blocks_)
    if (block != nullptr) device_->allocator->unwatch(block);
  blocks_ = std::move(blocks);
}

Napi::Value ListHandle::length(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    if (!info.This().As<Napi::Object>().CheckTypeTag(&kListTag)) refuse(info.Env(), "this", "a list", info.This());
  });
  return Napi::Number::New(info.Env(), static_cast<double>(list_->tensors.size()));
}

void ListHandle::noteVersions() {
  for (size_t i = 0; i < blocks_.size(); i++) noted_[i] = blocks_[i] == nullptr ? 0 : blocks_[i]->version;
}

Napi::Value ListHandle::note(const Napi::CallbackInfo& info) {
  noteVersions();
  return info.Env().Undefined();
}

// Returns null if nothing has changed, the usual case, which callers ask for at every step.
Napi::Value ListHandle::changed(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    std::vector<uint32_t> found;
    for (uint32_t i = 0; i < blocks_.size(); i++) {
      const Block* block = blocks_[i];
      if (block != nullptr && block->handles > 0 && block->version != noted_[i]) found.push_back(i);
    }
    if (found.empty()) return info.Env().Null();
    auto places = Napi::Array::New(info.Env(), found.size());
    for (uint32_t i = 0; i < found.size(); i++) places.Set(i, found[i]);
    return places;
  });
}

Napi::Value ListHandle::set(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    if (!info[0].IsArray()) refuse(env, "tensors", "an array", info[0]);
    const auto array = info[0].As<Napi::Array>();
    // First do everything that may run JavaScript, which may dispose of a tensor or detach an array.
    std::vector<Element> elements;
    for (uint32_t i = 0; i < array.Length(); i++) {
      const Napi::Value value = array[i];
      if (!value.IsObject()) refuse(env, at("tensors", i), "a tensor or an array", value);
      const auto object = value.As<Napi::Object>();
      elements.push_back(value.IsTypedArray() || TensorHandle::is(value) ? Element{value, false, 0, {}}
                                                                         : readPointer(object, at("tensors", i)));
    }
    if (device_->closed) throw makeError(env, "invalid-state", "the device was closed");
    auto list = std::make_shared<TensorList>();
    list->places = readPlaces(info[1], elements.size());
    std::vector<Block*> blocks;
    for (size_t i = 0; i < elements.size(); i++) {
      const Element& element = elements[i];
      TensorView view;
      Block* block = nullptr;
      bool isForeign = false;
      if (element.pointer) {
        device_->device->expectDeviceMemory(element.address, element.spec.bytes());
        static_cast<TensorSpec&>(view) = element.spec;
        view.data = reinterpret_cast<void*>(element.address);  // NOLINT(performance-no-int-to-ptr)
        isForeign = !device_->allocator->holds(view.data, element.spec.bytes());
      } else if (element.value.IsTypedArray()) {
        if (!device_->device->usesHostMemory())
          throw CallError(at("tensors", i) + ": an array cannot be used on this device; give a tensor of it");
        view.type = typeOfArray(element.value, at("tensors", i));
        const ByteView bytes = readTypedArray(element.value, view.type, at("tensors", i));
        view.shape.rank = 1;
        view.shape.sizes[0] = bytes.elements;
        view.data = const_cast<std::byte*>(bytes.data);
        list->inHostMemory = true;
        isForeign = true;
      } else {
        const TensorHandle& tensor = TensorHandle::from(element.value, *device_, at("tensors", i));
        view = tensor.view();
        block = tensor.block();
      }
      if (isForeign) list->foreign.resize(elements.size());
      if (isForeign) list->foreign[i] = true;
      list->tensors.push_back(view);
      blocks.push_back(block);
    }
    std::vector<uint32_t> noted(blocks.size());
    Napi::ObjectReference arrays;
    if (list->inHostMemory) {
      auto kept = Napi::Array::New(env, elements.size());
      for (uint32_t i = 0; i < elements.size(); i++) kept.Set(i, elements[i].value);
      arrays = Napi::Persistent(kept.As<Napi::Object>());
    }
    // Nothing fails from here on, so the list is replaced as a whole or not at all.
    arrays_ = std::move(arrays);
    noted_ = std::move(noted);
    watch(std::move(blocks));
    noteVersions();
    // If nothing has moved, the old list keeps its backend tables.
    if (!sameTensors(*list_, *list)) list_ = std::move(list);
  });
  return env.Undefined();
}

const std::shared_ptr<const TensorList>& ListHandle::checked(Napi::Env env, const std::string& name) const {
  for (size_t i = 0; i < blocks_.size(); i++)
    if (blocks_[i] != nullptr && blocks_[i]->handles == 0)
      throw makeError(env, "invalid-state", at(name, i) + ": the tensor was disposed");
  if (list_->inHostMemory) {
    const Napi::Object arrays = arrays_.Value();
    for (uint32_t i = 0; i < blocks_.size(); i++) {
      const Napi::Value value = arrays[i];
      if (!value.IsTypedArray()) continue;
      const TensorView& view = list_->tensors[i];
      const ByteView now = readTypedArray(value, view.type, at(name, i));
      if (now.data != view.data || now.elements != view.elements())
        throw makeError(env, "invalid-state", at(name, i) + ": the array was detached or resized");
    }
  }
  return list_;
}

Overlap findOverlap(const Lists& lists, size_t written) {
  struct Range {
    uintptr_t from, to;
    size_t list, index;
  };
  std::vector<Range> ranges;
  for (size_t l = 0; l < lists.size(); l++)
    for (size_t i = 0; i < lists[l]->tensors.size(); i++) {
      const TensorView& tensor = lists[l]->tensors[i];
      const auto from = reinterpret_cast<uintptr_t>(tensor.data);
      if (tensor.bytes() > 0) ranges.push_back({from, from + static_cast<uintptr_t>(tensor.bytes()), l, i});
    }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.from < b.from; });
  // The ranges seen so far that reach furthest, among all and among the written ones. Two ranges that are only read may
  // overlap.
  const Range* furthest = nullptr;
  const Range* furthestWritten = nullptr;
  for (const Range& range : ranges) {
    const bool isWritten = range.list < written;
    const Range* other = isWritten ? furthest : furthestWritten;
    if (other != nullptr && other->to > range.from) return {true, range.list, range.index, other->list, other->index};
    if (furthest == nullptr || range.to > furthest->to) furthest = &range;
    if (isWritten && (furthestWritten == nullptr || range.to > furthestWritten->to)) furthestWritten = &range;
  }
  return {};
}

}  // namespace stepsize
