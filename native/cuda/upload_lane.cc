#include "upload_lane.h"

namespace stepsize::cuda {

UploadLane::~UploadLane() {
  cudaStreamSynchronize(stream_.get());
  for (const Slot& slot : slots_) cudaFree(slot.memory);
}

void UploadLane::copy(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  Slot& slot = slots_[next_];
  if (slot.bytes < bytes && !grow(slot, bytes))
    return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "upload");
  next_ = 1 - next_;
  check(cudaStreamWaitEvent(stream_.get(), slot.emptied.get(), 0), "upload");
  check(cudaMemcpyAsync(slot.memory, from, bytes, cudaMemcpyHostToDevice, stream_.get()), "upload");
  check(cudaEventRecord(slot.filled.get(), stream_.get()), "upload");
  check(cudaStreamWaitEvent(stream, slot.filled.get(), 0), "upload");
  check(cudaMemcpyAsync(to, slot.memory, bytes, cudaMemcpyDeviceToDevice, stream), "upload");
  check(cudaEventRecord(slot.emptied.get(), stream), "upload");
}

bool UploadLane::grow(Slot& slot, size_t bytes) {
  check(cudaEventSynchronize(slot.emptied.get()), "upload");
  if (slot.memory != nullptr) cudaFree(slot.memory);
  slot.memory = nullptr;
  slot.bytes = 0;
  if (cudaMalloc(&slot.memory, bytes) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  slot.bytes = bytes;
  return true;
}

}  // namespace stepsize::cuda
