// The limit of a kernel's shared memory: the default, or what cudaFuncSetAttribute allowed.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>

#include "settings.h"

namespace stepsize::emulator {

// The dynamic shared memory of a launch, and the limit of its kernel for all shared memory.
struct SharedBytes {
  size_t dynamic, limit;
};

// The limits of all kernels.
class SharedAllowances {
 public:
  void allow(const void* kernel, size_t bytes) {
    const std::lock_guard lock(mutex_);
    allowed_[kernel] = bytes;
  }
  size_t of(const void* kernel) {
    const std::lock_guard lock(mutex_);
    const auto found = allowed_.find(kernel);
    return std::max(settings().sharedLimit, found == allowed_.end() ? 0 : found->second);
  }

 private:
  std::mutex mutex_;
  std::map<const void*, size_t> allowed_;
};

inline SharedAllowances& sharedAllowances() {
  static SharedAllowances allowances;
  return allowances;
}

}  // namespace stepsize::emulator
