// Launches kernels, and declares shared memory.
#pragma once

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "failing_allocations.h"
#include "grid.h"

// The object behind a cudaStream_t. A stream decides what happens to a launch. This base class runs it at once and
// throws its errors. The streams of runtime_streams.h derive from it, queue the work and remember errors.
struct CUstream_st {
  CUstream_st() = default;
  CUstream_st(const CUstream_st&) = delete;
  CUstream_st& operator=(const CUstream_st&) = delete;
  virtual ~CUstream_st() = default;
  virtual void submit(const std::function<void()>& work) { work(); }
  // Handles a launch that a device would not start.
  virtual void refuse(const stepsize::emulator::Error& error) { throw error; }
};
using cudaStream_t = CUstream_st*;

namespace stepsize::emulator {

constexpr size_t kMaxParameterBytes = 4096;

// A launch with its parameters as bytes.
struct KernelCall {
  const void* kernel;
  dim3 grid, block;
  size_t sharedBytes;
  std::vector<std::vector<char>> parameters;
};
// Set by the PTX interpreter if it is linked in: makes the work of a launch, which then does not call the kernel.
inline std::function<void()> (*interpretedWork)(KernelCall call) = nullptr;
// The name of the backend.
inline const char* backend = "cuda-emulated";

template <class T>
std::vector<char> bytesOf(const T& value) {
  const auto* begin = reinterpret_cast<const char*>(&value);
  // NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are parameters too.
  return {begin, begin + sizeof value};
}

// Launches a kernel in a stream; null runs it at once.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t sharedBytes, cudaStream_t stream,
            Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<std::decay_t<Parameters>> && ...), "parameters are copied as bytes");
  // NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are parameters too.
  static_assert((size_t{0} + ... + sizeof(Parameters)) <= kMaxParameterBytes, "too many bytes of parameters");
  const Spared spared;
  const SharedBytes shared{sharedBytes, sharedAllowances().of(reinterpret_cast<const void*>(kernel))};
  try {
    checkLaunch(grid, block, shared);
  } catch (const Error& error) {
    if (!stream) throw;
    return stream->refuse(error);
  }
  // Arguments are copied, as on a device: a recorded launch uses their values at the time of the launch.
  const std::tuple<std::decay_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
  std::function<void()> work;
  if (interpretedWork) {
    std::vector<std::vector<char>> bytes;
    std::apply([&](const auto&... each) { (bytes.push_back(bytesOf(each)), ...); }, values);
    work = interpretedWork({reinterpret_cast<const void*>(kernel), grid, block, sharedBytes, std::move(bytes)});
  } else {
    work = [kernel, grid, block, shared, values] {
      const auto call = [&] { std::apply(kernel, values); };
      using Call = decltype(call);
      runGrid(grid, block, shared, {[](const void* closure) { (*static_cast<Call*>(closure))(); }, &call});
    };
  }
  if (stream)
    stream->submit(work);
  else
    work();
}

}  // namespace stepsize::emulator

// NOLINTBEGIN(bugprone-macro-parentheses): a type takes no parentheses.
// The static variable of the lambda has a different address for each declaration and each instantiation of a template.
#define STEPSIZE_EMULATED_SHARED(type, name, dims)                                                \
  using name##Type = type dims;                                                                   \
  name##Type& name = *reinterpret_cast<name##Type*>(::stepsize::emulator::runner->sharedVariable( \
      []() -> const void* {                                                                       \
        static const char tag = 0;                                                                \
        return &tag;                                                                              \
      }(),                                                                                        \
      sizeof(name##Type), alignof(name##Type)))
#define STEPSIZE_EMULATED_DYNAMIC_SHARED(type, name) \
  type* name = reinterpret_cast<type*>(::stepsize::emulator::runner->shared.dynamic())
// NOLINTEND(bugprone-macro-parentheses)
