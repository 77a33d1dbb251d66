#include "fault_log.h"

#include <algorithm>
#include <cstdio>

#include "../fault_texts.h"
#include "../operations.h"

namespace stepsize::cuda {

FaultLog::FaultLog(PiecePool& deviceMemory, cudaStream_t stream) : record_(deviceMemory.acquire(sizeof(Fault))) {
  check(cudaMemsetAsync(record_.get(), 0, sizeof(Fault), stream), "faults");
}

FaultReport FaultLog::reportOf(const Record& record) {
  const auto begin = record.tensors.begin(), end = begin + record.inputs;
  const std::lock_guard lock(mutex_);
  auto known = std::find_if(sources_.begin(), sources_.end(), [&](const Source& source) {
    return source.operation == record.id && std::equal(source.inputs.begin(), source.inputs.end(), begin, end);
  });
  if (known == sources_.end()) known = sources_.insert(known, {record.id, {begin, end}});
  return {static_cast<Fault*>(record_.get()), static_cast<int>(known - sources_.begin())};
}

std::shared_ptr<const Fault> FaultLog::take(PiecePool& pinnedMemory, cudaStream_t stream) {
  if (sources_.empty()) return nullptr;
  const PinnedMemory staged = pinnedMemory.acquire(sizeof(Fault));
  check(cudaMemcpyAsync(staged.get(), record_.get(), sizeof(Fault), cudaMemcpyDeviceToHost, stream), "faults");
  check(cudaMemsetAsync(record_.get(), 0, sizeof(Fault), stream), "faults");
  return std::static_pointer_cast<const Fault>(staged);
}

std::string FaultLog::textOf(const Fault& fault) {
  const char* format = nullptr;
  switch (static_cast<FaultKind>(fault.kind)) {
    case FaultKind::none: return "";
    case FaultKind::label: format = fault::kLabel; break;
    case FaultKind::id: format = fault::kId; break;
    case FaultKind::index: format = fault::kIndex; break;
  }
  char numbers[128];
  std::snprintf(numbers, sizeof numbers, format, fault.numbers[0], fault.numbers[1], fault.numbers[2]);
  const std::lock_guard lock(mutex_);
  const Source& source = sources_[static_cast<size_t>(fault.source)];
  // No operation on lists of tensors looks at values.
  return describe(operation(source.operation), source.inputs, {}) + ": " + numbers;
}

}  // namespace stepsize::cuda
