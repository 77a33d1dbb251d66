// Runs a float32 kernel on bfloat16 tensors: the kernel gets float32 copies of its inputs, and its results are rounded
// once. A second set of kernels would save the copies, 6 more bytes per element. That is not worth the code, because
// bfloat16 on a CPU is only there to match a GPU's.
#pragma once

#include "elementwise.h"

namespace stepsize::STEPSIZE_ISA {

// The same call with other tensors.
class WidenedInvocation final : public Invocation {
 public:
  WidenedInvocation(const Invocation& call, const TensorView* widened) : call_(call) {
    tensors = widened;
    inputs = call.inputs;
    outputs = call.outputs;
    lists = call.lists;
    listCount = call.listCount;
    attributes = call.attributes;
    threads = call.threads;
  }
  void parallel(int64_t count, Body body, void* context) const override { call_.parallel(count, body, context); }
  void* workspace(int64_t bytes) const override { return call_.workspace(bytes); }
  float* scratch() const override { return call_.scratch(); }
  void fail(const char* format, long long a, long long b, long long c) const override { call_.fail(format, a, b, c); }

 private:
  const Invocation& call_;
};

STEPSIZE_INLINE bool hasBFloat16(const Invocation& call) {
  for (int i = 0; i < call.inputs + call.outputs; i++)
    if (call.tensors[i].type == DataType::bfloat16) return true;
  return false;
}

inline void runWidened(Kernel kernel, const Invocation& call) {
  const int count = call.inputs + call.outputs;
  auto* widened = static_cast<TensorView*>(call.workspace(count * static_cast<int64_t>(sizeof(TensorView))));
  for (int i = 0; i < count; i++) {
    const TensorView& own = call.tensors[i];
    widened[i] = own;
    if (own.type != DataType::bfloat16) continue;
    widened[i].type = DataType::float32;
    widened[i].data = call.workspace(most(1, own.elements()) * static_cast<int64_t>(sizeof(float)));
    if (i < call.inputs) castElements(call, own.as<BFloat16>(), widened[i].floats(), own.elements());
  }
  kernel(WidenedInvocation(call, widened));
  for (int i = call.inputs; i < count; i++)
    if (call.tensors[i].type == DataType::bfloat16)
      castElements(call, widened[i].floats(), call.tensors[i].as<BFloat16>(), widened[i].elements());
}

}  // namespace stepsize::STEPSIZE_ISA
