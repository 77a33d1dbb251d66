// Keeps track of spoiled memory: memory that holds the result of an operation that failed, or of one that read such a
// result. The thread that executes the records of a device updates this in stream order. An error therefore reaches
// every read of what it spoiled, each time, and no other read.
//
// Memory is identified by its address alone. Tensors that share memory share its error, and reused memory is good again
// as soon as it is written. While nothing is spoiled, a record costs one call of `empty`.
//
// Nothing here throws, because spoiled memory must not be taken for good if there is no memory to note it. If there is
// no memory for one more range, the nearest range grows over the gap, so that more memory counts as spoiled than is.
#pragma once

#include <exception>
#include <map>
#include <string>

#include "backend.h"

namespace stepsize {

// A set of spoiled address ranges, each with the reason.
class SpoiledMemory {
 public:
  // Only the constructor may throw, std::bad_alloc.
  SpoiledMemory();

  // Whether no memory is spoiled.
  bool empty() const { return ranges_.empty(); }

  // The reason why some of these bytes are spoiled, the one with the lowest address if there are several; null if all
  // are good.
  Reason reasonOf(const void* memory, int64_t bytes) const noexcept;
  // The first reason among the memory that a record reads: its inputs, then its lists.
  Reason reasonOf(const Record& record) const noexcept;

  // Marks these bytes as spoiled.
  void spoil(const void* memory, int64_t bytes, const Reason& reason) noexcept;
  // Marks these bytes as good.
  void restore(const void* memory, int64_t bytes) noexcept;
  // Marks what a record wrote as spoiled for this reason, or as good if the reason is null.
  void settle(const Record& record, const Reason& reason) noexcept;

 private:
  struct Range {
    uintptr_t end;
    Reason reason;
  };
  using Ranges = std::map<uintptr_t, Range>;

  // Adds a range that overlaps no other. Returns false if there is no memory to note it.
  bool add(uintptr_t begin, uintptr_t end, const Reason& reason) noexcept;
  // Removes a range, and keeps its node as the spare one if there is none.
  Ranges::iterator erase(Ranges::iterator range) noexcept;

  Ranges ranges_;            // by first address; no two overlap
  Ranges::node_type spare_;  // never empty while ranges_ is empty
};

// The operation and the shapes it was called with, for error messages.
std::string describe(const Record& record);
// The reason why a record failed. If there is no memory for the text, returns outOfMemory().
Reason failureOf(const Record& record, const char* message, const char* code = "device-failed") noexcept;
// The reason for the exception that is being handled, with the matching error code.
Reason failureOfCurrentException(const Record& record) noexcept;
// The reason that there is no memory, made before it can be needed.
Reason outOfMemory() noexcept;

}  // namespace stepsize
