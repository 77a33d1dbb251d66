// The CPU as a device: a worker thread that executes records in order, on the process' pool of threads.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "../backend.h"
#include "../spoiled_memory.h"
#include "instruction_sets.h"
#include "memory.h"

namespace stepsize::cpu {

// A captured piece of work: its records in order.
struct RecordedWork final : Graph {
  std::vector<Record> records;
};

class CpuDevice final : public Device {
 public:
  CpuDevice(const InstructionSet& set, int threads);
  ~CpuDevice() override;

  bool implements(OperationId id) const override;
  void* acquire(int64_t bytes) override { return memory_.acquire(bytes); }
  void release(void* memory, int64_t bytes) override;
  int64_t freeMemory() const override;
  // Kernels have what they need on the stack or of the system.
  void whenShort(std::function<void()>) override {}
  void enqueue(Record record) override;
  Reason run(Record record) override;
  void upload(void* to, const std::byte* from, size_t bytes) override;
  void renew(void* memory, int64_t bytes) override;
  void read(void* to, const void* from, int64_t bytes, Done done) override;
  void notify(Done done) override;
  void beginCapture() override;
  std::shared_ptr<Graph> endCapture() override;
  void replay(std::shared_ptr<Graph> graph, int64_t times) override;
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
  struct Task {
    std::function<void()> run;
    void* releases = nullptr;  // memory to give back, also when the queue is abandoned
    int64_t releasedBytes = 0;
  };
  void giveBack(const Task& task);
  void push(Task task);
  void loop();
  Reason execute(const Record& record);
  // Why the record fails, if it does.
  Reason tryRecord(const Record& record);

  SlabMemory memory_;
  const InstructionSet& set_;
  const int threads_;
  std::vector<GrowingBuffer> workspaces_;
  SpoiledMemory spoiled_;  // the device's thread uses it alone
  std::chrono::steady_clock::time_point timerStart_;
  std::shared_ptr<RecordedWork> capture_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace stepsize::cpu
