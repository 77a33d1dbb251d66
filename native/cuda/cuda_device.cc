#include "cuda_device.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <map>
#include <string_view>
#include <utility>

#include "operations.h"
#include "reserve.h"

namespace stepsize::cuda {

namespace {

// The most blocks of a grid, as a multiple of those that fill the device: enough that the last ones to run leave little
// of it idle.
constexpr unsigned kWaves = 2;

// Replays that are launched before the caller can notice that its thread is being terminated.
constexpr int64_t kReplaysAtOnce = 64;

// A replay counts as the launches of its graph, but at most as this many. Then a graph with many launches is not
// finished before the next ones are in the queue, and the device does not wait for the host between them.
constexpr int64_t kMaxLaunchesOfReplay = Completion::kMaxLaunches / 4;

// The launches and copies of an upload, and of a read with the log of faults.
constexpr int64_t kLaunchesOfUpload = 3, kLaunchesOfRead = 3;

struct CudaGraph final : CapturedWork {
  int device = 0;
  cudaGraphExec_t executable = nullptr;
  int64_t launches = 0;
  std::vector<std::shared_ptr<void>> uses;
  std::shared_ptr<const Journal::Work> work;

  ~CudaGraph() override {
    const CurrentDevice current(device);
    if (executable != nullptr) cudaGraphExecDestroy(executable);
  }
};

// A captured graph before it is made executable.
struct GraphTemplate {
  cudaGraph_t graph = nullptr;

  GraphTemplate() = default;
  GraphTemplate(const GraphTemplate&) = delete;
  GraphTemplate& operator=(const GraphTemplate&) = delete;
  ~GraphTemplate() {
    if (graph != nullptr) cudaGraphDestroy(graph);
  }
};

// "12.4" from 12040.
std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string endedBy(cudaError_t code) {
  return "the GPU failed in work enqueued earlier: " + cuda::describe(code) +
         ". CUDA cannot be used any more in this process; start a new one";
}

// Throws the error of a call of the runtime as an error that the caller can act on: out of memory, the GPU failed, or
// the call was refused.
[[noreturn]] void rethrow(const CudaError& error) {
  if (error.code == cudaErrorMemoryAllocation) throw OutOfMemory(error.what());
  if (isFatal(error.code)) throw DeviceFailed(endedBy(error.code));
  throw CallError(error.what());
}

std::shared_ptr<Event> timerEvent() {
  try {
    return std::make_shared<Event>(cudaEventDefault);
  } catch (const CudaError& error) {
    rethrow(error);
  }
}

constexpr int kOldestDriver = 13000;
// The first compute capability with bfloat16 tensor cores and asynchronous copies.
constexpr int kOldestCapability = 80;

// Why kernels cannot run on a GPU; empty if they can.
std::string problemOf(int index) {
  // Reading all properties takes milliseconds, and this is called whenever a device is opened.
  int major = 0, minor = 0;
  cudaDeviceProp properties = {};
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index) != cudaSuccess) {
    cudaGetLastError();
    return "";
  }
  if (major * 10 + minor >= kOldestCapability || cudaGetDeviceProperties(&properties, index) != cudaSuccess) return "";
  return std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor) + ", and 8.0 is needed: an A100, an RTX 30 or newer";
}

// Why CUDA cannot be used on this machine; empty if it can.
std::string problem() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return "there is no NVIDIA driver on this machine (libcuda.so.1 was not found)";
  }
  if (driver < kOldestDriver)
    return "the NVIDIA driver is for CUDA " + versionText(driver) +
           ", and CUDA 13 is needed: install driver 580 or newer";
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) {
    cudaGetLastError();
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return visible != nullptr ? "CUDA_VISIBLE_DEVICES=\"" + std::string(visible) + "\" hides all GPUs"
                              : "the driver finds no GPU";
  }
  if (code == cudaSuccess) {
    for (int i = 0; i < count; i++)
      if (problemOf(i).empty()) return "";
    return problemOf(0);
  }
  cudaGetLastError();
  return std::string("the driver failed: ") + cudaGetErrorString(code);
}

}  // namespace

CudaDevice::CudaDevice(int index, uint64_t othersStream) : index_(index), stream_(othersStream) {
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
  const auto most = static_cast<int>(std::min(bytes, properties_.sharedMemPerBlockOptin));
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), "shared memory");
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

void CudaDevice::beginCapture() {
  const CurrentDevice current(index_);
  // Scratch memory of captured work is not shared with other work. Like the memory of its tensors, it is used by one
  // operation after the other.
  auto arena = PiecePool::ofDevice(index_);
  captured_ = {arena};
  journal_.beginCapture();
  // In this mode only this thread captures, and memory may be allocated meanwhile; what is not part of the work stays
  // outside.
  const auto drop = [this] {
    captured_.clear();
    journal_.endCapture();
  };
  try {
    // Tables that are made during the capture may get memory that earlier work still reads.
    check(cudaEventRecord(beforeCapture_.get(), stream_.get()), "capture");
    check(cudaStreamWaitEvent(tableStream_.get(), beforeCapture_.get(), 0), "capture");
    check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeRelaxed), "capture");
  } catch (const CudaError& error) {
    drop();
    rethrow(error);
  } catch (...) {
    drop();
    throw;
  }
  arena_ = std::move(arena);
  launches_ = 0;
  captureError_ = nullptr;
  capturing_ = true;
}

std::shared_ptr<CapturedWork> CudaDevice::endCapture() {
  const CurrentDevice current(index_);
  // The capture ends, whatever fails below.
  auto uses = std::exchange(captured_, {});
  const auto work = journal_.endCapture();
  GraphTemplate recorded;
  const cudaError_t ended = cudaStreamEndCapture(stream_.get(), &recorded.graph);
  capturing_ = false;
  arena_.reset();
  releaseDeferred();
  auto graph = std::make_shared<CudaGraph>();
  graph->device = index_;
  graph->launches = std::exchange(launches_, 0);
  graph->uses = std::move(uses);
  graph->work = work;
  try {
    if (captureError_ && std::string_view(captureError_->code) == "out-of-memory")
      throw OutOfMemory(captureError_->message);
    if (captureError_) throw DeviceFailed(captureError_->message);
    check(ended, "capture");
    check(cudaGraphInstantiate(&graph->executable, recorded.graph, 0), "capture");
    check(cudaGraphUpload(graph->executable, stream_.get()), "capture");
  } catch (const CudaError& error) {
    if (error.code == cudaErrorMemoryAllocation) throw OutOfMemory(error.what());
    throw DeviceFailed(isFatal(error.code) ? endedBy(error.code) : error.what());
  }
  return graph;
}

void CudaDevice::releaseDeferred() noexcept {
  for (void* memory : std::exchange(releasedDuringCapture_, {})) release(memory, 0);
}

int64_t CudaDevice::replay(std::shared_ptr<CapturedWork> captured, int64_t times) {
  if (!completion_) return times;
  const CurrentDevice current(index_);
  const auto* graph = static_cast<const CudaGraph*>(captured.get());
  int64_t given = 0;
  try {
    while (given < std::min(times, kReplaysAtOnce) && (given == 0 || !completion_->isFull())) {
      if (journal_.isFull(graph->work->reporting)) settleLater();
      journal_.makeRoom();
      completion_->makeRoom();
      Reason failure;
      try {
        journal_.beginReplay(*graph->work);
        check(cudaGraphLaunch(graph->executable, stream_.get()), "replay");
      } catch (const CudaError& error) {
        failure = failureOf(error);
      } catch (const std::bad_alloc&) {
        failure = outOfMemory();
      }
      journal_.addReplay(graph->work, std::move(failure));
      // The graph must not be destroyed before its last run has ended.
      completion_->hold(captured);
      completion_->countLaunches(std::clamp<int64_t>(graph->launches, 1, kMaxLaunchesOfReplay));
      given++;
    }
  } catch (const std::bad_alloc&) {
    if (given == 0) throw;
  }
  return given;
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
  if (capturing_) {
    GraphTemplate recorded;
    if (cudaStreamEndCapture(stream_.get(), &recorded.graph) != cudaSuccess) cudaGetLastError();
    capturing_ = false;
    journal_.endCapture();
    releaseDeferred();
  }
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
          {"computeCapability", std::to_string(properties_.major) + "." + std::to_string(properties_.minor)}};
}

}  // namespace stepsize::cuda

namespace stepsize {

#if defined(STEPSIZE_EMULATED)
const char* backendName() { return emulator::backend; }
#else
const char* backendName() { return "cuda"; }
#endif

std::vector<std::pair<std::string, std::string>> describeBackend() {
  int driver = 0, runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  cudaRuntimeGetVersion(&runtime);
  std::vector<std::pair<std::string, std::string>> facts = {
      {"runtime", cuda::versionText(runtime)}, {"driver", driver == 0 ? "none" : cuda::versionText(driver)}};
  const std::string problem = cuda::problem();
  if (!problem.empty()) {
    facts.emplace_back("problem", problem);
    return facts;
  }
  int count = 0;
  cudaGetDeviceCount(&count);
  facts.emplace_back("count", std::to_string(count));
  for (int i = 0; i < count; i++) {
    cudaDeviceProp properties = {};
    if (cudaGetDeviceProperties(&properties, i) == cudaSuccess)
      facts.emplace_back("device " + std::to_string(i), properties.name);
  }
  return facts;
}

std::unique_ptr<Device> openDevice(const DeviceOptions& options) {
  const std::string problem = cuda::problem();
  if (!problem.empty()) throw CallError(problem);
  if (options.threads != 0 || !options.instructionSet.empty())
    throw CallError("threads and instructionSet are options of the CPU");
  int count = 0;
  cudaGetDeviceCount(&count);
  if (options.index >= count)
    throw CallError("index: this machine has " + std::to_string(count) + " GPUs, from 0 on; got " +
                    std::to_string(options.index));
  if (const std::string why = cuda::problemOf(options.index); !why.empty()) throw CallError("index: " + why);
  const cuda::CurrentDevice current(options.index);
  try {
    current.expectChosen();
    return std::make_unique<cuda::CudaDevice>(options.index, options.stream);
  } catch (const cuda::CudaError& error) {
    cuda::rethrow(error);
  }
}

}  // namespace stepsize
