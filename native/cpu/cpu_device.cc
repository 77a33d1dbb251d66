#include "cpu_device.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <future>
#include <utility>

#include "available_resources.h"
#include "denormals.h"
#include "thread_pool.h"

namespace stepsize {

namespace cpu {

namespace {

class CpuInvocation final : public Invocation {
 public:
  CpuInvocation(const Record& record, int threadCount, std::vector<GrowingBuffer>& workspaces)
      : workspaces_(workspaces) {
    threads = threadCount;
    tensors = record.tensors.data();
    inputs = record.inputs;
    outputs = static_cast<int>(record.tensors.size()) - record.inputs;
    attributes = record.attributes;
    for (const auto& list : record.lists)
      lists_.push_back({list->tensors.data(), list->places.empty() ? nullptr : list->places.data(),
                        static_cast<int64_t>(list->tensors.size())});
    lists = lists_.data();
    listCount = static_cast<int>(lists_.size());
  }

  void parallel(int64_t count, Body body, void* context) const override {
    ThreadPool::instance().run(count, threads, body, context);
  }

  void* workspace(int64_t bytes) const override {
    if (used_ == workspaces_.size()) workspaces_.emplace_back();
    return workspaces_[used_++].atLeast(bytes);
  }

  float* scratch() const override { return ThreadScratch::get(); }

  void fail(const char* format, long long a, long long b, long long c) const override {
    if (!failed_.exchange(true)) std::snprintf(error_, sizeof error_, format, a, b, c);
  }

  // The first reported fault; null if there is none.
  const char* error() const { return failed_ ? error_ : nullptr; }

 private:
  std::vector<TensorListView> lists_;
  std::vector<GrowingBuffer>& workspaces_;
  mutable size_t used_ = 0;
  mutable std::atomic<bool> failed_{false};
  mutable char error_[256] = {};
};

// Zeroes the lists that a record would have left as zeros, for a record that is not run.
void zeroLists(const Record& record) {
  for (size_t l = 0; l < record.lists.size(); l++) {
    if ((record.writes.zeroed >> l & 1) == 0) continue;
    const TensorList& list = *record.lists[l];
    for (size_t i = 0; i < list.tensors.size(); i++)
      if (!list.isForeign(i)) std::memset(list.tensors[i].data, 0, static_cast<size_t>(list.tensors[i].bytes()));
  }
}

}  // namespace

CpuDevice::CpuDevice(const InstructionSet& set, int threads) : set_(set), threads_(threads) {
  thread_ = std::thread([this] { loop(); });
}

CpuDevice::~CpuDevice() { abandon(); }

void* CpuDevice::acquire(int64_t bytes) {
  void* memory = memory_.acquire(bytes);
  if (memory != nullptr || releasing_.load(std::memory_order_relaxed) == 0) return memory;
  // Memory that was released before may be enough once the queue has given it back.
  std::promise<void> released;
  push({[&] { released.set_value(); }});
  released.get_future().wait();
  return memory_.acquire(bytes);
}

void CpuDevice::release(void* memory, int64_t bytes) noexcept {
  releasing_.fetch_add(1, std::memory_order_relaxed);
  // Released in stream order: a record that was enqueued earlier may still use the memory.
  push({nullptr, memory, bytes});
}

int64_t CpuDevice::freeMemory() const { return availableMemory(); }

void CpuDevice::enqueue(Record record) {
  if (capture_) return capture_->records.push_back(std::move(record));
  push({[this, record = std::move(record)] { execute(record); }});
}

Reason CpuDevice::run(Record record) {
  std::promise<Reason> outcome;
  push({[&] { outcome.set_value(execute(record)); }});
  return outcome.get_future().get();
}

void CpuDevice::upload(void* to, const std::byte* from, size_t bytes) {
  Task task;
  task.heldBytes = static_cast<int64_t>(bytes);
  task.run = [this, to, kept = std::vector(from, from + bytes)] {
    if (!kept.empty()) std::memcpy(to, kept.data(), kept.size());
    spoiled_.restore(to, static_cast<int64_t>(kept.size()));
  };
  push(std::move(task));
}

void CpuDevice::renew(void* memory, int64_t bytes) {
  push({[=, this] { spoiled_.restore(memory, bytes); }});
}

void CpuDevice::read(void* to, const void* from, int64_t bytes, Done done) {
  push({[=, this, done = std::move(done)] {
    Reason reason = spoiled_.reasonOf(from, bytes);
    if (!reason && bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
    done(std::move(reason));
  }});
}

void CpuDevice::notify(Done done) {
  push({[done = std::move(done)] { done(nullptr); }});
}

void CpuDevice::beginCapture() { capture_ = std::make_shared<CpuCapturedWork>(); }

std::shared_ptr<CapturedWork> CpuDevice::endCapture() { return std::exchange(capture_, nullptr); }

int64_t CpuDevice::replay(std::shared_ptr<CapturedWork> captured, int64_t times) {
  push({[this, work = std::static_pointer_cast<CpuCapturedWork>(std::move(captured)), times] {
    for (int64_t i = 0; i < times; i++)
      for (const Record& record : work->records) {
        if (queue_.isClosed()) return;
        execute(record);
      }
  }});
  return times;
}

void CpuDevice::startTimer() {
  push({[this] { timerStart_ = std::chrono::steady_clock::now(); }});
}

std::shared_ptr<const double> CpuDevice::stopTimer() {
  const auto milliseconds = std::make_shared<double>(0);
  push({[this, milliseconds] {
    *milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - timerStart_).count();
  }});
  return milliseconds;
}

void CpuDevice::expectDeviceMemory(uint64_t, int64_t) const {
  throw CallError("devicePointer: the CPU has no device memory; give an array");
}

void CpuDevice::waitForEvent(uint64_t) { throw CallError("event: the CPU has no events"); }

uint64_t CpuDevice::streamHandle() const { throw CallError("stream: the CPU has no streams"); }

uint64_t CpuDevice::recordEvent() { throw CallError("event: the CPU has no events"); }

void CpuDevice::giveBack(const Task& task) noexcept {
  if (task.releases == nullptr) return;
  memory_.release(task.releases, task.releasedBytes);
  releasing_.fetch_sub(1, std::memory_order_relaxed);
}

void CpuDevice::push(Task task) noexcept {
  if (!queue_.push(task)) giveBack(task);
}

void CpuDevice::loop() noexcept {
  const ThreadScratch scratch;
  flushDenormals();
  for (Task task; queue_.pop(task); task = {}) {
    if (task.run) task.run();
    // The memory may go to another device next, so it must not stay marked as spoiled here.
    if (task.releases != nullptr) spoiled_.restore(task.releases, task.releasedBytes);
    giveBack(task);
  }
}

void CpuDevice::abandon() {
  queue_.close();
  if (thread_.joinable()) thread_.join();
  for (Task task; queue_.takeRest(task);) giveBack(task);
}

Reason CpuDevice::tryRecord(const Record& record) noexcept {
  try {
    const CpuInvocation invocation(record, threads_, workspaces_);
    set_.run(record.id, invocation);
    return invocation.error() == nullptr ? nullptr : failureOf(record, invocation.error());
  } catch (...) {
    // A kernel that threw may have left the thread in another mode (KeepDenormals).
    flushDenormals();
    return failureOfCurrentException(record);
  }
}

Reason CpuDevice::execute(const Record& record) noexcept {
  Reason reason = spoiled_.reasonOf(record);
  const bool isLeftOut = reason != nullptr;
  if (!isLeftOut) reason = tryRecord(record);
  if (!reason && spoiled_.empty()) return nullptr;
  spoiled_.settle(record, reason);
  if (isLeftOut) zeroLists(record);
  return reason;
}

std::vector<std::pair<std::string, std::string>> CpuDevice::describe() const {
  return {{"kernels", set_.name}, {"threads", std::to_string(threads_)}};
}

}  // namespace cpu

const char* backendName() { return "cpu"; }

std::vector<std::pair<std::string, std::string>> describeBackend() {
  std::string supported, chosen;
  for (const auto& set : cpu::instructionSets()) {
    if (!set.supported) continue;
    if (chosen.empty()) chosen = set.name;
    supported += (supported.empty() ? "" : " ") + set.name;
  }
  return {{"instructionSets", supported}, {"kernels", chosen}, {"threads", std::to_string(cpu::availableThreads())}};
}

std::unique_ptr<Device> openDevice(const DeviceOptions& options) {
  if (options.stream != 0) throw CallError("stream: the CPU has no streams");
  if (options.tf32)
    throw CallError(
        "float32Products: expected \"float32\" on a CPU, got \"tf32\"; TF32 needs the tensor cores of a GPU");
  if (options.index != 0) throw CallError("index: there is one CPU device, 0; got " + std::to_string(options.index));
  const int threads = options.threads > 0 ? options.threads : cpu::availableThreads();
  std::string names;
  for (const auto& set : cpu::instructionSets()) {
    if (options.instructionSet.empty() ? set.supported : set.name == options.instructionSet) {
      if (!set.supported) throw CallError("instructionSet: this CPU does not have " + set.name);
      return std::make_unique<cpu::CpuDevice>(set, threads);
    }
    names += (names.empty() ? "" : ", ") + set.name;
  }
  throw CallError("instructionSet: expected one of " + names + ", got " + options.instructionSet);
}

}  // namespace stepsize
