#include "spoiled_memory.h"

#include <algorithm>
#include <new>

namespace stepsize {

namespace {

uintptr_t addressOf(const void* memory) { return reinterpret_cast<uintptr_t>(memory); }

// The address after the last byte. A tensor without elements counts as one byte, because it has an address of its own
// and can be the result of an operation that failed.
uintptr_t endOf(const void* memory, int64_t bytes) {
  return addressOf(memory) + static_cast<uintptr_t>(std::max<int64_t>(bytes, 1));
}

bool has(uint32_t bits, size_t place) { return (bits >> place & 1) != 0; }

}  // namespace

SpoiledMemory::SpoiledMemory() {
  outOfMemory();
  Ranges one{{0, {}}};
  spare_ = one.extract(one.begin());
}

bool SpoiledMemory::add(uintptr_t begin, uintptr_t end, const Reason& reason) noexcept {
  try {
    ranges_[begin] = {end, reason};
    return true;
  } catch (const std::bad_alloc&) {
    if (spare_.empty()) return false;
    spare_.key() = begin;
    spare_.mapped() = {end, reason};
    ranges_.insert(std::move(spare_));
    return true;
  }
}

SpoiledMemory::Ranges::iterator SpoiledMemory::erase(Ranges::iterator range) noexcept {
  const auto next = std::next(range);
  Ranges::node_type node = ranges_.extract(range);
  node.mapped().reason = nullptr;
  if (spare_.empty()) spare_ = std::move(node);
  return next;
}

Reason SpoiledMemory::reasonOf(const void* memory, int64_t bytes) const noexcept {
  auto range = ranges_.upper_bound(addressOf(memory));
  if (range != ranges_.begin() && std::prev(range)->second.end > addressOf(memory)) --range;
  return range != ranges_.end() && range->first < endOf(memory, bytes) ? range->second.reason : nullptr;
}

Reason SpoiledMemory::reasonOf(const Record& record) const noexcept {
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

void SpoiledMemory::spoil(const void* memory, int64_t bytes, const Reason& reason) noexcept {
  restore(memory, bytes);
  const uintptr_t begin = addressOf(memory), end = endOf(memory, bytes);
  // If there was no memory to restore a part, it already lies in a spoiled range.
  if (reasonOf(memory, bytes) || add(begin, end, reason)) return;
  const auto after = ranges_.upper_bound(begin);
  if (after != ranges_.begin()) {
    std::prev(after)->second.end = end;
    return;
  }
  Ranges::node_type node = ranges_.extract(after);
  node.key() = begin;
  ranges_.insert(std::move(node));
}

void SpoiledMemory::restore(const void* memory, int64_t bytes) noexcept {
  if (empty()) return;
  const uintptr_t begin = addressOf(memory), end = endOf(memory, bytes);
  auto range = ranges_.upper_bound(begin);
  if (range != ranges_.begin()) --range;
  while (range != ranges_.end() && range->first < end) {
    const uintptr_t oldEnd = range->second.end;
    if (oldEnd <= begin) {
      ++range;
      continue;
    }
    // The parts of the range on either side stay spoiled.
    if (range->first < begin) {
      if (oldEnd > end && !add(end, oldEnd, range->second.reason)) return;
      range->second.end = begin;
      ++range;
    } else if (oldEnd > end) {
      Ranges::node_type node = ranges_.extract(range);
      node.key() = end;
      ranges_.insert(std::move(node));
      return;
    } else {
      range = erase(range);
    }
  }
}

void SpoiledMemory::settle(const Record& record, const Reason& reason) noexcept {
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
    // The owner of caller-owned memory writes it without this device's knowledge, so whether it is good is not known
    // here.
    for (size_t i = 0; i < list.tensors.size(); i++)
      if (!list.isForeign(i)) mark(list.tensors[i], has(record.writes.zeroed, l) ? nullptr : reason);
  }
}

std::string describe(const Record& record) {
  const std::vector<TensorSpec> specs(record.tensors.begin(), record.tensors.begin() + record.inputs);
  return describe(operation(record.id), specs, record.lists);
}

Reason failureOf(const Record& record, const char* message, const char* code) noexcept {
  try {
    return std::make_shared<const Failure>(Failure{code, describe(record) + ": " + message});
  } catch (const std::bad_alloc&) {
    return outOfMemory();
  }
}

Reason failureOfCurrentException(const Record& record) noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return failureOf(record, "the system has no memory left for this operation", "out-of-memory");
  } catch (const OutOfMemory& error) {
    return failureOf(record, error.what(), "out-of-memory");
  } catch (const std::exception& error) {
    return failureOf(record, error.what());
  } catch (...) {
    return failureOf(record, "it failed for an unknown reason");
  }
}

Reason outOfMemory() noexcept {
  // Never destroyed, because a device's thread may use it while the process runs its static destructors.
  static const Reason* const reason =
      std::make_unique<const Reason>(
          std::make_shared<const Failure>(
              Failure{"out-of-memory", "the system has no memory left, neither for an operation nor to say which one"}))
          .release();
  return *reason;
}

}  // namespace stepsize
