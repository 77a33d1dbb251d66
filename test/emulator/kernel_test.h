// The framework for programs of kernel tests on the emulator. A program is one source file: it defines
// STEPSIZE_TEST_MAIN, includes this header and the kernels, and states what the kernels must do. build.mjs compiles it;
// run.mjs runs it in every variant.
//
//   STEPSIZE_TEST(scalesEveryElement) {
//     Buffer<float> x(1000);
//     launch(scale, 4, 256, 0, nullptr, x.data(), 1000, 2.0f);
//     STEPSIZE_EXPECT(x[999] == 2.0f);
//   }
//
// Each test runs once per thread order: only forward by default, the orders of --orders="reverse,random 1", or all with
// --orders=all. In two of the orders two blocks may run at the same time; with --orders=all, these orders also run once
// with one block at a time. A STEPSIZE_FAULT runs only if it is named on the command line: it makes a mistake on
// purpose, at which a sanitizer must stop the program.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "cuda_emulated.h"

namespace stepsize::emulator {

struct Test {
  const char* name;
  void (*run)();
  bool fault;
};

inline std::vector<Test>& tests() {
  static std::vector<Test> tests;
  return tests;
}
inline int failures = 0;

struct Registration {
  explicit Registration(const Test& test) { tests().push_back(test); }
};

// Prints a failure unless `holds`.
inline void expect(bool holds, const std::string& what, const char* file, int line) {
  if (holds) return;
  failures++;
  printf("FAILED %s:%d: %s\n", file, line, what.c_str());
}

// Expects that `work` throws an Error whose message contains `part`.
template <class Work>
void expectError(const char* part, const Work& work, Place where = Place::current()) {
  std::string message = "no error at all";
  try {
    work();
  } catch (const Error& error) {
    message = error.what();
  }
  expect(message.find(part) != std::string::npos, "expected \"" + std::string(part) + "\", got: " + message, where.file,
         where.line);
}

// Memory of exactly the requested size, so that AddressSanitizer detects an access one element beyond. It is
// initialized with NaN. With an offset it is as misaligned as a view into the middle of a tensor.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t count, size_t offset = 0) : count_(count), offset_(offset) {
    const size_t bytes = (count + offset) * sizeof(T);
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, bytes ? bytes : 1) != 0) abort();
    memory_ = static_cast<T*>(memory);
    memset(memory, 0xff, bytes);
  }
  explicit Buffer(const std::vector<T>& values, size_t offset = 0) : Buffer(values.size(), offset) {
    if (!values.empty()) memcpy(data(), values.data(), values.size() * sizeof(T));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { free(memory_); }

  T* data() { return memory_ + offset_; }
  T& operator[](size_t i) { return data()[i]; }
  size_t size() const { return count_; }
  std::vector<T> values() { return std::vector<T>(data(), data() + count_); }

 private:
  T* memory_;
  size_t count_, offset_;
};

struct NamedOrder {
  const char* name;
  Order order;
  uint64_t seed;
  // The maximum number of blocks that run at the same time. Interactions between blocks do not depend on the order of
  // the threads within them, so two of the orders are enough.
  int maxWorkers;
};

inline constexpr NamedOrder kOrders[] = {
    {"forward", Order::forward, 1, 2},
    {"reverse", Order::reverse, 1, 1},
    {"random 1", Order::random, 1, 2},
    {"random 2", Order::random, 2, 1},
    {"random 3", Order::random, 3, 1},
    {"greedy", Order::greedy, 1, 1},
    {"greedy reverse", Order::greedyReverse, 1, 1},
};

inline void runOne(const Test& test, const char* order) {
  const int before = failures;
  const Settings kept = settings();
  try {
    test.run();
  } catch (const std::exception& error) {
    expect(false, error.what(), test.name, 0);
  }
  settings() = kept;
  if (failures > before) printf("  in %s, %s order, %d workers\n", test.name, order, settings().workers);
}

// Whether the race detector is linked in.
inline bool detectsRaces() { return takeRaces != nullptr; }

// Whether an order is in a list such as "reverse,random 1".
inline bool isListed(std::string_view order, std::string_view list) {
  while (true) {
    const size_t end = std::min(list.find(','), list.size());
    if (list.substr(0, end) == order) return true;
    if (end == list.size()) return false;
    list.remove_prefix(end + 1);
  }
}

inline int runTests(int count, char** arguments) {
  constexpr std::string_view kOption = "--orders=";
  std::string_view orders = "forward";
  std::vector<std::string_view> names;
  for (int i = 1; i < count; i++) {
    const std::string_view argument = arguments[i];
    if (argument.substr(0, kOption.size()) == kOption)
      orders = argument.substr(kOption.size());
    else
      names.push_back(argument);
  }
  const bool allOrders = orders == "all";
  int ran = 0;
  for (const Test& test : tests()) {
    bool wanted = names.empty() && !test.fault;
    for (const std::string_view name : names) wanted |= name == test.name;
    if (!wanted) continue;
    ran++;
    for (const NamedOrder& named : kOrders) {
      if (!allOrders && !isListed(named.name, orders)) continue;
      const int maxWorkers = detectsRaces() || orders == "forward" ? 1 : named.maxWorkers;
      for (int workers = allOrders ? 1 : maxWorkers; workers <= maxWorkers; workers++) {
        settings() = {};
        settings().order = named.order;
        settings().seed = named.seed;
        settings().workers = workers;
        runOne(test, named.name);
      }
    }
  }
  expect(ran > 0, "no test has that name", arguments[0], 0);
  printf("%d tests, %d failures\n", ran, failures);
  return failures > 0;
}

}  // namespace stepsize::emulator

#define STEPSIZE_REGISTER(name, fault)                                                       \
  static void name();                                                                        \
  static const ::stepsize::emulator::Registration name##Registration({#name, &name, fault}); \
  static void name()
#define STEPSIZE_TEST(name) STEPSIZE_REGISTER(name, false)
#define STEPSIZE_FAULT(name) STEPSIZE_REGISTER(name, true)
#define STEPSIZE_EXPECT(condition) ::stepsize::emulator::expect(condition, #condition, __FILE__, __LINE__)

#if defined(STEPSIZE_TEST_MAIN)
int main(int count, char** arguments) { return stepsize::emulator::runTests(count, arguments); }
#endif
