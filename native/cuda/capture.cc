// Capturing work as a CUDA graph, and replaying it.
#include <algorithm>
#include <string_view>
#include <utility>

#include "cuda_device.h"

namespace stepsize::cuda {

namespace {

// Replays that are launched before the caller can notice that its thread is being terminated.
constexpr int64_t kReplaysAtOnce = 64;

// A replay counts as the launches of its graph, but at most as this many. Then a graph with many launches is not
// finished before the next ones are in the queue, and the device does not wait for the host between them.
constexpr int64_t kMaxLaunchesOfReplay = Completion::kMaxLaunches / 4;

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

}  // namespace

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

void CudaDevice::dropCapture() noexcept {
  GraphTemplate recorded;
  if (cudaStreamEndCapture(stream_.get(), &recorded.graph) != cudaSuccess) cudaGetLastError();
  capturing_ = false;
  journal_.endCapture();
  releaseDeferred();
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

}  // namespace stepsize::cuda
