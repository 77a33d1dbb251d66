#include "interpreter.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "../emulator/launch.h"
#include "../emulator/memory_observer.h"
#include "warp.h"

namespace stepsize::ptx {

namespace {

std::vector<std::unique_ptr<Module>>& modules() {
  static auto& modules = *new std::vector<std::unique_ptr<Module>>;
  return modules;
}

thread_local std::vector<AddressRange> tensorsOfLaunches;

std::string textOf(const std::string& file) {
  std::ifstream stream(file);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

// The PTX of an addon is beside it, in ptx/.
void loadOwnModules() {
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void*>(&loadOwnModules), &self) == 0) return;
  const auto folder = std::filesystem::path(self.dli_fname).parent_path() / "ptx";
  if (!std::filesystem::exists(folder)) return;
  for (const auto& file : std::filesystem::directory_iterator(folder)) loadModule(file.path());
}

// The kernel of a function: g++ and nvcc give both the same symbol.
const Kernel& kernelOf(const void* function) {
  static std::map<const void*, const Kernel*> known;
  const Kernel*& kernel = known[function];
  if (kernel) return *kernel;
  static const bool isLoaded = (loadOwnModules(), true);
  (void)isLoaded;
  Dl_info symbol{};
  if (dladdr(function, &symbol) == 0 || !symbol.dli_sname || symbol.dli_saddr != function)
    throw Error("launch: the kernel has no exported symbol");
  for (const auto& module : modules())
    if ((kernel = module->kernel(symbol.dli_sname))) return *kernel;
  throw Error(std::string("launch: there is no PTX of ") + symbol.dli_sname);
}

void execute(const emulator::KernelCall& call, const std::vector<AddressRange>& tensors) {
  static uint64_t launches = 0;
  const auto lock = lockMachine();
  const Kernel& kernel = kernelOf(call.kernel);
  Launch launch{.kernel = &kernel,
                .grid = call.grid,
                .blockSize = call.block,
                .dynamicShared = static_cast<uint32_t>(call.sharedBytes),
                .parameters = std::vector<uint8_t>(kernel.parameterBytes),
                .tensors = tensors,
                .random = Random(settings().seed * 7919 + ++launches)};
  if (launch.threads() > kernel.maxThreads)
    throw Error("launch: " + std::to_string(launch.threads()) + " threads, and " + kernel.name + " is compiled for " +
                std::to_string(kernel.maxThreads));
  if (call.sharedBytes > 0 && !kernel.takesDynamicShared)
    throw Error("launch: " + kernel.name + " takes no shared memory");
  if (call.parameters.size() != kernel.parameters.size()) throw Error("launch: other parameters than in the PTX");
  for (size_t p = 0; p < call.parameters.size(); p++) {
    const auto& [offset, bytes] = kernel.parameters[p];
    if (call.parameters[p].size() != bytes) throw Error("launch: a parameter of another size than in the PTX");
    std::copy(call.parameters[p].begin(), call.parameters[p].end(), launch.parameters.begin() + offset);
  }
  run(launch);
}

std::function<void()> workOf(emulator::KernelCall call) {
  return [call = std::move(call), tensors = tensorsOfLaunches] { execute(call, tensors); };
}

class Observer final : public emulator::MemoryObserver {
 public:
  void acquired(const void* memory, size_t bytes) override {
    const auto lock = lockMachine();
    deviceMemory().add(addressOf(memory), bytes);
  }
  void released(const void* memory) override {
    const auto lock = lockMachine();
    deviceMemory().remove(addressOf(memory));
  }
  void written(const void* to, size_t bytes) override {
    const auto lock = lockMachine();
    deviceMemory().setInitialized(addressOf(to), bytes, true);
  }
  void copied(const void* to, const void* from, size_t bytes) override {
    const auto lock = lockMachine();
    deviceMemory().copyInitialized(addressOf(to), addressOf(from), bytes);
  }
  void read(const void* from, size_t bytes) override {
    const auto lock = lockMachine();
    const uint64_t first = deviceMemory().firstUninitialized(addressOf(from), bytes);
    if (first < bytes)
      throw Error("a copy to the host of " + std::to_string(bytes) + " bytes, of which byte " + std::to_string(first) +
                  " was never written");
  }

 private:
  static uint64_t addressOf(const void* memory) { return reinterpret_cast<uint64_t>(memory); }
};

const bool isLinked = [] {
  static Observer observer;
  emulator::memoryObserver = &observer;
  emulator::interpretedWork = workOf;
  emulator::backend = "cuda-ptx";
  return true;
}();

}  // namespace

std::unique_lock<std::mutex> lockMachine() {
  static auto& mutex = *new std::mutex;
  return std::unique_lock(mutex);
}

void restrictLaunches(std::vector<AddressRange> tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const AddressRange& a, const AddressRange& b) { return a.begin < b.begin; });
  tensorsOfLaunches.clear();
  for (const AddressRange& range : tensors) {
    if (range.begin == range.end) continue;
    if (!tensorsOfLaunches.empty() && range.begin < tensorsOfLaunches.back().end)
      tensorsOfLaunches.back().end = std::max(tensorsOfLaunches.back().end, range.end);
    else
      tensorsOfLaunches.push_back(range);
  }
}

void loadModule(const std::string& file) { modules().push_back(std::make_unique<Module>(textOf(file))); }

size_t decodeAll(const std::string& file) {
  Module module(textOf(file));
  const std::vector<std::string> names = module.names();
  for (const std::string& name : names) module.kernel(name);
  return names.size();
}

}  // namespace stepsize::ptx
