#include "cuda_device.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <utility>

#include "operations.h"
#include "reserve.h"

namespace stepsize::cuda {

namespace {

// Limit of the blocks of a grid, as a multiple of those that fill the device: enough that the last ones to run leave
// little of it idle.
constexpr unsigned kWaves = 2;

// The launches and copies of an upload, and of a read with the log of faults.
constexpr int64_t kLaunchesOfUpload = 3, kLaunchesOfRead = 3;

std::shared_ptr<Event> timerEvent() {
  try {
    return std::make_shared<Event>(cudaEventDefault);
  } catch (const CudaError& error) {
    rethrow(error);
  }
}

}  // namespace

std::string endedBy(cudaError_t code) {
  return "the GPU failed in work enqueued earlier: " + cuda::describe(code) +
         ". CUDA cannot be used any more in this process; start a new one";
}

void rethrow(const CudaError& error) {
  if (error.code == cudaErrorMemoryAllocation) throw OutOfMemory(error.what());
  if (isFatal(error.code)) throw DeviceFailed(endedBy(error.code));
  throw CallError(error.what());
}

CudaDevice::CudaDevice(int index, uint64_t othersStream, bool tf32)
    : index_(index), tf32_(tf32), stream_(othersStream) {
  check(cudaGetDeviceProperties(&properties_, index), "the device's properties");
  maxBlocks_ = static_cast<unsigned>(properties_.multiProcessorCount * properties_.maxBlocksPerMultiProcessor) * kWaves;
  completion_ = std::make_unique<Completion>(index, stream_.get());
}

CudaDevice::~CudaDevice() {
  try {
    abandon();
  } catch (const std::exception&) {
    // A destructor cannot report this. What could not be released is released with the process.
  }
}

void* CudaDevice::acquire(int64_t bytes) {
  const CurrentDevice current(index_);
  const auto attempt = [bytes]() -> void* {
    void* memory = nullptr;
    const cudaError_t code = cudaMalloc(&memory, static_cast<size_t>(bytes));
    if (code == cudaSuccess) return memory;
    cudaGetLastError();
    if (code == cudaErrorMemoryAllocation) return nullptr;
    throw DeviceFailed(isFatal(code) ? endedBy(code) : "memory: " + cuda::describe(code));
  };
  if (void* memory = attempt()) return memory;
  awaitReleased();
  return attempt();
}

void CudaDevice::awaitReleased() {
  if (capturing_) {
    // All of this memory was last used before the capture: memory that captured work uses is not released before the
    // capture ends.
    cudaEventSynchronize(beforeCapture_.get());
    for (void* memory : std::exchange(releasedDuringCapture_, {})) cudaFree(memory);
    return;
  }
  // Memory that was released before may still be waiting for its turn.
  std::promise<void> released;
  completion_->whenDone([&](cudaError_t) { released.set_value(); });
  released.get_future().wait();
}

void CudaDevice::release(void* memory, int64_t bytes) noexcept {
  const CurrentDevice current(index_);
  try {
    journal_.makeRoom();
    journal_.addWrite(memory, bytes, nullptr);
  } catch (const std::bad_alloc&) {
    // If the memory is spoiled it stays so until its next owner writes it.
  }
  // After abandon() nothing runs any more.
  if (!completion_) {
    cudaFree(memory);
    return;
  }
  try {
    // Recording an event in the stream would make it part of the capture.
    if (capturing_)
      releasedDuringCapture_.push_back(memory);
    else
      completion_->whenDone([memory](cudaError_t) { cudaFree(memory); });
  } catch (const std::bad_alloc&) {
    // If there is no memory to note it, wait for the work that may use it. A capture uses nothing that is released.
    if (capturing_)
      cudaEventSynchronize(beforeCapture_.get());
    else
      cudaStreamSynchronize(stream_.get());
    cudaFree(memory);
  }
}

int64_t CudaDevice::freeMemory() const {
  const CurrentDevice current(index_);
  size_t free = 0, total = 0;
  return cudaMemGetInfo(&free, &total) == cudaSuccess ? static_cast<int64_t>(free) : -1;
}

Reason CudaDevice::failureOf(const CudaError& error, const Record* record) noexcept {
  const bool isOwn = isFatal(error.code);
  Reason failure = outOfMemory();
  try {
    const std::string what = record == nullptr ? "" : stepsize::describe(*record) + ": ";
    const std::string text = isOwn ? endedBy(error.code) : what + error.what();
    const bool isMemory = error.code == cudaErrorMemoryAllocation;
    failure = std::make_shared<const Failure>(Failure{isMemory ? "out-of-memory" : "device-failed", text});
  } catch (const std::bad_alloc&) {
    // The reason stays outOfMemory().
  }
  // A record that was not captured would be missing in every replay, so the whole capture has failed.
  if (capturing_ && !captureError_) captureError_ = failure;
  if (isOwn) {
    const std::lock_guard lock(failureMutex_);
    if (!failure_) failure_ = failure;
  }
  return failure;
}

Reason CudaDevice::ownFailure(cudaError_t outcome) noexcept {
  const std::lock_guard lock(failureMutex_);
  if (failure_ || outcome == cudaSuccess) return failure_;
  Reason failure = outOfMemory();
  try {
    failure = std::make_shared<const Failure>(Failure{"device-failed", endedBy(outcome)});
  } catch (const std::bad_alloc&) {
    // The reason stays outOfMemory().
  }
  if (isFatal(outcome)) failure_ = failure;
  return failure;
}

void CudaDevice::enqueue(Record record) {
  if (!completion_) return;
  const CurrentDevice current(index_);
  if (!capturing_ && journal_.isFull(1)) settleLater();
  // A launch must be noted. From here on, noting it needs no memory.
  journal_.makeRoom();
  if (capturing_) reserveMore(captured_, 2 * record.lists.size());
  Reason failure;
  try {
    launcherFor(record.id)(*this, record);
    check(cudaGetLastError(), "launch");
  } catch (const CudaError& error) {
    if (error.code == cudaErrorMemoryAllocation) {
      journal_.leaveOut();
      throw OutOfMemory(stepsize::describe(record) + ": " + error.what());
    }
    failure = failureOf(error, &record);
  } catch (...) {
    journal_.leaveOut();
    throw;
  }
  if (capturing_)
    for (const auto& list : record.lists)
      if (const auto tables = std::static_pointer_cast<ListTables>(list->backend)) {
        captured_.push_back(tables->addresses);
        captured_.push_back(std::const_pointer_cast<ChunkTable>(tables->chunks));
      }
  journal_.add(std::move(record), std::move(failure));
  if (!capturing_) completion_->countLaunches(std::exchange(launches_, 0));
}

Reason CudaDevice::run(Record record) {
  throw CallError(stepsize::describe(record) + ": the host's memory cannot be used on this device");
}

void CudaDevice::settleLater() noexcept {
  if (journal_.isEmpty()) return;
  try {
    const auto taken = std::make_shared<std::shared_ptr<const Journal::Segment>>();
    auto settling =
        Completion::prepare([this, taken](cudaError_t outcome) { journal_.settle(**taken, outcome == cudaSuccess); });
    *taken = journal_.take();
    if (*taken) completion_->whenDone(std::move(settling));
  } catch (const CudaError&) {
    // The entries stay in the journal and are settled later.
  } catch (const std::bad_alloc&) {
    // Likewise.
  }
}

DeviceMemory CudaDevice::acquireFrom(PiecePool& pool, size_t bytes) {
  try {
    return pool.acquire(bytes);
  } catch (const CudaError& error) {
    if (error.code != cudaErrorMemoryAllocation || !releaseCached_) throw;
  }
  releaseCached_();
  awaitReleased();
  return pool.acquire(bytes);
}

DeviceMemory CudaDevice::scratch(size_t bytes) { return acquireFrom(capturing_ ? *arena_ : *tableMemory_, bytes); }

void CudaDevice::allowShared(const void* kernel, size_t bytes) {
  if (allowedShared_.count(kernel) != 0) return;
  const auto maxBytes = static_cast<int>(std::min(bytes, properties_.sharedMemPerBlockOptin));
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, maxBytes), "shared memory");
  // A multiprocessor divides its memory between the L1 cache and shared memory. By default the driver may leave room
  // for fewer blocks than would fit.
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
        "shared memory");
  allowedShared_.insert(kernel);
}

DeviceMemory CudaDevice::uploadTable(const void* from, size_t bytes) {
  // A captured copy would read its source again at every replay, so during a capture the table is copied in another
  // stream.
  DeviceMemory table = acquireFrom(*tableMemory_, bytes);
  if (bytes == 0) return table;
  completion_->makeRoom();
  const PinnedMemory staged = staging_->acquire(bytes);
  std::memcpy(staged.get(), from, bytes);
  const cudaStream_t stream = capturing_ ? tableStream_.get() : stream_.get();
  check(cudaMemcpyAsync(table.get(), staged.get(), bytes, cudaMemcpyHostToDevice, stream), "a table");
  if (capturing_)
    check(cudaStreamSynchronize(stream), "a table");
  else
    completion_->hold(staged, bytes);
  return table;
}

void CudaDevice::upload(void* to, const std::byte* from, size_t bytes) {
  if (!completion_) return;
  const CurrentDevice current(index_);
  journal_.makeRoom();
  completion_->makeRoom();
  PinnedMemory staged;
  Reason failure;
  if (bytes > 0) try {
      staged = staging_->acquire(bytes);
      std::memcpy(staged.get(), from, bytes);
      if (bytes >= UploadLane::kFewestBytes)
        lane_.copy(to, staged.get(), bytes, stream_.get());
      else
        check(cudaMemcpyAsync(to, staged.get(), bytes, cudaMemcpyHostToDevice, stream_.get()), "upload");
    } catch (const CudaError& error) {
      failure = failureOf(error);
    } catch (const std::bad_alloc&) {
      failure = outOfMemory();
    }
  if (staged) completion_->hold(std::move(staged), bytes);
  completion_->countLaunches(kLaunchesOfUpload);
  journal_.addWrite(to, static_cast<int64_t>(bytes), std::move(failure));
}

void CudaDevice::renew(void* memory, int64_t bytes) {
  journal_.makeRoom();
  journal_.addWrite(memory, bytes, nullptr);
}

void CudaDevice::read(void* to, const void* from, int64_t bytes, Done done) {
  if (!completion_) return;
  const CurrentDevice current(index_);
  const auto size = static_cast<size_t>(bytes);
  struct Reading {
    PinnedMemory staged;
    std::shared_ptr<const Journal::Segment> segment;
    Reason failure;
  };
  const auto reading = std::make_shared<Reading>();
  auto prepared = Completion::prepare([=, this, done = std::move(done)](cudaError_t outcome) {
    if (reading->segment) journal_.settle(*reading->segment, outcome == cudaSuccess);
    if (outcome == Completion::kAbandoned) return;
    Reason reason = ownFailure(outcome);
    if (!reason) reason = reading->failure ? reading->failure : journal_.reasonOf(from, bytes);
    if (!reason && size > 0) std::memcpy(to, reading->staged.get(), size);
    done(std::move(reason));
  });
  try {
    if (size > 0) {
      reading->staged = staging_->acquire(size);
      check(cudaMemcpyAsync(reading->staged.get(), from, size, cudaMemcpyDeviceToHost, stream_.get()), "download");
    }
    reading->segment = journal_.take();
  } catch (const CudaError& error) {
    reading->failure = failureOf(error);
  } catch (const std::bad_alloc&) {
    reading->failure = outOfMemory();
  }
  completion_->countLaunches(kLaunchesOfRead);
  completion_->whenDone(std::move(prepared));
}

void CudaDevice::notify(Done done) {
  if (!completion_) return;
  const CurrentDevice current(index_);
  settleLater();
  completion_->whenDone([this, done = std::move(done)](cudaError_t outcome) {
    if (outcome != Completion::kAbandoned) done(ownFailure(outcome));
  });
}

void CudaDevice::startTimer() {
  const CurrentDevice current(index_);
  timerStart_ = timerEvent();
  cudaEventRecord(timerStart_->get(), stream_.get());
}

std::shared_ptr<const double> CudaDevice::stopTimer() {
  const CurrentDevice current(index_);
  if (!timerStart_) throw CallError("stopTimer: no timer was started");
  const auto stop = timerEvent();
  cudaEventRecord(stop->get(), stream_.get());
  auto milliseconds = std::make_shared<double>(0);
  completion_->whenDone([milliseconds, stop, start = timerStart_](cudaError_t outcome) {
    float elapsed = 0;
    if (outcome == cudaSuccess && cudaEventElapsedTime(&elapsed, start->get(), stop->get()) == cudaSuccess)
      *milliseconds = static_cast<double>(elapsed);
  });
  return milliseconds;
}

void CudaDevice::expectDeviceMemory(uint64_t address, int64_t bytes) const {
  if (bytes == 0) return;
  const CurrentDevice current(index_);
  // Only the first and last byte are checked. They may belong to two adjacent allocations; for the bytes between, the
  // owner's word is taken.
  for (const uint64_t place : {address, address + static_cast<uint64_t>(bytes) - 1}) {
    cudaPointerAttributes attributes = {};
    const auto* pointer = reinterpret_cast<const void*>(place);  // NOLINT(performance-no-int-to-ptr)
    const cudaError_t code = cudaPointerGetAttributes(&attributes, pointer);
    if (code != cudaSuccess) cudaGetLastError();
    const bool reachable = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    if (code != cudaSuccess || !reachable || attributes.device != index_)
      throw CallError("devicePointer: " + std::to_string(bytes) + " bytes at " + std::to_string(address) +
                      " are not memory of this device");
  }
}

void CudaDevice::waitForEvent(uint64_t event) {
  const CurrentDevice current(index_);
  try {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the handle is another program's.
    check(cudaStreamWaitEvent(stream_.get(), reinterpret_cast<cudaEvent_t>(event), 0), "event");
  } catch (const CudaError& error) {
    rethrow(error);
  }
}

uint64_t CudaDevice::recordEvent() {
  const CurrentDevice current(index_);
  try {
    check(cudaEventRecord(shared_.get(), stream_.get()), "event");
  } catch (const CudaError& error) {
    rethrow(error);
  }
  return reinterpret_cast<uint64_t>(shared_.get());
}

void CudaDevice::abandon() {
  if (!completion_) return;
  const CurrentDevice current(index_);
  if (capturing_) dropCapture();
  cudaStreamSynchronize(stream_.get());
  completion_->finish();
  completion_.reset();
}

std::vector<std::pair<std::string, std::string>> CudaDevice::describe() const {
  char memory[32];
  std::snprintf(memory, sizeof memory, "%.1f GB", static_cast<double>(properties_.totalGlobalMem) / 1e9);
  return {{"name", properties_.name},
          {"memory", memory},
          {"l2Bytes", std::to_string(properties_.l2CacheSize)},
          {"multiprocessors", std::to_string(properties_.multiProcessorCount)},
          {"computeCapability", std::to_string(properties_.major) + "." + std::to_string(properties_.minor)},
          {"float32Products", tf32_ ? "tf32" : "float32"}};
}

}  // namespace stepsize::cuda
