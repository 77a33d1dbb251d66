// Plants a fault in one operation of the emulated CUDA backend, through the linker's --wrap. STEPSIZE_PLANTED_FAULT has
// the kind of the fault and the operation, such as "wrong gelu". Without it the addon is cuda-emulated.node.
#include <cstdlib>
#include <string>

#include "../../native/cuda/launch_support.h"

namespace stepsize::cuda {

Launcher genuineLauncherFor(OperationId id) __asm__("__real__ZN8stepsize4cuda11launcherForENS_11OperationIdE");
Launcher faultyLauncherFor(OperationId id) __asm__("__wrap__ZN8stepsize4cuda11launcherForENS_11OperationIdE");

namespace {

// Adds to one element.
__global__ void addTo(float* x, float value) { *x += value; }

// Never ends.
__global__ void spin(const volatile float* x) {
  while (x != nullptr) static_cast<void>(*x);
}

// Stops with an error that the driver reports.
__global__ void stop() { __trap(); }

// Writes outside all memory, which ends the process.
__global__ void crash(int* nowhere) { *nowhere = 1; }

struct Plan {
  std::string kind, operation;
};

const Plan& plan() {
  static const Plan plan = [] {
    const char* given = std::getenv("STEPSIZE_PLANTED_FAULT");
    const std::string text = given == nullptr ? "" : given;
    const size_t space = text.find(' ');
    return space == std::string::npos ? Plan{} : Plan{text.substr(0, space), text.substr(space + 1)};
  }();
  return plan;
}

void faulty(CudaDevice& device, const Record& record) {
  const std::string& kind = plan().kind;
  const TensorView& result = output(record, 0);
  if (kind == "unwritten") return;
  genuineLauncherFor(record.id)(device, record);
  if (result.type != DataType::float32) return;
  float* const last = result.as<float>() + result.elements() - 1;
  static int calls = 0;
  if (kind == "wrong") launch(addTo, 1, 1, 0, device.stream(), last, 0.001f);
  if (kind == "unstable") launch(addTo, 1, 1, 0, device.stream(), last, static_cast<float>(calls++));
  if (kind == "hang") launch(spin, 1, 1, 0, device.stream(), last);
  if (kind == "stop") launch(stop, 1, 1, 0, device.stream());
  if (kind == "crash") launch(crash, 1, 1, 0, device.stream(), static_cast<int*>(nullptr));
}

}  // namespace

Launcher faultyLauncherFor(OperationId id) {
  return plan().operation == operation(id).name ? Launcher{faulty} : genuineLauncherFor(id);
}

}  // namespace stepsize::cuda
