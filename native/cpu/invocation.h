// The argument of a CPU kernel. Kernel files are compiled once per instruction set and use no STL: a library template
// that is instantiated in one of them could become the copy that the whole program uses, with instructions that the
// machine lacks.
#pragma once

#include "../tensor_spec.h"

namespace stepsize {

// The body of a parallel loop.
using Body = void (*)(void* context, int64_t index);

// A list operand.
struct TensorListView {
  const TensorView* tensors;
  const uint32_t* places;  // null if each tensor's place is its index
  int64_t count;
};

// A call of a kernel: tensors, attributes, threads and scratch memory.
class Invocation {
 public:
  const TensorView* tensors;  // inputs, then outputs
  int inputs;
  int outputs;
  const TensorListView* lists;
  int listCount;
  const double* attributes;
  int threads;  // of the device

  STEPSIZE_INLINE const TensorView& input(int index) const { return tensors[index]; }
  STEPSIZE_INLINE const TensorView& output(int index) const { return tensors[inputs + index]; }
  STEPSIZE_INLINE int64_t integer(int attribute) const { return static_cast<int64_t>(attributes[attribute]); }
  STEPSIZE_INLINE float number(int attribute) const { return static_cast<float>(attributes[attribute]); }

  // Calls body for every index below count on the device's threads and returns when all calls are done. Any thread may
  // take any index, so an index must stand for the same work whatever the number of threads. An exception of body ends
  // the work on all threads and is thrown here.
  virtual void parallel(int64_t count, Body body, void* context) const = 0;
  // New memory that lasts for this invocation and is shared by its threads, 64-byte aligned. workspace() and scratch()
  // throw std::bad_alloc, which a kernel passes on.
  virtual void* workspace(int64_t bytes) const = 0;
  // Scratch memory of the calling thread, kScratchFloats floats.
  virtual float* scratch() const = 0;
  // Reports that the data made the operation fail; the first report becomes its error. `format` has one %lld per
  // number.
  virtual void fail(const char* format, long long a, long long b, long long c) const = 0;

 protected:
  ~Invocation() = default;
};

// The floats of scratch memory per thread.
constexpr int64_t kScratchFloats = 1 << 19;

using Kernel = void (*)(const Invocation&);

}  // namespace stepsize
