// Uses the thread pool and the CPU backend under ThreadSanitizer: many jobs of several devices at once, jobs that fail,
// replays, and devices that are closed in the middle of a replay. Prints "ok" if all results are right.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <new>
#include <string_view>
#include <thread>
#include <vector>

#include "../../../native/allocator.h"
#include "../../../native/cpu/cpu_device.h"
#include "../../../native/cpu/thread_pool.h"

namespace stepsize {

namespace portable {
void run(OperationId id, const Invocation& call);
}  // namespace portable

namespace cpu {

// One build of the kernels is enough, because the work is divided among the threads in the same way in all of them.
const std::vector<InstructionSet>& instructionSets() {
  static const std::vector<InstructionSet> sets = {{"portable", true, portable::run}};
  return sets;
}

}  // namespace cpu

namespace {

void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("failed: %s\n", what);
  std::exit(1);
}

// Runs jobs on the process' pool. Every seventh job fails at one of its indices.
void useThePool(int seed) {
  const cpu::ThreadScratch scratch;
  for (int job = 0; job < 400; job++) {
    const int64_t count = 1 + (job * 13 + seed) % 50;
    struct Work {
      std::vector<int64_t> done;
      int64_t failing;
    } work{std::vector<int64_t>(static_cast<size_t>(count)), job % 7 == 0 ? count / 2 : -1};
    const auto body = [](void* context, int64_t index) {
      auto& state = *static_cast<Work*>(context);
      if (index == state.failing) throw std::bad_alloc();
      float* memory = cpu::ThreadScratch::get();
      for (int i = 0; i < 100; i++) memory[i] = static_cast<float>(index);
      state.done[static_cast<size_t>(index)] = static_cast<int64_t>(memory[99]) + 1;
    };
    bool failed = false;
    try {
      cpu::ThreadPool::instance().run(count, 1 + job % 5, body, &work);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    expect(failed == (work.failing >= 0), "a job fails if one of its indices does");
    for (int64_t i = 0; i < count && !failed; i++) expect(work.done[static_cast<size_t>(i)] == i + 1, "every index is done");
  }
}

// A queue is full at its limit of tasks or of held bytes, and not before. It has room again when half of the tasks are
// done.
void fillTheQueue() {
  constexpr std::chrono::milliseconds now{0};
  cpu::TaskQueue queue;
  cpu::Task task;
  const auto push = [&](int64_t bytes) {
    task = {};
    task.heldBytes = bytes;
    expect(queue.push(task), "an open queue accepts tasks");
  };
  for (size_t i = 1; i < cpu::TaskQueue::kMaxTasks; i++) push(0);
  expect(queue.awaitRoom(now), "there is room below the limit");
  push(0);
  expect(!queue.awaitRoom(now), "there is no room at the limit");
  for (size_t i = 1; i < cpu::TaskQueue::kMaxTasks / 2; i++) queue.pop(task);
  expect(!queue.awaitRoom(now), "there is no room while more than half waits");
  queue.pop(task);
  expect(queue.awaitRoom(now), "there is room when half waits");
  push(cpu::TaskQueue::kMaxHeldBytes);
  expect(!queue.awaitRoom(now), "held bytes count");
  size_t rest = 0;
  queue.close();
  while (queue.takeRest(task)) rest++;
  expect(rest == cpu::TaskQueue::kMaxTasks / 2 + 1, "the remaining tasks can be taken");
  expect(!queue.push(task) && !queue.pop(task), "a closed queue accepts and returns no tasks");
}

// A device with its tensors, as the binding uses it.
class Program {
 public:
  Program() : device_(cpu::instructionSets()[0], 3), allocator_(device_, 0) {}
  ~Program() { device_.abandon(); }

  TensorView tensor(std::vector<int64_t> sizes, float value) {
    TensorView view;
    for (const int64_t size : sizes) view.shape.sizes[view.shape.rank++] = size;
    Block* block = allocator_.allocate(view, "test");
    blocks_.push_back(block);
    view.data = block->memory;
    const std::vector<float> values(static_cast<size_t>(view.elements()), value);
    device_.upload(view.data, reinterpret_cast<const std::byte*>(values.data()), static_cast<size_t>(view.bytes()));
    return view;
  }

  void enqueue(OperationId id, std::vector<TensorView> tensors, int inputs, std::vector<double> attributes = {}) {
    Record record{id, inputs, std::move(tensors), {}, {}, {}};
    std::copy(attributes.begin(), attributes.end(), record.attributes);
    while (!device_.awaitRoom(std::chrono::milliseconds(1000))) {
    }
    device_.enqueue(std::move(record));
  }

  float first(const TensorView& x) {
    std::vector<float> values(static_cast<size_t>(x.elements()));
    std::promise<Reason> outcome;
    device_.read(values.data(), x.data, x.bytes(), [&](Reason reason) { outcome.set_value(std::move(reason)); });
    expect(outcome.get_future().get() == nullptr, "a read succeeds");
    return values[0];
  }

  void releaseAll() {
    for (Block* block : blocks_) allocator_.release(block);
    blocks_.clear();
    allocator_.trim();
  }

  cpu::CpuDevice& device() { return device_; }

 private:
  cpu::CpuDevice device_;
  Allocator allocator_;
  std::vector<Block*> blocks_;
};

void useADevice(int seed) {
  Program program;
  for (int round = 0; round < 12; round++) {
    const int64_t size = 40 + 7 * ((round + seed) % 5);
    const TensorView a = program.tensor({size, size}, 2), b = program.tensor({size, size}, 3);
    const TensorView c = program.tensor({size, size}, 0), total = program.tensor({}, 0);
    const TensorView large = program.tensor({100000}, 1), sum = program.tensor({}, 0);
    program.enqueue(OperationId::matmul, {a, b, c}, 2, {0, 0, 0, 0});
    program.enqueue(OperationId::sum, {c, total}, 1, {0, 2, 1});
    program.enqueue(OperationId::square, {large, large}, 1);
    program.enqueue(OperationId::sum, {large, sum}, 1, {0, 1, 1});
    expect(program.first(total) == static_cast<float>(6 * size * size * size), "the sum of a product");
    expect(program.first(sum) == 100000, "the sum of many numbers");
    program.device().beginCapture();
    program.enqueue(OperationId::add, {c, b, c}, 2);
    const auto graph = program.device().endCapture();
    program.device().replay(graph, 20);
    expect(program.first(c) == static_cast<float>(6 * size + 60), "a replayed capture");
    program.releaseAll();
  }
  // The device is closed in the middle of this replay.
  const TensorView x = program.tensor({5000}, 1);
  program.device().beginCapture();
  for (int i = 0; i < 4; i++) program.enqueue(OperationId::add, {x, x, x}, 2);
  program.device().replay(program.device().endCapture(), int64_t{1} << 32);
}

// A deliberate data race that ThreadSanitizer must detect: two threads add to the same number.
void race() {
  int64_t number = 0;
  const auto add = [&number] {
    for (int i = 0; i < 1000; i++) number++;
  };
  std::thread other(add);
  add();
  other.join();
  std::printf("%lld\n", static_cast<long long>(number));
}

}  // namespace
}  // namespace stepsize

int main(int count, char** arguments) {
  if (count > 1 && std::string_view(arguments[1]) == "race") {
    stepsize::race();
    return 0;
  }
  stepsize::fillTheQueue();
  std::vector<std::thread> threads;
  for (int seed = 0; seed < 3; seed++) {
    threads.emplace_back(stepsize::useThePool, seed);
    threads.emplace_back(stepsize::useADevice, seed);
  }
  for (auto& thread : threads) thread.join();
  std::printf("ok\n");
}
