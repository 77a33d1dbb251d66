// A race detector for the rules of a CUDA block. With -fsanitize=thread, g++ calls __tsan_read4 and similar functions
// at every access. Programs link this file instead of ThreadSanitizer's runtime, which does not know fibers. This file
// itself is compiled without that flag.
//
// Two accesses to a byte by different threads of a block, at least one of them a write, need a __syncthreads between
// them or, within a warp, a full __syncwarp. Blocks of one launch must not touch the same bytes at all, until a block
// has used an atomic: this detector does not model the order that atomics give. A launch with races throws after it has
// finished.
//
// The detector misses races if its table of bytes is full and forgets entries, and it ignores atomics. It needs a
// single worker.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "grid.h"

namespace stepsize::emulator {
namespace {

constexpr int32_t kNobody = -1;

// The last access of one kind to a byte.
struct Access {
  int32_t thread = kNobody;
  uint32_t barriers = 0, warpBarriers = 0;
  void* caller = nullptr;
};

// What the detector keeps for one byte: its last writer, and the readers since then.
struct Byte {
  uintptr_t address;
  uint64_t launch, block;
  Access writer, reader;
  bool severalReaders, severalWarps;
};

constexpr int kTableBits = 20;

Byte& byteAt(uintptr_t address) {
  static auto* table = static_cast<Byte*>(calloc(sizeof(Byte), size_t{1} << kTableBits));
  return table[address * 0x9e3779b97f4a7c15u >> (64 - kTableBits)];
}

std::string races;
int reported = 0;

// "file:line" from the compiler's addr2line, or the bare address without that tool.
std::string lookUp(void* caller) {
  char text[512];
  // One byte back is inside the call instruction; the address is that of the next instruction.
  snprintf(text, sizeof text, "addr2line -e /proc/%d/exe %p 2>/dev/null", getpid(), static_cast<char*>(caller) - 1);
  FILE* tool = popen(text, "r");
  const bool found = tool && fgets(text, sizeof text, tool) && text[0] != '?';
  if (tool) pclose(tool);
  if (!found) snprintf(text, sizeof text, "%p", caller);
  const std::string line = text;
  return line.substr(0, line.find_first_of(" \n"));
}

std::string place(void* caller) {
  static std::map<void*, std::string> known;
  std::string& found = known[caller];
  if (found.empty()) found = lookUp(caller);
  return found;
}

void report(const char* kind, const Access& other, void* caller, bool otherBlock) {
  constexpr int kMaxReports = 4;
  if (reported++ >= kMaxReports) return;
  const OutsideKernel outside;
  races += std::string(races.empty() ? "" : "\n") + "race (" + kind +
           "): " + describe(runner->blockIndex, currentThread->index) + " at " + place(caller) + ", and thread " +
           std::to_string(other.thread) + (otherBlock ? " of another block" : "") + " at " + place(other.caller);
}

std::string take() {
  reported = 0;
  return std::exchange(races, {});
}
const bool kLinkedIn = (takeRaces = take, true);

bool unordered(const Access& other, const Thread& self) {
  if (other.thread == kNobody || other.thread == static_cast<int32_t>(self.linear)) return false;
  if (other.barriers != self.barriers) return false;
  const bool sameWarp = other.thread / kWarpSize == self.linear / kWarpSize;
  return !(sameWarp && other.warpBarriers != self.warpBarriers);
}

// Whether a write by this thread races with any of the reads since the last write.
bool racesWithReaders(const Byte& byte, const Thread& self) {
  if (byte.reader.thread == kNobody || byte.reader.barriers != self.barriers) return false;
  return byte.severalWarps || unordered(byte.reader, self) ||
         (byte.severalReaders && byte.reader.warpBarriers == self.warpBarriers);
}

void remember(Byte& byte, bool write, const Thread& self, void* caller) {
  const Access access{static_cast<int32_t>(self.linear), self.barriers, self.warpBarriers, caller};
  if (write) {
    byte.writer = access;
    byte.reader = {};
    byte.severalReaders = byte.severalWarps = false;
    return;
  }
  const Access& before = byte.reader;
  const bool sameInterval = before.thread != kNobody && before.barriers == self.barriers;
  byte.severalReaders = sameInterval && (byte.severalReaders || before.thread != access.thread);
  byte.severalWarps = sameInterval && (byte.severalWarps || before.thread / kWarpSize != self.linear / kWarpSize);
  byte.reader = access;
}

bool isOnStack(uintptr_t address, const Fiber& fiber) {
  return address - reinterpret_cast<uintptr_t>(fiber.stack) < fiber.bytes;
}

void note(void* pointer, size_t bytes, bool write, void* caller) {
  if (!inKernel || !currentThread) return;
  const auto first = reinterpret_cast<uintptr_t>(pointer);
  // These are the variables of the thread and the arguments of the launch.
  if (isOnStack(first, *currentFiber) || isOnStack(first, runner->main)) return;
  const Thread& self = *currentThread;
  const Serials& now = runner->serials;
  bool said = false;
  for (uintptr_t address = first; address < first + bytes; address++) {
    Byte& byte = byteAt(address);
    if (byte.address != address || byte.launch != now.launch) {
      byte = {address, now.launch, now.block, {}, {}, false, false};
    } else if (byte.block != now.block) {
      const Access& other = byte.writer.thread != kNobody ? byte.writer : byte.reader;
      const bool conflict = byte.writer.thread != kNobody || (write && byte.reader.thread != kNobody);
      if (conflict && !said && !now.usedAtomics && !runner->shared.contains(pointer)) {
        said = true;
        report("between blocks", other, caller, true);
      }
      byte = {address, now.launch, now.block, {}, {}, false, false};
    }
    if (!said && unordered(byte.writer, self)) {
      said = true;
      report(write ? "write, write" : "write, read", byte.writer, caller, false);
    }
    if (!said && write && racesWithReaders(byte, self)) {
      said = true;
      report("read, write", byte.reader, caller, false);
    }
    remember(byte, write, self, caller);
  }
}

}  // namespace
}  // namespace stepsize::emulator

// The functions that the compiler calls.
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier, bugprone-macro-parentheses)
#define STEPSIZE_NOTE(pointer, bytes, write) \
  stepsize::emulator::note(pointer, bytes, write, __builtin_return_address(0))
#define STEPSIZE_ACCESS(bytes)                                                               \
  void __tsan_read##bytes(void* pointer) { STEPSIZE_NOTE(pointer, bytes, false); }           \
  void __tsan_write##bytes(void* pointer) { STEPSIZE_NOTE(pointer, bytes, true); }           \
  void __tsan_unaligned_read##bytes(void* pointer) { STEPSIZE_NOTE(pointer, bytes, false); } \
  void __tsan_unaligned_write##bytes(void* pointer) { STEPSIZE_NOTE(pointer, bytes, true); }
STEPSIZE_ACCESS(1)
STEPSIZE_ACCESS(2)
STEPSIZE_ACCESS(4)
STEPSIZE_ACCESS(8)
STEPSIZE_ACCESS(16)
void __tsan_read_range(void* pointer, size_t bytes) { STEPSIZE_NOTE(pointer, bytes, false); }
void __tsan_write_range(void* pointer, size_t bytes) { STEPSIZE_NOTE(pointer, bytes, true); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
// The C++ library and the emulator use atomics too; these must keep working.
#define STEPSIZE_ATOMIC(bits, type)                                                                             \
  type __tsan_atomic##bits##_load(const volatile type* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); } \
  void __tsan_atomic##bits##_store(volatile type* p, type v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); } \
  type __tsan_atomic##bits##_exchange(volatile type* p, type v, int) {                                          \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                         \
  }                                                                                                             \
  type __tsan_atomic##bits##_fetch_add(volatile type* p, type v, int) {                                         \
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                             \
  type __tsan_atomic##bits##_fetch_sub(volatile type* p, type v, int) {                                         \
    return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                             \
  type __tsan_atomic##bits##_fetch_or(volatile type* p, type v, int) {                                          \
    return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);                                                           \
  }                                                                                                             \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile type* p, type* e, type v, int, int) {              \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                     \
  }                                                                                                             \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile type* p, type* e, type v, int, int) {                \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                     \
  }
STEPSIZE_ATOMIC(8, uint8_t)
STEPSIZE_ATOMIC(16, uint16_t)
STEPSIZE_ATOMIC(32, uint32_t)
STEPSIZE_ATOMIC(64, uint64_t)
// NOLINTEND(bugprone-reserved-identifier, bugprone-macro-parentheses)
}
