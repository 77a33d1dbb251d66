// Uploads from the host while the device computes. An upload is first copied to a slot in a separate stream, and from
// there to its destination in the stream of the work, which is a copy inside the device. A direct upload would wait for
// all earlier work, because that may still read the destination. There are two slots, so that one can be filled while
// the other is emptied.
#pragma once

#include <cstddef>

#include "runtime.h"

namespace stepsize::cuda {

// The upload stream of one device and its slots.
class UploadLane {
 public:
  // Shorter uploads would be done before the second stream had started.
  static constexpr size_t kFewestBytes = 64 << 10;

  UploadLane() = default;
  UploadLane(const UploadLane&) = delete;
  UploadLane& operator=(const UploadLane&) = delete;
  ~UploadLane();

  // Copies from pinned memory, which must stay valid until `stream` has done the copy. Later work of `stream` sees the
  // bytes.
  void copy(void* to, const void* from, size_t bytes, cudaStream_t stream);

 private:
  struct Slot {
    void* memory = nullptr;
    size_t bytes = 0;
    Event filled{cudaEventDisableTiming}, emptied{cudaEventDisableTiming};
  };
  // Enlarges a slot; false if the device has no memory for it.
  static bool grow(Slot& slot, size_t bytes);

  Stream stream_;
  Slot slots_[2];
  size_t next_ = 0;
};

}  // namespace stepsize::cuda
