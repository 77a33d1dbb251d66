// Checks a launch as a device would, and runs all blocks of its grid on as many workers as the settings say.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>

#include "block_runner.h"
#include "workers.h"

namespace stepsize::emulator {

// Set by the race detector if it is linked in: returns the races found since the last call, empty if none.
inline std::string (*takeRaces)() = nullptr;

// Throws an Error for a launch that a device would refuse.
inline void checkLaunch(dim3 grid, dim3 block, SharedBytes shared) {
  const auto shape = [](dim3 d) { return describe(uint3{d.x, d.y, d.z}); };
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64)
    throw Error("launch: invalid block " + shape(block));
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    throw Error("launch: invalid grid " + shape(grid));
  if (shared.dynamic > shared.limit)
    throw Error("launch: " + std::to_string(shared.dynamic) + " bytes of dynamic shared memory, over the limit of " +
                std::to_string(shared.limit));
}

// Runs a launch to its end; throws the first error or race.
inline void runGrid(dim3 grid, dim3 block, SharedBytes shared, Body body) {
  checkLaunch(grid, block, shared);
  // The race detector has one history for all threads of the host, so launches run one at a time.
  static std::mutex oneAtATime;
  std::unique_lock alone(oneAtATime, std::defer_lock);
  if (takeRaces) alone.lock();
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  const uint64_t serial = nextSerial();
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  std::string firstError;
  const std::function<void()> work = [&] {
    static thread_local BlockRunner blockRunner;  // its stacks are reused from launch to launch
    runner = &blockRunner;
    try {
      blockRunner.prepare(grid, block, shared, body, serial);
      for (uint64_t i = next++; i < blocks; i = next++) {
        const uint64_t k = settings().order == Order::reverse ? blocks - 1 - i : i;
        blockRunner.run({static_cast<unsigned>(k % grid.x), static_cast<unsigned>(k / grid.x % grid.y),
                         static_cast<unsigned>(k / grid.x / grid.y)});
      }
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex);
      if (firstError.empty()) firstError = error.what();
      next = blocks;
    }
    runner = nullptr;
  };
  const int maxWorkers = takeRaces ? 1 : std::max(settings().workers, 1);  // the race detector needs a single worker
  const auto count = static_cast<int>(std::min<uint64_t>(maxWorkers, blocks));
  if (count == 1)
    work();
  else
    workers().run(count, work);
  const std::string races = takeRaces ? takeRaces() : "";
  if (!firstError.empty()) throw Error(firstError);
  if (!races.empty()) throw Error(races);
}

}  // namespace stepsize::emulator
