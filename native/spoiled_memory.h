// Which memory of a device is spoiled: it holds the result of an operation that failed, or of one that read such a
// result. Whoever executes the records of a device keeps this in the order of its stream, so that an error reaches
// those who read what it spoiled, as often as they do, and nobody else.
//
// Memory is known by its address alone: tensors that share it share its error, memory that is reused is good again as
// soon as it is written, and while nothing is spoiled a record costs one look at `empty`.
//
// Nothing here throws: what is spoiled must not be taken for good because there is no memory to note it. Without memory
// for one more range, the nearest range grows over the gap, so that more counts as spoiled than is.
#pragma once

#include <exception>
#include <map>
#include <string>

#include "backend.h"

namespace stepsize {

class SpoiledMemory {
 public:
  // Throws std::bad_alloc, as the only one.
  SpoiledMemory();

  bool empty() const { return ranges_.empty(); }

  // Null where all of it is good; of several reasons that of the lowest address.
  Reason reasonOf(const void* memory, int64_t bytes) const noexcept;
  // The first reason in what the record reads: its inputs, then its lists.
  Reason reasonOf(const Record& record) const noexcept;

  void spoil(const void* memory, int64_t bytes, const Reason& reason) noexcept;
  void restore(const void* memory, int64_t bytes) noexcept;
  // After the record: what it wrote is spoiled for this reason, or good where there is none.
  void settle(const Record& record, const Reason& reason) noexcept;

 private:
  struct Range {
    uintptr_t end;
    Reason reason;
  };
  using Ranges = std::map<uintptr_t, Range>;

  // Of memory that no range touches. False where there is no memory to note it.
  bool add(uintptr_t begin, uintptr_t end, const Reason& reason) noexcept;
  // Takes a range out, and keeps its node if there is no spare one.
  Ranges::iterator erase(Ranges::iterator range) noexcept;

  Ranges ranges_;            // by their beginning; no two overlap
  Ranges::node_type spare_;  // there whenever ranges_ is empty
};

// The operation with the shapes it was called with, as errors show it.
std::string describe(const Record& record);
// Why the record failed. Without memory for the text, a reason that was made when the addon was loaded.
Reason failureOf(const Record& record, const char* message, const char* code = "device-failed") noexcept;
// With the code that belongs to the exception that is being handled.
Reason failureOfCurrentException(const Record& record) noexcept;
// There is no memory for the reason itself.
Reason outOfMemory() noexcept;

}  // namespace stepsize
