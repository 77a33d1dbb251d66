// How much shared memory a kernel may have: what all have, or what it was allowed by cudaFuncSetAttribute.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>

#include "settings.h"

namespace stepsize::emulator {

// What a launch asks for, and what its kernel may have in all.
struct SharedBytes {
  size_t dynamic, limit;
};

// What a kernel was allowed by cudaFuncSetAttribute, or what every kernel is.
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
