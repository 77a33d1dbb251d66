#include "spoiled_memory.h"

#include <algorithm>
#include <new>

namespace stepsize {

namespace {

uintptr_t addressOf(const void* memory) { return reinterpret_cast<uintptr_t>(memory); }

// A tensor without elements has an address of its own, too, and may be the result of an operation that failed.
uintptr_t endOf(const void* memory, int64_t bytes) {
  return addressOf(memory) + static_cast<uintptr_t>(std::max<int64_t>(bytes, 1));
}

bool has(uint32_t bits, size_t place) { return (bits >> place & 1) != 0; }

}  // namespace

Reason SpoiledMemory::reasonOf(const void* memory, int64_t bytes) const {
  auto range = ranges_.upper_bound(addressOf(memory));
  if (range != ranges_.begin() && std::prev(range)->second.end > addressOf(memory)) --range;
  return range != ranges_.end() && range->first < endOf(memory, bytes) ? range->second.reason : nullptr;
}

Reason SpoiledMemory::reasonOf(const Record& record) const {
  if (empty()) return nullptr;
  for (size_t i = 0; i < static_cast<size_t>(record.inputs); i++) {
    if (has(record.writes.overwritten, i)) continue;
    if (Reason reason = reasonOf(record.tensors[i].data, record.tensors[i].bytes())) return reason;
  }
  for (const auto& list : record.lists)
    for (const TensorView& tensor : list->tensors)
      if (Reason reason = reasonOf(tensor.data, tensor.bytes())) return reason;
  return nullptr;
}

void SpoiledMemory::spoil(const void* memory, int64_t bytes, const Reason& reason) {
  restore(memory, bytes);
  ranges_[addressOf(memory)] = {endOf(memory, bytes), reason};
}

void SpoiledMemory::restore(const void* memory, int64_t bytes) {
  if (empty()) return;
  const uintptr_t begin = addressOf(memory), end = endOf(memory, bytes);
  auto range = ranges_.upper_bound(begin);
  if (range != ranges_.begin()) --range;
  while (range != ranges_.end() && range->first < end) {
    if (range->second.end <= begin) {
      ++range;
      continue;
    }
    const Range old = range->second;
    const uintptr_t oldBegin = range->first;
    range = ranges_.erase(range);
    // What lies on either side of the restored part stays spoiled.
    if (oldBegin < begin) ranges_[oldBegin] = {begin, old.reason};
    if (old.end > end) ranges_[end] = old;
  }
}

void SpoiledMemory::settle(const Record& record, const Reason& reason) {
  const auto mark = [&](const TensorView& tensor, const Reason& why) {
    if (why)
      spoil(tensor.data, tensor.bytes(), why);
    else
      restore(tensor.data, tensor.bytes());
  };
  const auto inputs = static_cast<size_t>(record.inputs);
  for (size_t i = 0; i < record.tensors.size(); i++)
    if (i >= inputs || has(record.writes.inputs, i)) mark(record.tensors[i], reason);
  for (size_t l = 0; l < record.lists.size(); l++) {
    if (!has(record.writes.lists, l)) continue;
    const TensorList& list = *record.lists[l];
    // Others write their memory unseen: whether it is good is not known here.
    for (size_t i = 0; i < list.tensors.size(); i++)
      if (!list.isForeign(i)) mark(list.tensors[i], has(record.writes.zeroed, l) ? nullptr : reason);
  }
}

std::string describe(const Record& record) {
  const std::vector<TensorSpec> specs(record.tensors.begin(), record.tensors.begin() + record.inputs);
  return describe(operation(record.id), specs, record.lists);
}

Reason failureOf(const Record& record, const std::string& message, const char* code) {
  return std::make_shared<const Failure>(Failure{code, describe(record) + ": " + message});
}

Reason failureOf(const Record& record, const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return failureOf(record, "the system has no memory left for this operation", "out-of-memory");
  const bool isMemory = dynamic_cast<const OutOfMemory*>(&error) != nullptr;
  return failureOf(record, error.what(), isMemory ? "out-of-memory" : "device-failed");
}

}  // namespace stepsize
