// The pool of threads and the CPU backend, for ThreadSanitizer: many jobs of several devices at once, jobs that fail,
// captures that are replayed, devices that are closed in the middle of one. Prints "ok" if all results are right.
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

// One build of the kernels is enough: who takes which part of the work is the same in all.
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

// Jobs of this thread on the process' pool, of which every seventh fails at one of its indices.
void useThePool(int seed) {
  const cpu::ThreadScratch scratch;
  for (int job = 0; job < 400; job++) {
    const int64_t count = 1 + (job * 13 + seed) % 50;
    struct Work {
      std::vector<int64_t> done;
      int64_t failing;
    } work{std::vector<int64_t>(static_cast<size_t>(count)), job % 7 == 0 ? count / 2 : -1};
    const auto body = [](void* context, int64_t index) {
      auto& own = *static_cast<Work*>(context);
      if (index == own.failing) throw std::bad_alloc();
      float* memory = cpu::ThreadScratch::get();
      for (int i = 0; i < 100; i++) memory[i] = static_cast<float>(index);
      own.done[static_cast<size_t>(index)] = static_cast<int64_t>(memory[99]) + 1;
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

// A queue that nobody empties is long at its bound and not before, by tasks and by what they hold, and short again when
// half of it is done.
void fillTheQueue() {
  constexpr std::chrono::milliseconds now{0};
  cpu::TaskQueue queue;
  cpu::Task task;
  const auto push = [&](int64_t bytes) {
    task = {};
    task.heldBytes = bytes;
    expect(queue.push(task), "an open queue takes tasks");
  };
  for (size_t i = 1; i < cpu::TaskQueue::kMaxTasks; i++) push(0);
  expect(queue.awaitRoom(now), "there is room before the bound");
  push(0);
  expect(!queue.awaitRoom(now), "there is none at the bound");
  for (size_t i = 1; i < cpu::TaskQueue::kMaxTasks / 2; i++) queue.pop(task);
  expect(!queue.awaitRoom(now), "more than half is not short");
  queue.pop(task);
  expect(queue.awaitRoom(now), "half is short");
  push(cpu::TaskQueue::kMaxHeldBytes);
  expect(!queue.awaitRoom(now), "what tasks hold counts");
  size_t rest = 0;
  queue.close();
  while (queue.takeRest(task)) rest++;
  expect(rest == cpu::TaskQueue::kMaxTasks / 2 + 1, "what was left can be taken");
  expect(!queue.push(task) && !queue.pop(task), "a closed queue does nothing");
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
    expect(outcome.get_future().get() == nullptr, "nothing is spoiled");
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
    expect(program.first(sum) == 100000, "the sum of many");
    program.device().beginCapture();
    program.enqueue(OperationId::add, {c, b, c}, 2);
    const auto graph = program.device().endCapture();
    program.device().replay(graph, 20);
    expect(program.first(c) == static_cast<float>(6 * size + 60), "a capture that is replayed");
    program.releaseAll();
  }
  // The end comes in the middle of this.
  const TensorView x = program.tensor({5000}, 1);
  program.device().beginCapture();
  for (int i = 0; i < 4; i++) program.enqueue(OperationId::add, {x, x, x}, 2);
  program.device().replay(program.device().endCapture(), int64_t{1} << 32);
}

// A data race on purpose, which ThreadSanitizer must find: two threads add to the same number.
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
