// What a CPU kernel is called with. Free of the STL: kernel files are compiled once per instruction set, and a library
// template instantiated there could end up as the whole program's copy, with instructions the machine lacks.
#pragma once

#include "../tensor_spec.h"

namespace stepsize {

using Body = void (*)(void* context, int64_t index);

struct TensorListView {
  const TensorView* tensors;
  const uint32_t* places;  // null if each tensor has its own index
  int64_t count;
};

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

  // Calls body for every index below count, on the device's threads; returns when all are done. Which thread takes
  // which index is not fixed, so an index must stand for the same work whatever the number of threads. What body throws
  // on any thread ends the work on all of them and is thrown here.
  virtual void parallel(int64_t count, Body body, void* context) const = 0;
  // A new piece of memory that lasts for this invocation, shared by its threads, 64-byte aligned. Throws
  // std::bad_alloc, as scratch() does: a kernel lets it pass.
  virtual void* workspace(int64_t bytes) const = 0;
  // kScratchFloats of the calling thread's own.
  virtual float* scratch() const = 0;
  // Reports that the data made the operation fail; the first report becomes its error. format: one %lld per value.
  virtual void fail(const char* format, long long a, long long b, long long c) const = 0;

 protected:
  ~Invocation() = default;
};

constexpr int64_t kScratchFloats = 1 << 19;

using Kernel = void (*)(const Invocation&);

}  // namespace stepsize
