// What kernels tell of the data they were given: the host's side of fault.h.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "../backend.h"
#include "fault.h"
#include "piece_pool.h"
#include "runtime.h"

namespace stepsize::cuda {

class FaultLog {
 public:
  // The record of faults is cleared in this stream, before all work that comes after.
  FaultLog(PiecePool& deviceMemory, cudaStream_t stream);

  // Where the kernels of this record tell.
  FaultReport reportOf(const Record& record);
  // What was told up to here, to be read when all before in the stream is done, and a clear record for what comes
  // after. Null where no work could tell anything. Throws CudaError.
  std::shared_ptr<const Fault> take(PiecePool& pinnedMemory, cudaStream_t stream);
  // The call and what was wrong with its data; empty where nothing was. May be called on any thread.
  std::string textOf(const Fault& fault);

 private:
  // A call whose kernels may tell something, with the shapes it was made with.
  struct Source {
    OperationId operation;
    std::vector<TensorSpec> inputs;
  };

  DeviceMemory record_;
  std::mutex mutex_;
  std::vector<Source> sources_;  // each once
};

}  // namespace stepsize::cuda
