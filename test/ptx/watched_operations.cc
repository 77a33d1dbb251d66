// Wraps the launchers of the backend's operations, through the linker's --wrap. It sets which memory the kernels of a
// call may access, and marks the outputs as uninitialized before, because memory that a tensor gets may have been used
// before.
#include "../../native/cuda/cuda_device.h"
#include "../../native/cuda/operations.h"
#include "interpreter.h"
#include "settings.h"

namespace stepsize::cuda {

Launcher unwatchedLauncherFor(OperationId id) __asm__("__real__ZN8stepsize4cuda11launcherForENS_11OperationIdE");
Launcher watchedLauncherFor(OperationId id) __asm__("__wrap__ZN8stepsize4cuda11launcherForENS_11OperationIdE");

namespace {

ptx::AddressRange rangeOf(const TensorView& tensor) {
  const auto begin = reinterpret_cast<uint64_t>(tensor.data);
  return {begin, begin + static_cast<uint64_t>(tensor.bytes())};
}

std::vector<ptx::AddressRange> tensorsOf(const Record& record) {
  std::vector<ptx::AddressRange> ranges;
  for (const TensorView& tensor : record.tensors) ranges.push_back(rangeOf(tensor));
  for (const auto& list : record.lists)
    for (const TensorView& tensor : list->tensors) ranges.push_back(rangeOf(tensor));
  const auto lock = ptx::lockMachine();
  for (const auto& [begin, end] : ranges)
    if (ptx::Allocation* allocation = begin < end ? ptx::deviceMemory().find(begin) : nullptr)
      allocation->holdsTensors = true;
  return ranges;
}

// Marks outputs that are not also inputs.
void forgetOutputs(CudaDevice& device, const Record& record) {
  const auto inputsEnd = record.tensors.begin() + record.inputs;
  for (auto output = inputsEnd; output != record.tensors.end(); ++output) {
    void* data = output->data;
    const auto bytes = static_cast<size_t>(output->bytes());
    const bool isInput =
        std::any_of(record.tensors.begin(), inputsEnd, [&](const TensorView& input) { return input.data == data; });
    if (bytes == 0 || isInput) continue;
    device.stream()->submit([data, bytes] {
      const auto lock = ptx::lockMachine();
      std::memset(data, 0xff, bytes);
      ptx::deviceMemory().setInitialized(reinterpret_cast<uint64_t>(data), bytes, false);
    });
  }
}

void watched(CudaDevice& device, const Record& record) {
  ptx::restrictLaunches(tensorsOf(record));
  struct End {
    End() = default;
    End(const End&) = delete;
    End& operator=(const End&) = delete;
    ~End() { ptx::restrictLaunches({}); }
  } const end;
  forgetOutputs(device, record);
  unwatchedLauncherFor(record.id)(device, record);
}

}  // namespace

Launcher watchedLauncherFor(OperationId id) { return unwatchedLauncherFor(id) ? watched : nullptr; }

}  // namespace stepsize::cuda
