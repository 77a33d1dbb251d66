#include "device_handle.h"

#include <cstring>
#include <utility>

#include "arguments.h"
#include "capture_handle.h"
#include "environment.h"
#include "errors.h"
#include "list_handle.h"
#include "tensor_handle.h"

namespace stepsize {

namespace {

// How long a waiting call may go without checking whether its thread is being ended.
constexpr std::chrono::milliseconds kSlice{50};

// More external memory than V8 tolerates without collecting garbage.
constexpr int64_t kManyBytes = int64_t{1} << 46;

}  // namespace

Napi::Function DeviceHandle::define(Napi::Env env) {
  return DefineClass(env, "NativeDevice",
                     {InstanceMethod<&DeviceHandle::create>("create"),
                      InstanceMethod<&DeviceHandle::write>("write"),
                      InstanceMethod<&DeviceHandle::read>("read"),
                      InstanceMethod<&DeviceHandle::writePart>("writePart"),
                      InstanceMethod<&DeviceHandle::readPart>("readPart"),
                      InstanceMethod<&DeviceHandle::reshape>("reshape"),
                      InstanceMethod<&DeviceHandle::enqueue>("enqueue"),
                      InstanceMethod<&DeviceHandle::list>("list"),
                      InstanceMethod<&DeviceHandle::overlap>("overlap"),
                      InstanceMethod<&DeviceHandle::beginCapture>("beginCapture"),
                      InstanceMethod<&DeviceHandle::endCapture>("endCapture"),
                      InstanceMethod<&DeviceHandle::startTimer>("startTimer"),
                      InstanceMethod<&DeviceHandle::stopTimer>("stopTimer"),
                      InstanceMethod<&DeviceHandle::waitForEvent>("waitForEvent"),
                      InstanceMethod<&DeviceHandle::recordEvent>("recordEvent"),
                      InstanceMethod<&DeviceHandle::streamHandle>("streamHandle"),
                      InstanceMethod<&DeviceHandle::synchronize>("synchronize"),
                      InstanceMethod<&DeviceHandle::memory>("memory"),
                      InstanceMethod<&DeviceHandle::trim>("trim"),
                      InstanceMethod<&DeviceHandle::describe>("describe"),
                      InstanceMethod<&DeviceHandle::close>("close")});
}

DeviceHandle::DeviceHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<DeviceHandle>(info) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    DeviceOptions options;
    int64_t memoryLimit = 0;
    if (!info[0].IsUndefined()) {
      if (!info[0].IsObject()) refuse(env, "options", "an object", info[0]);
      const auto given = info[0].As<Napi::Object>();
      const Napi::Value index = given.Get("index"), threads = given.Get("threads");
      const Napi::Value limit = given.Get("memoryLimit"), instructionSet = given.Get("instructionSet");
      const Napi::Value stream = given.Get("stream"), products = given.Get("float32Products");
      if (!index.IsUndefined()) options.index = static_cast<int>(readInteger(index, "index", 0, 1024));
      if (!threads.IsUndefined()) options.threads = static_cast<int>(readInteger(threads, "threads", 1, 1024));
      if (!limit.IsUndefined()) memoryLimit = readInteger(limit, "memoryLimit", 1, int64_t{1} << 50);
      if (!instructionSet.IsUndefined()) {
        if (!instructionSet.IsString()) refuse(env, "instructionSet", "a string", instructionSet);
        options.instructionSet = instructionSet.As<Napi::String>();
      }
      if (!stream.IsUndefined()) options.stream = readHandle(stream, "stream");
      if (!products.IsUndefined()) {
        const std::string kind = products.IsString() ? products.As<Napi::String>().Utf8Value() : "";
        if (kind != "float32" && kind != "tf32") refuse(env, "float32Products", "\"float32\" or \"tf32\"", products);
        options.tf32 = kind == "tf32";
      }
    }
    open_ = std::make_shared<OpenDevice>();
    open_->device = openDevice(options);
    open_->allocator = std::make_unique<Allocator>(*open_->device, memoryLimit);
    open_->allocator->onShortage([this] { return reclaim(); });
  });
  const auto onWake = [](napi_env wakeEnv, napi_value, void* context, void*) {
    // Without an environment, the function is being torn down.
    if (wakeEnv == nullptr) return;
    const Napi::Env settleEnv(wakeEnv);
    const Napi::HandleScope scope(settleEnv);
    try {
      static_cast<DeviceHandle*>(context)->settle(settleEnv);
    } catch (const Napi::Error&) {
      // A worker that is being terminated accepts no new values, and no code waits for its promises any more.
    }
  };
  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "stepsize"),
                                                             0, 1, nullptr, nullptr, this, onWake, &wake_);
  if (status != napi_ok) throw makeError(env, "unsupported", "could not create a thread-safe function");
  napi_unref_threadsafe_function(env, wake_);
  // Cleanup hooks run last in, first out, so the device's thread is joined before the function that it calls is
  // destroyed.
  napi_add_env_cleanup_hook(env, shutDownHandle, this);
}

DeviceHandle::~DeviceHandle() {
  if (wake_ == nullptr) return;
  napi_remove_env_cleanup_hook(Env(), shutDownHandle, this);
  shutDown();
}

void DeviceHandle::shutDownHandle(void* handle) { static_cast<DeviceHandle*>(handle)->shutDown(); }

void DeviceHandle::shutDown() {
  if (wake_ == nullptr) return;
  open_->closed = true;
  open_->device->abandon();
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
  wake_ = nullptr;
}

OpenDevice& DeviceHandle::open(Napi::Env env) {
  if (open_->closed) throw makeError(env, "invalid-state", "the device was closed");
  return *open_;
}

OpenDevice& DeviceHandle::openEager(Napi::Env env, const char* what) {
  OpenDevice& device = open(env);
  if (device.capturing)
    throw makeError(env, "invalid-state",
                    std::string(what) +
                        " cannot be captured: a replay would repeat what the host did once. Do it "
                        "before or after device.capture");
  return device;
}

Napi::Promise DeviceHandle::whenAllIsDone(Napi::Env env, std::shared_ptr<const double> number) {
  return whenDone(
      env, env.Undefined(), [this](Device::Done done) { open_->device->notify(std::move(done)); }, std::move(number));
}

Napi::Promise DeviceHandle::whenDone(Napi::Env env, Napi::Value value, const std::function<void(Device::Done)>& begin,
                                     std::shared_ptr<const double> number) {
  const auto outcome = std::make_shared<Outcome>();
  Waiter waiter{Napi::Promise::Deferred::New(env), {}, std::move(number), outcome};
  if (value.IsObject()) waiter.value = Napi::Persistent(value.As<Napi::Object>());
  const Napi::Promise promise = waiter.promise.Promise();
  waiters_.push_back(std::move(waiter));
  try {
    begin([outcome, wake = wake_](Reason reason) {
      outcome->reason = std::move(reason);
      outcome->isThere.store(true, std::memory_order_release);
      napi_call_threadsafe_function(wake, nullptr, napi_tsfn_nonblocking);
    });
  } catch (...) {
    // The device will not call back, and the waiters behind must not wait for this one.
    waiters_.pop_back();
    throw;
  }
  if (!std::exchange(waiting_, true)) {
    napi_ref_threadsafe_function(env, wake_);
    Ref();
  }
  return promise;
}

void DeviceHandle::settle(Napi::Env env) {
  while (!waiters_.empty() && waiters_.front().outcome->isThere.load(std::memory_order_acquire)) {
    const Waiter waiter = std::move(waiters_.front());
    waiters_.pop_front();
    if (waiter.outcome->reason)
      waiter.promise.Reject(makeError(env, *waiter.outcome->reason).Value());
    else if (waiter.number)
      waiter.promise.Resolve(Napi::Number::New(env, *waiter.number));
    else
      waiter.promise.Resolve(waiter.value.IsEmpty() ? env.Undefined() : Napi::Value(waiter.value.Value()));
  }
  if (!waiters_.empty() || !std::exchange(waiting_, false)) return;
  Unref();
  if (wake_ != nullptr) napi_unref_threadsafe_function(env, wake_);
  if (!open_->closed) return;
  // The memory of a closed device is released at once, not only when its handle is collected.
  open_->allocator->trim();
  open_->device->abandon();
}

bool DeviceHandle::reclaim() {
  // Finalizers only run when the event loop turns, and a loop of the program may never let it. Reporting a huge amount
  // of external memory makes the collector run at once; afterwards the handles tell which objects are gone.
  Napi::MemoryManagement::AdjustExternalMemory(Env(), kManyBytes);
  Napi::MemoryManagement::AdjustExternalMemory(Env(), -kManyBytes);
  return TensorHandle::releaseDead(*open_);
}

void expectRunning(Napi::Env env) {
  bool has = false;
  // Node refuses every call that could run JavaScript once the thread is being ended.
  if (napi_has_named_property(env, env.Global(), "Object", &has) != napi_ok)
    throw Napi::Error::New(env, "the thread is being ended");
}

void awaitRoom(Napi::Env env, Device& device) {
  while (!device.awaitRoom(kSlice)) expectRunning(env);
}

Napi::Value DeviceHandle::create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    TensorSpec spec;
    spec.type = readDataType(info[0], "dtype");
    spec.shape = readShape(info[1], "shape");
    OpenDevice& device = open(env);
    awaitRoom(env, *device.device);
    ByteView data{nullptr, -1};
    if (!info[2].IsUndefined()) {
      openEager(env, "a tensor made from data");
      data = readTypedArray(info[2], spec.type, "data");
      if (data.elements != spec.elements())
        throw CallError("data: expected " + std::to_string(spec.elements()) + " elements for shape " +
                        stepsize::describe(spec.shape) + ", got " + std::to_string(data.elements));
    }
    Block* block = device.allocator->allocate(spec, "tensor");
    const Napi::Object tensor = TensorHandle::make(env, open_, block, spec);
    if (data.elements >= 0)
      device.device->upload(block->memory, data.data, static_cast<size_t>(spec.bytes()));
    else
      device.device->renew(block->memory, spec.bytes());
    return tensor;
  });
}

Napi::Value DeviceHandle::write(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    OpenDevice& device = openEager(env, "write");
    awaitRoom(env, *device.device);
    const TensorHandle& tensor = TensorHandle::from(info[0], device, "tensor");
    const ByteView data = readTypedArray(info[1], tensor.spec().type, "data");
    if (data.elements != tensor.spec().elements())
      throw CallError("data: expected " + std::to_string(tensor.spec().elements()) + " elements for shape " +
                      stepsize::describe(tensor.spec().shape) + ", got " + std::to_string(data.elements));
    tensor.block()->version++;
    device.device->upload(tensor.block()->memory, data.data, static_cast<size_t>(tensor.spec().bytes()));
  });
  return env.Undefined();
}

Napi::Value DeviceHandle::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    OpenDevice& device = openEager(env, "read");
    awaitRoom(env, *device.device);
    const TensorHandle& tensor = TensorHandle::from(info[0], device, "tensor");
    void* data = nullptr;
    // No other code sees the array before it is complete, so none can detach it meanwhile.
    const Napi::TypedArray array = makeTypedArray(env, tensor.spec().type, tensor.spec().elements(), &data);
    return whenDone(env, array, [&](Device::Done done) {
      device.device->read(data, tensor.block()->memory, tensor.spec().bytes(), std::move(done));
    });
  });
}

// For tensors that are too large to be in the host's memory at once.
Napi::Value DeviceHandle::writePart(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    OpenDevice& device = openEager(env, "writePart");
    const TensorHandle& tensor = TensorHandle::from(info[0], device, "tensor");
    const DataType type = tensor.spec().type;
    const int64_t elements = tensor.spec().elements();
    const int64_t first = readInteger(info[1], "first", 0, elements);
    const ByteView data = readTypedArray(info[2], type, "data");
    if (data.elements > elements - first)
      throw CallError("data: expected at most " + std::to_string(elements - first) + " elements from " +
                      std::to_string(first) + " on, for shape " + stepsize::describe(tensor.spec().shape) + ", got " +
                      std::to_string(data.elements));
    tensor.block()->version++;
    if (data.elements == 0) return;
    device.device->upload(static_cast<std::byte*>(tensor.block()->memory) + first * sizeOf(type), data.data,
                          static_cast<size_t>(data.elements * sizeOf(type)));
  });
  return env.Undefined();
}

Napi::Value DeviceHandle::readPart(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    OpenDevice& device = openEager(env, "readPart");
    const TensorHandle& tensor = TensorHandle::from(info[0], device, "tensor");
    const DataType type = tensor.spec().type;
    const int64_t elements = tensor.spec().elements();
    const int64_t first = readInteger(info[1], "first", 0, elements);
    const int64_t count = readInteger(info[2], "count", 0, elements - first);
    void* data = nullptr;
    const Napi::TypedArray array = makeTypedArray(env, type, count, &data);
    return whenDone(env, array, [&](Device::Done done) {
      const auto* memory = static_cast<const std::byte*>(tensor.block()->memory);
      device.device->read(data, memory + first * sizeOf(type), count * sizeOf(type), std::move(done));
    });
  });
}

Napi::Value DeviceHandle::reshape(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Shape shape = readShape(info[1], "shape");
    OpenDevice& device = open(env);
    const TensorHandle& tensor = TensorHandle::from(info[0], device, "tensor");
    TensorSpec spec = tensor.spec();
    spec.shape = shape;
    if (spec.elements() != tensor.spec().elements())
      throw CallError("shape: " + stepsize::describe(spec.shape) + " has " + std::to_string(spec.elements()) +
                      " elements, the tensor of shape " + stepsize::describe(tensor.spec().shape) + " has " +
                      std::to_string(tensor.spec().elements()));
    device.allocator->retain(tensor.block());
    return TensorHandle::make(env, open_, tensor.block(), spec);
  });
}

namespace {

// Blocks that have no handle yet; they are given back if the call fails half-way.
struct Claims {
  Allocator& allocator;
  std::vector<Block*> blocks;
  ~Claims() {
    for (Block* block : blocks)
      if (block != nullptr) allocator.release(block);
  }
};

// The objects given as lists. Their number is checked before any of them is read, because an array may claim any
// length.
std::vector<napi_value> readLists(Napi::Env env, const Operation& op, const Napi::Value& value) {
  const std::string name(op.name);
  uint32_t count = 0;
  if (!value.IsUndefined()) {
    if (!value.IsArray()) refuse(env, name + ": lists", "an array of lists", value);
    count = value.As<Napi::Array>().Length();
  }
  if (op.lists != kAnyNumber && count != static_cast<uint32_t>(op.lists))
    throw CallError(name + ": expected " + std::to_string(op.lists) + " lists" +
                    (op.lists > 0 ? " (" + std::string(op.listNames) + ")" : "") + ", got " + std::to_string(count));
  if (count > kMaxOperands)
    throw CallError(name + ": expected at most " + std::to_string(kMaxOperands) + " lists, got " +
                    std::to_string(count));
  std::vector<napi_value> lists;
  for (uint32_t i = 0; i < count; i++) lists.push_back(value.As<Napi::Array>().Get(i));
  return lists;
}

}  // namespace

Napi::Value DeviceHandle::enqueue(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto id = static_cast<OperationId>(readInteger(info[0], "operation", 0, kOperations - 1));
    const Operation& op = operation(id);
    if (!info[1].IsArray()) refuse(env, std::string(op.name) + ": tensors", "an array of tensors", info[1]);
    const auto array = info[1].As<Napi::Array>();
    const uint32_t count = array.Length();
    if (op.inputs != kAnyNumber && count != static_cast<uint32_t>(op.inputs))
      throw CallError(std::string(op.name) + ": expected " + std::to_string(op.inputs) + " tensors (" + op.inputNames +
                      "), got " + std::to_string(count));
    if (count > kMaxOperands)
      throw CallError(std::string(op.name) + ": expected at most " + std::to_string(kMaxOperands) + " tensors, got " +
                      std::to_string(count));
    // First do everything that may run JavaScript: an array or object may have getters, which may dispose of a tensor
    // or close the device. Then do everything that must not be disturbed.
    std::vector<napi_value> values;
    for (uint32_t i = 0; i < count; i++) {
      const Napi::Value value = array[i];
      if (!value.IsObject()) refuse(env, std::string(op.name) + ": tensor " + std::to_string(i), "a tensor", value);
      values.push_back(value);
    }
    Record record{id, static_cast<int>(count), {}, {}, {}, {}};
    readAttributes(op, info[2], record.attributes);
    const std::vector<napi_value> lists = readLists(env, op, info[3]);
    OpenDevice& device = open(env);
    awaitRoom(env, *device.device);
    std::vector<TensorSpec> specs;
    std::vector<Block*> blocks;
    record.tensors.reserve(count + 3);
    specs.reserve(count);
    blocks.reserve(count);
    for (uint32_t i = 0; i < count; i++) {
      const TensorHandle& tensor = TensorHandle::from(Napi::Value(env, values[i]), device,
                                                      std::string(op.name) + ": tensor " + std::to_string(i));
      record.tensors.push_back(tensor.view());
      specs.push_back(tensor.spec());
      blocks.push_back(tensor.block());
    }
    std::vector<const ListHandle*> handles;
    bool inHostMemory = false;
    for (size_t i = 0; i < lists.size(); i++) {
      const std::string name = std::string(op.name) + ": list " + std::to_string(i);
      const ListHandle& list = ListHandle::from(Napi::Value(env, lists[i]), device, name);
      record.lists.push_back(list.checked(env, name));
      handles.push_back(&list);
      inHostMemory |= record.lists.back()->inHostMemory;
    }
    if (inHostMemory) openEager(env, "work on arrays");
    Call call(op, std::move(specs), record.lists, record.attributes);
    op.shapeRule(call);
    auto outputs = Napi::Array::New(env, call.outputs.size());
    Claims claims{*device.allocator, {}};
    const int64_t reclaims = device.allocator->reclaims();
    claims.blocks.reserve(call.outputs.size());
    for (const TensorSpec& spec : call.outputs) claims.blocks.push_back(device.allocator->allocate(spec, op.name));
    // A list does not keep its tensors from being collected, so check the lists again if the collector released blocks.
    if (reclaims != device.allocator->reclaims())
      for (size_t i = 0; i < handles.size(); i++)
        handles[i]->checked(env, std::string(op.name) + ": list " + std::to_string(i));
    for (size_t i = 0; i < call.outputs.size(); i++) {
      const Napi::Object tensor =
          TensorHandle::make(env, open_, std::exchange(claims.blocks[i], nullptr), call.outputs[i]);
      record.tensors.push_back(TensorHandle::Unwrap(tensor)->view());
      blocks.push_back(TensorHandle::Unwrap(tensor)->block());
      outputs.Set(static_cast<uint32_t>(i), tensor);
    }
    const auto wrote = [&](Block* block) {
      if (block == nullptr) return;
      block->version++;
      if (device.capturing) device.capturing->written.insert(block);
    };
    record.writes = call.writes;
    for (uint32_t i = 0; i < count; i++)
      if ((call.writes.inputs >> i & 1) != 0) wrote(blocks[i]);
    for (size_t i = 0; i < handles.size(); i++)
      if ((call.writes.lists >> i & 1) != 0)
        for (Block* block : handles[i]->blocks()) wrote(block);
    if (device.capturing) {
      for (Block* block : blocks) device.capturing->use(*device.allocator, block);
      for (const ListHandle* list : handles)
        for (Block* block : list->blocks())
          if (block != nullptr) device.capturing->use(*device.allocator, block);
    }
    if (!inHostMemory)
      device.device->enqueue(std::move(record));
    else if (const Reason reason = device.device->run(std::move(record)))
      throw makeError(env, *reason);
    return outputs;
  });
}

Napi::Value DeviceHandle::list(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    open(info.Env());
    return ListHandle::make(info.Env(), open_);
  });
}

Napi::Value DeviceHandle::overlap(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    if (!info[0].IsArray()) refuse(env, "lists", "an array of lists", info[0]);
    const auto array = info[0].As<Napi::Array>();
    std::vector<napi_value> values;
    for (uint32_t i = 0; i < array.Length(); i++) {
      const Napi::Value value = array[i];
      // Refused at once: an empty array that claims a huge length fails at its first element.
      if (!value.IsObject()) refuse(env, "lists[" + std::to_string(i) + "]", "a list of this device", value);
      values.push_back(value);
    }
    const auto written = static_cast<size_t>(readInteger(info[1], "written", 0, static_cast<int64_t>(values.size())));
    const OpenDevice& device = open(env);
    Lists lists;
    for (size_t i = 0; i < values.size(); i++) {
      const std::string name = "lists[" + std::to_string(i) + "]";
      lists.push_back(ListHandle::from(Napi::Value(env, values[i]), device, name).checked(env, name));
    }
    // Lists are immutable, and these were found not to overlap.
    if (lists == distinct_) return env.Undefined();
    const Overlap overlap = findOverlap(lists, written);
    if (!overlap.found) {
      distinct_ = std::move(lists);
      return env.Undefined();
    }
    auto result = Napi::Array::New(env, 4);
    uint32_t at = 0;
    for (const size_t place : {overlap.list, overlap.index, overlap.otherList, overlap.otherIndex})
      result.Set(at++, Napi::Number::New(env, static_cast<double>(place)));
    return result;
  });
}

Napi::Value DeviceHandle::beginCapture(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    OpenDevice& device = openEager(info.Env(), "a capture inside a capture");
    auto memory = std::make_unique<CapturedMemory>();
    memory->arena = std::make_unique<Pool>();
    device.device->beginCapture();
    device.capturing = std::move(memory);
    device.allocator->useArena(device.capturing->arena.get());
  });
  return info.Env().Undefined();
}

// Ends the capture even if it failed; the memory is then given back.
Napi::Value DeviceHandle::endCapture(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    OpenDevice& device = open(env);
    if (!device.capturing) throw makeError(env, "invalid-state", "endCapture: nothing is being captured");
    CapturedMemory memory = std::move(*std::exchange(device.capturing, nullptr));
    device.allocator->useArena(nullptr);
    std::shared_ptr<CapturedWork> work;
    try {
      work = device.device->endCapture();
    } catch (...) {
      memory.release(*device.allocator);
      throw;
    }
    return CaptureHandle::make(env, open_, std::move(work), std::move(memory));
  });
}

Napi::Value DeviceHandle::startTimer(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { openEager(info.Env(), "a timer").device->startTimer(); });
  return info.Env().Undefined();
}

Napi::Value DeviceHandle::stopTimer(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto milliseconds = openEager(info.Env(), "a timer").device->stopTimer();
    return whenAllIsDone(info.Env(), milliseconds);
  });
}

Napi::Value DeviceHandle::waitForEvent(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    const uint64_t event = readHandle(info[0], "event");
    openEager(info.Env(), "waiting for an event").device->waitForEvent(event);
  });
  return info.Env().Undefined();
}

Napi::Value DeviceHandle::streamHandle(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::BigInt::New(info.Env(), open(info.Env()).device->streamHandle());
  });
}

Napi::Value DeviceHandle::recordEvent(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::BigInt::New(info.Env(), openEager(info.Env(), "an event").device->recordEvent());
  });
}

Napi::Value DeviceHandle::synchronize(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    openEager(info.Env(), "synchronize");
    return whenAllIsDone(info.Env());
  });
}

Napi::Value DeviceHandle::memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const MemoryStatistics& statistics = open(info.Env()).allocator->statistics();
    auto result = Napi::Object::New(info.Env());
    result.Set("allocated", static_cast<double>(statistics.allocated));
    result.Set("cached", static_cast<double>(statistics.cached));
    result.Set("peak", static_cast<double>(statistics.peak));
    result.Set("limit", static_cast<double>(statistics.limit));
    result.Set("tensors", static_cast<double>(statistics.tensors));
    return result;
  });
}

Napi::Value DeviceHandle::trim(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { openEager(info.Env(), "trim").allocator->trim(); });
  return info.Env().Undefined();
}

Napi::Value DeviceHandle::describe(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto result = Napi::Object::New(info.Env());
    for (const auto& [name, value] : open(info.Env()).device->describe()) result.Set(name, value);
    return result;
  });
}

Napi::Value DeviceHandle::close(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    openEager(info.Env(), "close");
    const Napi::Promise done = whenAllIsDone(info.Env());
    open_->closed = true;
    return done;
  });
}

}  // namespace stepsize
