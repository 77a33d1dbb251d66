// Graphs: the list of the work that a stream captured, replayed as a whole.
#pragma once

#include "runtime_streams.h"

// Launches in flight share the nodes and outlive both handles.
struct CUgraph_st {
  std::shared_ptr<const std::vector<stepsize::emulator::Work>> nodes;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<stepsize::emulator::Work>> nodes;
};
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;

inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found found) {
    const cudaError_t code = whyUnusable();
    return code == cudaSuccess ? found->beginCapture(mode) : code;
  });
}

inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  using namespace stepsize::emulator;
  *graph = nullptr;
  return onStream(stream, [&](Found found) {
    std::vector<Work> nodes;
    const cudaError_t code = found->endCapture(nodes);
    if (code == cudaSuccess) *graph = new CUgraph_st{std::make_shared<const std::vector<Work>>(std::move(nodes))};
    return code;
  });
}

inline cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found found) {
    *status = found->captureStatus();
    return cudaSuccess;
  });
}

inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags = 0) {
  using namespace stepsize::emulator;
  if (const cudaError_t code = whyUnusable()) return report(code);
  if (!graph || flags != 0) return report(cudaErrorInvalidValue);
  if (allocationFails()) return report(cudaErrorMemoryAllocation);
  const Spared spared;
  *exec = new CUgraphExec_st{graph->nodes};
  return report(cudaSuccess);
}

// On a device this uploads what the first launch needs; the emulator needs nothing.
inline cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found) { return exec ? cudaSuccess : cudaErrorInvalidValue; });
}

inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  using namespace stepsize::emulator;
  return onStream(stream, [&](Found found) {
    if (!exec) return cudaErrorInvalidValue;
    return found->add([nodes = exec->nodes] {
      for (const Work& work : *nodes) work();
    });
  });
}

inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return stepsize::emulator::report(graph ? cudaSuccess : cudaErrorInvalidValue);
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return stepsize::emulator::report(exec ? cudaSuccess : cudaErrorInvalidValue);
}
