#include "tensor_handle.h"

#include "arguments.h"
#include "environment.h"
#include "errors.h"

namespace stepsize {

namespace {

// Marks the objects of this class, so that an object of another addon is refused instead of misread.
constexpr napi_type_tag kTensorTag = {0x5b3d1f7a94c64e02, 0xa1e8c2d95f7b3046};

// Arguments that make() passes to the constructor without JavaScript; null if the constructor was called by other code.
struct Birth {
  const std::shared_ptr<OpenDevice>& device;
  Block* block;
  const TensorSpec& spec;
};
thread_local const Birth* pendingBirth = nullptr;

}  // namespace

Napi::Function TensorHandle::define(Napi::Env env) {
  return DefineClass(
      env, "NativeTensor",
      {InstanceAccessor<&TensorHandle::shape>("shape"), InstanceAccessor<&TensorHandle::dtype>("dtype"),
       InstanceAccessor<&TensorHandle::version>("version"), InstanceAccessor<&TensorHandle::shared>("shared"),
       InstanceAccessor<&TensorHandle::devicePointer>("devicePointer"),
       InstanceAccessor<&TensorHandle::disposed>("disposed"), InstanceMethod<&TensorHandle::dispose>("dispose")});
}

Napi::Object TensorHandle::make(Napi::Env env, const std::shared_ptr<OpenDevice>& device, Block* block,
                                const TensorSpec& spec) {
  const Birth birth{device, block, spec};
  pendingBirth = &birth;
  try {
    return construct(Environment::of(env).tensorClass);
  } catch (...) {
    // If JavaScript is out of stack, the constructor never ran.
    if (pendingBirth != nullptr) device->allocator->release(block);
    pendingBirth = nullptr;
    throw;
  }
}

TensorHandle::TensorHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TensorHandle>(info) {
  if (pendingBirth == nullptr)
    throw makeError(info.Env(), "invalid-argument", "a NativeTensor cannot be constructed; use device.create");
  info.This().As<Napi::Object>().TypeTag(&kTensorTag);
  // Nothing fails from here on; release() gives back what is taken here.
  device_ = pendingBirth->device;
  block_ = pendingBirth->block;
  spec_ = pendingBirth->spec;
  pendingBirth = nullptr;
  next_ = device_->tensors;
  if (next_ != nullptr) next_->previous_ = this;
  device_->tensors = this;
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), block_->bytes);
}

TensorHandle::~TensorHandle() { release(); }

bool TensorHandle::is(const Napi::Value& value) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&kTensorTag);
}

TensorHandle& TensorHandle::from(const Napi::Value& value, const OpenDevice& device, const std::string& name) {
  if (!is(value)) refuse(value.Env(), name, "a tensor", value);
  TensorHandle& tensor = *Unwrap(value.As<Napi::Object>());
  if (tensor.block_ == nullptr)
    throw makeError(value.Env(), "invalid-state",
                    name +
                        ": the tensor was disposed. backward() disposes the intermediate results of the graph it "
                        "walked, tidy() those of its block; call keep() on what is needed later");
  if (tensor.device_.get() != &device)
    throw CallError(name + ": the tensor is on another device; move it with tensor.to(device)");
  return tensor;
}

TensorView TensorHandle::view() const {
  TensorView view;
  view.type = spec_.type;
  view.shape = spec_.shape;
  view.data = block_->memory;
  return view;
}

void TensorHandle::release() {
  if (block_ == nullptr) return;
  Napi::MemoryManagement::AdjustExternalMemory(Env(), -block_->bytes);
  if (device_->allocator) device_->allocator->release(block_);
  block_ = nullptr;
  (previous_ != nullptr ? previous_->next_ : device_->tensors) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  device_.reset();
}

bool TensorHandle::releaseDead(OpenDevice& device) {
  bool found = false;
  for (TensorHandle* tensor = device.tensors; tensor != nullptr;) {
    TensorHandle* next = tensor->next_;
    const Napi::HandleScope scope(tensor->Env());
    if (tensor->Value().IsEmpty()) {
      tensor->release();
      found = true;
    }
    tensor = next;
  }
  return found;
}

namespace {

// Node checks the receiver of methods but not of accessors, so `this` may be any wrapped object.
void expectTensor(const Napi::CallbackInfo& info) {
  if (info.This().As<Napi::Object>().CheckTypeTag(&kTensorTag)) return;
  guarded(info.Env(), [&] { refuse(info.Env(), "this", "a tensor", info.This()); });
}

}  // namespace

Napi::Value TensorHandle::shape(const Napi::CallbackInfo& info) {
  expectTensor(info);
  return shapeToArray(info.Env(), spec_.shape);
}

Napi::Value TensorHandle::dtype(const Napi::CallbackInfo& info) {
  expectTensor(info);
  return Napi::String::New(info.Env(), nameOf(spec_.type));
}

Napi::Value TensorHandle::version(const Napi::CallbackInfo& info) {
  expectTensor(info);
  return Napi::Number::New(info.Env(), block_ ? block_->version : 0);
}

Napi::Value TensorHandle::shared(const Napi::CallbackInfo& info) {
  expectTensor(info);
  return Napi::Boolean::New(info.Env(), block_ != nullptr && block_->handles > 1);
}

// The address, for programs that share the device; the tensor keeps ownership of the memory.
Napi::Value TensorHandle::devicePointer(const Napi::CallbackInfo& info) {
  expectTensor(info);
  const auto address = block_ == nullptr ? 0 : reinterpret_cast<uintptr_t>(block_->memory);
  return Napi::BigInt::New(info.Env(), static_cast<uint64_t>(address));
}

Napi::Value TensorHandle::disposed(const Napi::CallbackInfo& info) {
  expectTensor(info);
  return Napi::Boolean::New(info.Env(), block_ == nullptr);
}

Napi::Value TensorHandle::dispose(const Napi::CallbackInfo& info) {
  release();
  return info.Env().Undefined();
}

}  // namespace stepsize
