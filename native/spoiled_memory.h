// Which memory of a device is spoiled: it holds the result of an operation that failed, or of one that read such a
// result. Whoever executes the records of a device keeps this in the order of its stream, so that an error reaches
// those who read what it spoiled, as often as they do, and nobody else.
//
// Memory is known by its address alone: tensors that share it share its error, memory that is reused is good again as
// soon as it is written, and while nothing is spoiled a record costs one look at `empty`.
#pragma once

#include <exception>
#include <map>
#include <string>

#include "backend.h"

namespace stepsize {

class SpoiledMemory {
 public:
  bool empty() const { return ranges_.empty(); }

  // Null where all of it is good; of several reasons that of the lowest address.
  Reason reasonOf(const void* memory, int64_t bytes) const;
  // The first reason in what the record reads: its inputs, then its lists.
  Reason reasonOf(const Record& record) const;

  void spoil(const void* memory, int64_t bytes, const Reason& reason);
  void restore(const void* memory, int64_t bytes);
  // After the record: what it wrote is spoiled for this reason, or good where there is none.
  void settle(const Record& record, const Reason& reason);

 private:
  struct Range {
    uintptr_t end;
    Reason reason;
  };
  std::map<uintptr_t, Range> ranges_;  // by their beginning; no two overlap
};

// The operation with the shapes it was called with, as errors show it.
std::string describe(const Record& record);
// Why the record failed.
Reason failureOf(const Record& record, const std::string& message, const char* code = "device-failed");
// With the code that belongs to the exception.
Reason failureOf(const Record& record, const std::exception& error);

}  // namespace stepsize
