// Loads, stores, atomics, fences and asynchronous copies.
#include "memory_access.h"

#include <type_traits>

#include "semantics.h"
#include "text.h"

namespace stepsize::ptx {

namespace {

// Whether the bytes lie inside one of the tensors of the call; overlapping tensors are one range.
bool isInTensors(const Launch& launch, uint64_t address, uint64_t bytes) {
  const auto& tensors = launch.tensors;
  auto above = std::upper_bound(tensors.begin(), tensors.end(), address,
                                [](uint64_t at, const AddressRange& range) { return at < range.begin; });
  return above != tensors.begin() && address + bytes <= (--above)->end;
}

std::string describeAccess(bool writes, uint32_t bytes) {
  return std::string(writes ? "write" : "read") + " of " + std::to_string(bytes) + " bytes";
}

Place globalPlace(Warp& warp, uint64_t address, uint32_t bytes, bool writes) {
  Launch& launch = *warp.block->launch;
  Allocation*& known = launch.lastAllocation;
  if (!known || address < known->begin || address >= known->end) {
    auto* data = reinterpret_cast<uint8_t*>(address);  // NOLINT(performance-no-int-to-ptr)
    if (isInModule(address, bytes)) return {data, nullptr, 0, false};
    known = deviceMemory().find(address);
  }
  if (!known || address + bytes > known->end) fail(warp, describeAccess(writes, bytes) + " outside of any allocation");
  if (known->holdsTensors && !launch.tensors.empty() && !isInTensors(launch, address, bytes))
    fail(warp, describeAccess(writes, bytes) + " outside of the tensors of the call");
  const uint64_t offset = address - known->begin;
  ShadowWord* shadow = known->shadow.empty() ? nullptr : &known->shadow[offset / 4];
  auto* data = reinterpret_cast<uint8_t*>(address);  // NOLINT(performance-no-int-to-ptr)
  return {data, shadow, static_cast<uint32_t>(offset % 4), true};
}

Space spaceOf(uint64_t& address) {
  const uint64_t tag = address & kSpaceTags;
  address &= ~kSpaceTags;
  if (tag == kSharedTag) return Space::shared;
  if (tag == kLocalTag) return Space::local;
  return tag == kParameterTag ? Space::parameter : Space::global;
}

// Calls f for lanes in any order: if two lanes write to the same place, hardware promises no order.
template <class F>
void forLanesInAnyOrder(Warp& warp, uint32_t lanes, const F& f) {
  Launch& launch = *warp.block->launch;
  while (lanes != 0) {
    uint32_t left = lanes;
    if (settings().schedule != Schedule::inOrder)
      for (uint32_t skip = launch.random.below(static_cast<uint32_t>(__builtin_popcount(lanes))); skip > 0; skip--)
        left &= left - 1;
    const int lane = __builtin_ctz(left);
    lanes &= ~(1u << lane);
    f(lane);
  }
}

template <int Bytes>
void load(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t bytes = Bytes * static_cast<uint32_t>(i.elements);
  for (; lanes != 0; lanes &= lanes - 1) {
    const int lane = __builtin_ctz(lanes);
    const Place place = placeAt(warp, lane, addressOf(warp, i, lane), i.space, bytes, false);
    note(warp, lane, place, bytes, false, i.isStrong);
    for (int e = 0; e < i.elements; e++) {
      uint64_t bits = 0;
      std::memcpy(&bits, place.data + e * Bytes, Bytes);
      setBits(warp, i.to[e], lane, extended(bits, i.type));
    }
  }
}

template <int Bytes>
void store(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t bytes = Bytes * static_cast<uint32_t>(i.elements);
  forLanesInAnyOrder(warp, lanes, [&](int lane) {
    const Place place = placeAt(warp, lane, addressOf(warp, i, lane), i.space, bytes, true);
    note(warp, lane, place, bytes, true, i.isStrong);
    for (int e = 0; e < i.elements; e++) {
      const uint64_t bits = bitsOf(warp, i.from[1 + e], lane);
      std::memcpy(place.data + e * Bytes, &bits, Bytes);
    }
  });
}

enum class Atomic { add, min, max, exchange, compareAndSwap, increment, conjunction, disjunction, difference, unknown };
constexpr std::pair<const char*, Atomic> kAtomics[] = {{"add", Atomic::add},
                                                       {"min", Atomic::min},
                                                       {"max", Atomic::max},
                                                       {"exch", Atomic::exchange},
                                                       {"cas", Atomic::compareAndSwap},
                                                       {"inc", Atomic::increment},
                                                       {"and", Atomic::conjunction},
                                                       {"or", Atomic::disjunction},
                                                       {"xor", Atomic::difference}};

template <class T>
T atomicResult(Atomic operation, T old, T x, T replacement) {
  switch (operation) {
    case Atomic::add: return static_cast<T>(old + x);
    case Atomic::min: return x < old ? x : old;
    case Atomic::max: return old < x ? x : old;
    case Atomic::exchange: return x;
    case Atomic::compareAndSwap: return old == x ? replacement : old;
    case Atomic::increment: return old >= x ? T{0} : static_cast<T>(old + 1);
    default: break;
  }
  if constexpr (std::is_integral_v<T>) {
    if (operation == Atomic::conjunction) return static_cast<T>(old & x);
    if (operation == Atomic::disjunction) return static_cast<T>(old | x);
    return static_cast<T>(old ^ x);
  }
  return old;
}

template <class T>
void atomic(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanesInAnyOrder(warp, lanes, [&](int lane) {
    const uint64_t address = addressOf(warp, i, lane);
    const Place place = placeAt(warp, lane, address, i.space, sizeof(T), true);
    note(warp, lane, place, sizeof(T), false, true);
    note(warp, lane, place, sizeof(T), true, true);
    T old;
    std::memcpy(&old, place.data, sizeof old);
    const T x = laneOf<T>(warp.words(i.from[1]), lane);
    const T replacement = i.from[2] ? laneOf<T>(warp.words(i.from[2]), lane) : T{};
    const T result = atomicResult(static_cast<Atomic>(i.operation), old, x, replacement);
    std::memcpy(place.data, &result, sizeof result);
    if (i.to[0]) setLane<T>(warp.words(i.to[0]), lane, old);
    if (place.isGlobal && settings().checks) noteAtomic(warp, lane, address);
  });
}

// operation: 1 for a fence of the block alone, which the barriers of the block make unnecessary.
void fence(Warp& warp, const Instruction& i, uint32_t lanes) {
  if (i.operation == 0) noteFence(warp, lanes);
}

// The target is poisoned until the thread waits for the copy. The checks see a write of this thread now, and another
// one when it waits.
void beginCopy(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t filled = i.immediate;
  for (; lanes != 0; lanes &= lanes - 1) {
    const int lane = __builtin_ctz(lanes);
    const auto bytes = i.from[2] ? static_cast<uint32_t>(bitsOf(warp, i.from[2], lane)) : filled;
    if (bytes > filled) fail(warp, "cp.async of more bytes than its size");
    const uint64_t to = addressOf(warp, i, lane);
    const uint64_t from = bitsOf(warp, i.from[1], lane) + static_cast<uint64_t>(i.variant);
    const Place place = placeAt(warp, lane, to, Space::shared, filled, true);
    note(warp, lane, place, filled, true, false);
    if (from % filled != 0) fail(warp, "cp.async from a misaligned address");
    if (bytes > 0) note(warp, lane, placeAt(warp, lane, from, Space::global, bytes, false), bytes, false, false);
    std::memset(place.data, 0xff, filled);
    if (place.shadow)
      for (uint32_t word = 0; word < filled / 4; word++) place.shadow[word].initialized = 0;
    warp.copies[lane].push_back({to, from, bytes, filled, warp.committed[lane]});
  }
}
void commitCopies(Warp& warp, const Instruction&, uint32_t lanes) {
  for (; lanes != 0; lanes &= lanes - 1) warp.committed[__builtin_ctz(lanes)]++;
}
// immediate: the number of groups that may still be in flight. operation: 1 to wait for all copies, committed or not.
void awaitCopies(Warp& warp, const Instruction& i, uint32_t lanes) {
  for (; lanes != 0; lanes &= lanes - 1) {
    const int lane = __builtin_ctz(lanes);
    std::vector<PendingCopy> left;
    for (const PendingCopy& copy : warp.copies[lane]) {
      if (i.operation == 0 && copy.group >= warp.committed[lane] - static_cast<int>(i.immediate)) {
        left.push_back(copy);
        continue;
      }
      const Place place = placeAt(warp, lane, copy.to, Space::shared, copy.filled, true);
      note(warp, lane, place, copy.filled, true, false);
      std::memset(place.data, 0, copy.filled);
      // NOLINTNEXTLINE(performance-no-int-to-ptr)
      std::memcpy(place.data, reinterpret_cast<const void*>(copy.from), copy.bytes);
    }
    warp.copies[lane] = std::move(left);
  }
}

Execute bySize(Type type, Execute one, Execute two, Execute four, Execute eight) {
  switch (bytesOf(type)) {
    case 1: return one;
    case 2: return two;
    case 4: return four;
    default: return eight;
  }
}

void decodeAsyncCopy(Operands& operands) {
  const Opcode& opcode = operands.opcode();
  Instruction& i = operands.instruction();
  if (opcode.has("commit_group")) {
    i.execute = commitCopies;
  } else if (opcode.hasOneOf("wait_group", "wait_all")) {
    i.kind = Kind::memory;
    i.operation = opcode.has("wait_all");
    if (operands.count() > 0) i.immediate = static_cast<uint32_t>(numberOf(operands.text(0)));
    i.execute = awaitCopies;
  } else if (!opcode.has("bulk")) {
    i.kind = Kind::memory;
    int64_t sourceOffset = 0;
    i.from[0] = operands.address(0, i.offset);
    i.from[1] = operands.address(1, sourceOffset);
    i.variant = static_cast<int>(sourceOffset);
    i.immediate = static_cast<uint32_t>(numberOf(operands.text(2)));
    if (operands.count() > 3) operands.from(2, 3, Type::u32);
    i.execute = beginCopy;
  }
}

Execute atomicOf(Type type) {
  switch (type) {
    case Type::s32: return atomic<int32_t>;
    case Type::u32:
    case Type::b32: return atomic<uint32_t>;
    case Type::u64:
    case Type::b64: return atomic<uint64_t>;
    case Type::f32: return atomic<float>;
    case Type::f64: return atomic<double>;
    default: return nullptr;
  }
}

// `red` is an atomic without a result.
void decodeAtomic(Operands& operands) {
  const Opcode& opcode = operands.opcode();
  Instruction& i = operands.instruction();
  const size_t first = opcode.name() == "atom" ? 1 : 0;
  if (first == 1) operands.to(0, 0, i.type);
  i.from[0] = operands.address(first, i.offset);
  for (size_t at = first + 1; at < operands.count(); at++) operands.from(static_cast<int>(at - first), at, i.type);
  i.operation = static_cast<int>(Atomic::unknown);
  for (const auto& [name, operation] : kAtomics)
    if (opcode.has(name)) i.operation = static_cast<int>(operation);
  // Atomics that are also fences are not used anywhere.
  const bool isFence = opcode.hasOneOf("acquire", "release", "acq_rel");
  if (!isFence && i.operation != static_cast<int>(Atomic::unknown)) i.execute = atomicOf(i.type);
}

}  // namespace

uint64_t addressOf(Warp& warp, const Instruction& i, int lane) {
  const uint64_t base = bitsOf(warp, i.from[0], lane), sum = base + static_cast<uint64_t>(i.offset);
  return i.from[0].bytes == 4 ? static_cast<uint32_t>(sum) : sum;
}

Place placeAt(Warp& warp, int lane, uint64_t address, Space space, uint32_t bytes, bool writes) {
  Block& block = *warp.block;
  Launch& launch = *block.launch;
  launch.currentThread = warp.thread(lane);
  if (space == Space::generic) space = spaceOf(address);
  if (address % std::min(bytes, 16u) != 0) fail(warp, describeAccess(writes, bytes) + " at a misaligned address");
  const auto expectInside = [&](uint64_t size, const char* what) {
    if (address + bytes > size)
      fail(warp, describeAccess(writes, bytes) + " at " + std::to_string(address) + " of " + std::to_string(size) +
                     " bytes of " + what + " memory");
  };
  switch (space) {
    case Space::shared:
      expectInside(block.shared.size(), "shared");
      return {block.shared.data() + address, block.sharedShadow.empty() ? nullptr : &block.sharedShadow[address / 4],
              static_cast<uint32_t>(address % 4), false};
    case Space::local: {
      const uint32_t localBytes = launch.kernel->localBytes;
      expectInside(localBytes, "local");
      return {warp.local + static_cast<size_t>(lane) * localBytes + address, nullptr, 0, false};
    }
    case Space::parameter:
      expectInside(launch.parameters.size(), "parameter");
      return {launch.parameters.data() + address, nullptr, 0, false};
    default: return globalPlace(warp, address, bytes, writes);
  }
}

void note(Warp& warp, int lane, const Place& place, uint32_t bytes, bool writes, bool isStrong) {
  if (place.shadow) noteAccess(warp, lane, place.shadow, place.byte, bytes, writes, isStrong, place.isGlobal);
}

bool decodeMemory(Operands& operands) {
  const Opcode& opcode = operands.opcode();
  Instruction& i = operands.instruction();
  const std::string_view name = opcode.name();
  i.isStrong = opcode.hasOneOf("volatile", "relaxed", "mmio");
  if (name == "ld" || name == "ldu" || name == "st") {
    const bool loads = name != "st";
    const auto elements = Operands::vector(operands.text(loads ? 0 : 1));
    i.elements = static_cast<int>(elements.size());
    for (size_t e = 0; e < elements.size(); e++) (loads ? i.to[e] : i.from[1 + e]) = operands.read(elements[e], i.type);
    i.from[0] = operands.address(loads ? 1 : 0, i.offset);
    i.space = operands.space();
    if (opcode.hasOneOf("acquire", "release")) return true;
    i.execute = loads ? bySize(i.type, load<1>, load<2>, load<4>, load<8>)
                      : bySize(i.type, store<1>, store<2>, store<4>, store<8>);
    i.kind = i.space == Space::parameter ? Kind::lanes : Kind::memory;
  } else if (name == "atom" || name == "red") {
    i.space = operands.space();
    i.kind = Kind::memory;
    decodeAtomic(operands);
  } else if (name == "membar" || name == "fence") {
    i.kind = Kind::memory;
    i.operation = opcode.has("cta");
    i.execute = fence;
  } else if (name == "cp" && opcode.has("async")) {
    decodeAsyncCopy(operands);
  } else {
    return false;
  }
  return true;
}

}  // namespace stepsize::ptx
