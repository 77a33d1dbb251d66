// What CUDA finds on this machine, and opening a device.
#include "../backend.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "cuda_device.h"

namespace stepsize::cuda {

namespace {

// "12.4" from 12040.
std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// The oldest driver for programs of the toolkit that compiled this: one for the same major version of CUDA.
constexpr int kCudaVersion = CUDART_VERSION / 1000;
constexpr int kOldestDriver = kCudaVersion * 1000;

// What to install if the driver is older.
std::string neededDriver() {
  const char* const name = kCudaVersion == 12 ? "525" : kCudaVersion == 13 ? "580" : nullptr;
  return "CUDA " + std::to_string(kCudaVersion) + " is needed: install " +
         (name != nullptr ? "driver " + std::string(name) + " or newer" : "a newer driver");
}

// The first compute capability with bfloat16 tensor cores and asynchronous copies.
constexpr int kOldestCapability = 80;

// Why kernels cannot run on a GPU; empty if they can.
std::string problemOf(int index) {
  // Reading all properties takes milliseconds, and this is called whenever a device is opened.
  int major = 0, minor = 0;
  cudaDeviceProp properties = {};
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index) != cudaSuccess) {
    cudaGetLastError();
    return "";
  }
  if (major * 10 + minor >= kOldestCapability || cudaGetDeviceProperties(&properties, index) != cudaSuccess) return "";
  return std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor) + ", and 8.0 is needed: an A100, an RTX 30 or newer";
}

// Why the driver does not say its version. A library that is there and cannot be loaded is not "not found".
std::string driverProblem(cudaError_t code) {
  const char* const library = "libcuda.so.1";
  void* const handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    const std::string why = reason != nullptr ? reason : "";
    // Another library that is missing has its own name in the message.
    if (why.empty() || (why.rfind(library, 0) == 0 && why.find("No such file") != std::string::npos))
      return "there is no NVIDIA driver on this machine (" + std::string(library) + " was not found)";
    return "the NVIDIA driver cannot be loaded: " + why;
  }
  dlclose(handle);
  return std::string("the NVIDIA driver was found (") + library +
         ") and cannot be used: " + (code == cudaSuccess ? "it has no version" : cudaGetErrorString(code));
}

// Why CUDA cannot be used on this machine; empty if it can.
std::string problem() {
  int driver = 0;
  const cudaError_t asked = cudaDriverGetVersion(&driver);
  if (asked != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return driverProblem(asked);
  }
  if (driver < kOldestDriver) return "the NVIDIA driver is for CUDA " + versionText(driver) + ", and " + neededDriver();
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) {
    cudaGetLastError();
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return visible != nullptr ? "CUDA_VISIBLE_DEVICES=\"" + std::string(visible) + "\" hides all GPUs"
                              : "the driver finds no GPU";
  }
  if (code == cudaSuccess) {
    for (int i = 0; i < count; i++)
      if (problemOf(i).empty()) return "";
    return problemOf(0);
  }
  cudaGetLastError();
  return std::string("the driver failed: ") + cudaGetErrorString(code);
}

}  // namespace

}  // namespace stepsize::cuda

namespace stepsize {

#if defined(STEPSIZE_EMULATED)
const char* backendName() { return emulator::backend; }
#else
const char* backendName() { return "cuda"; }
#endif

std::vector<std::pair<std::string, std::string>> describeBackend() {
  int driver = 0, runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  cudaRuntimeGetVersion(&runtime);
  std::vector<std::pair<std::string, std::string>> facts = {
      {"runtime", cuda::versionText(runtime)}, {"driver", driver == 0 ? "none" : cuda::versionText(driver)}};
  const std::string problem = cuda::problem();
  if (!problem.empty()) {
    facts.emplace_back("problem", problem);
    return facts;
  }
  int count = 0;
  cudaGetDeviceCount(&count);
  facts.emplace_back("count", std::to_string(count));
  for (int i = 0; i < count; i++) {
    cudaDeviceProp properties = {};
    if (cudaGetDeviceProperties(&properties, i) == cudaSuccess)
      facts.emplace_back("device " + std::to_string(i), properties.name);
  }
  return facts;
}

std::unique_ptr<Device> openDevice(const DeviceOptions& options) {
  const std::string problem = cuda::problem();
  if (!problem.empty()) throw CallError(problem);
  if (options.threads != 0 || !options.instructionSet.empty())
    throw CallError("threads and instructionSet are options of the CPU");
  int count = 0;
  cudaGetDeviceCount(&count);
  if (options.index >= count)
    throw CallError("index: this machine has " + std::to_string(count) + " GPUs, from 0 on; got " +
                    std::to_string(options.index));
  if (const std::string why = cuda::problemOf(options.index); !why.empty()) throw CallError("index: " + why);
  const cuda::CurrentDevice current(options.index);
  try {
    current.expectChosen();
    return std::make_unique<cuda::CudaDevice>(options.index, options.stream, options.tf32);
  } catch (const cuda::CudaError& error) {
    cuda::rethrow(error);
  }
}

}  // namespace stepsize
