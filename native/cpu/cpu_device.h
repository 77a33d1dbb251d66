// The CPU as a device: a thread that executes records in order and uses the thread pool of the process.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "../backend.h"
#include "../spoiled_memory.h"
#include "instruction_sets.h"
#include "memory.h"
#include "task_queue.h"

namespace stepsize::cpu {

// Captured records in order.
struct CpuCapturedWork final : CapturedWork {
  std::vector<Record> records;
};

// A CPU device with the kernels of one instruction set.
class CpuDevice final : public Device {
 public:
  CpuDevice(const InstructionSet& set, int threads);
  ~CpuDevice() override;

  void* acquire(int64_t bytes) override;
  void release(void* memory, int64_t bytes) noexcept override;
  int64_t freeMemory() const override;
  // Kernels need no memory of the device: they use the stack or ask the system.
  void whenShort(std::function<void()>) override {}
  void enqueue(Record record) override;
  Reason run(Record record) override;
  void upload(void* to, const std::byte* from, size_t bytes) override;
  void renew(void* memory, int64_t bytes) override;
  void read(void* to, const void* from, int64_t bytes, Done done) override;
  void notify(Done done) override;
  void beginCapture() override;
  std::shared_ptr<CapturedWork> endCapture() override;
  int64_t replay(std::shared_ptr<CapturedWork> captured, int64_t times) override;
  bool awaitRoom(std::chrono::milliseconds atMost) override { return queue_.awaitRoom(atMost); }
  void startTimer() override;
  std::shared_ptr<const double> stopTimer() override;
  bool usesHostMemory() const override { return true; }
  void expectDeviceMemory(uint64_t address, int64_t bytes) const override;
  void waitForEvent(uint64_t event) override;
  uint64_t recordEvent() override;
  uint64_t streamHandle() const override;
  void abandon() override;
  std::vector<std::pair<std::string, std::string>> describe() const override;

 private:
  // Releases the memory that a task gives back, if any.
  void giveBack(const Task& task) noexcept;
  // Enqueues a task; once the queue is closed, only releases its memory.
  void push(Task task) noexcept;
  // The body of the device's thread.
  void loop() noexcept;
  // Runs a record unless it reads spoiled memory, and updates spoiled_.
  Reason execute(const Record& record) noexcept;
  // Runs a record and returns the reason if it fails.
  Reason tryRecord(const Record& record) noexcept;

  SlabMemory memory_;
  const InstructionSet& set_;
  const int threads_;
  std::vector<GrowingBuffer> workspaces_;
  SpoiledMemory spoiled_;  // used by the device's thread alone
  std::chrono::steady_clock::time_point timerStart_;
  std::shared_ptr<CpuCapturedWork> capture_;

  TaskQueue queue_;
  std::atomic<int> releasing_{0};  // releases that wait in the queue
  std::thread thread_;
};

}  // namespace stepsize::cpu
