// A GPU as a device: records become kernel launches in one stream. The host does not wait for the kernels.
#pragma once

#include <unordered_set>

#include "../backend.h"
#include "completion.h"
#include "journal.h"
#include "list_tables.h"
#include "piece_pool.h"
#include "runtime.h"
#include "upload_lane.h"

namespace stepsize::cuda {

// The message of a fatal error.
std::string endedBy(cudaError_t code);
// Throws the error of a call of the runtime as an error that the caller can act on: out of memory, the GPU failed, or
// the call was refused.
[[noreturn]] void rethrow(const CudaError& error);

// A CUDA device with its stream, memory pools and journal.
class CudaDevice final : public Device {
 public:
  // `othersStream` is a caller-owned stream to work in, or 0. `tf32` says whether products of float32 are in TF32.
  CudaDevice(int index, uint64_t othersStream, bool tf32);
  ~CudaDevice() override;

  void* acquire(int64_t bytes) override;
  void release(void* memory, int64_t bytes) noexcept override;
  int64_t sharedSegmentBytes() const override { return sharedSegment(); }
  int64_t freeMemory() const override;
  void whenShort(std::function<void()> release) override { releaseCached_ = std::move(release); }
  bool awaitRoom(std::chrono::milliseconds atMost) override { return !completion_ || completion_->awaitRoom(atMost); }
  void enqueue(Record record) override;
  Reason run(Record record) override;
  void upload(void* to, const std::byte* from, size_t bytes) override;
  void renew(void* memory, int64_t bytes) override;
  void read(void* to, const void* from, int64_t bytes, Done done) override;
  void notify(Done done) override;
  void beginCapture() override;
  std::shared_ptr<CapturedWork> endCapture() override;
  int64_t replay(std::shared_ptr<CapturedWork> captured, int64_t times) override;
  void startTimer() override;
  std::shared_ptr<const double> stopTimer() override;
  bool usesHostMemory() const override { return false; }
  void expectDeviceMemory(uint64_t address, int64_t bytes) const override;
  void waitForEvent(uint64_t event) override;
  uint64_t recordEvent() override;
  uint64_t streamHandle() const override { return reinterpret_cast<uint64_t>(stream_.get()); }
  void abandon() override;
  std::vector<std::pair<std::string, std::string>> describe() const override;

  // For launchers: the stream for one launch or copy, which is counted; the number of blocks that fill the device, the
  // tables of lists, and memory for the length of a record.
  cudaStream_t stream() {
    launches_++;
    return stream_.get();
  }
  unsigned maxBlocks() const { return maxBlocks_; }
  bool usesTf32() const { return tf32_; }
  TableCache& tables() { return tables_; }
  DeviceMemory scratch(size_t bytes);
  // Allows a kernel this much dynamic shared memory, or as much as the device has, and asks for as little L1 cache as
  // possible. It is requested once per kernel and applies to all launches on this GPU.
  void allowShared(const void* kernel, size_t bytes);
  // The most shared memory that a block can have.
  size_t maxShared() const { return properties_.sharedMemPerBlockOptin; }
  // What the kernels of the record that is being launched need to report faults in the data.
  FaultReport faults() { return journal_.report(); }
  // Copies a table to device memory. The table is valid for all work that is enqueued or captured from now on.
  DeviceMemory uploadTable(const void* from, size_t bytes);

 private:
  // The reason that spoils what a failed call should have written. A fatal error is also kept as the device's own
  // failure; during a capture the error becomes that of the capture.
  Reason failureOf(const CudaError& error, const Record* record = nullptr) noexcept;
  // The device's own failure, given the outcome of waiting for the stream; null if there is none.
  Reason ownFailure(cudaError_t outcome) noexcept;
  // Settles the journal of the work so far when that work is done.
  void settleLater() noexcept;
  // Ends a capture whose work is not needed.
  void dropCapture() noexcept;
  // Releases what was released during a capture that has ended.
  void releaseDeferred() noexcept;
  void awaitReleased();
  DeviceMemory acquireFrom(PiecePool& pool, size_t bytes);

  const int index_;
  const bool tf32_;
  cudaDeviceProp properties_ = {};
  unsigned maxBlocks_ = 0;
  std::unordered_set<const void*> allowedShared_;  // kernels that may use the shared memory they need
  Stream stream_;
  // A stream for work that must be done before a capture is replayed and cannot be part of it.
  Stream tableStream_;
  const std::shared_ptr<PiecePool> tableMemory_ = PiecePool::ofDevice(index_);
  const std::shared_ptr<PiecePool> staging_ = PiecePool::ofPinnedMemory(index_);
  std::function<void()> releaseCached_;
  UploadLane lane_;
  Journal journal_{*tableMemory_, *staging_, stream_.get()};
  TableCache tables_{*this};
  Event shared_{cudaEventDisableTiming}, beforeCapture_{cudaEventDisableTiming};
  std::shared_ptr<Event> timerStart_;
  int64_t launches_ = 0;  // that completion_ has not counted: of the record that is being launched, or of the capture
  std::vector<std::shared_ptr<void>> captured_;  // objects that the work being captured uses
  std::vector<void*> releasedDuringCapture_;     // memory released during a capture
  bool capturing_ = false;
  Reason captureError_;               // the first error of the capture
  std::shared_ptr<PiecePool> arena_;  // scratch memory of the capture in progress
  std::mutex failureMutex_;
  Reason failure_;  // the device's own failure
  // Declared last, so that its thread ends first.
  std::unique_ptr<Completion> completion_;
};

}  // namespace stepsize::cuda
