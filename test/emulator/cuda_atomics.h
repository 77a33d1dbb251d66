// CUDA's atomics and fences. Atomics are relaxed, as on a device. With several workers, blocks execute them
// concurrently.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "block_runner.h"

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's.

namespace stepsize::emulator {

template <class T, class F>
STEPSIZE_EMULATOR_INTERNAL T exchange(T* address, F replacement) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  runner->serials.usedAtomics = true;
  auto* bits = reinterpret_cast<Bits*>(address);
  Bits before = __atomic_load_n(bits, __ATOMIC_RELAXED), after = 0;
  T value;
  do {
    memcpy(&value, &before, sizeof value);
    const T next = replacement(value);
    memcpy(&after, &next, sizeof after);
  } while (!__atomic_compare_exchange_n(bits, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return value;
}

STEPSIZE_EMULATOR_INTERNAL inline void fence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

}  // namespace stepsize::emulator

inline void __threadfence() { stepsize::emulator::fence(); }
inline void __threadfence_block() { stepsize::emulator::fence(); }

// std::type_identity_t makes the address alone determine the type.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return stepsize::emulator::exchange(address, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return stepsize::emulator::exchange(address, [&](T old) { return old < value ? value : old; });
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return stepsize::emulator::exchange(address, [&](T old) { return value < old ? value : old; });
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return stepsize::emulator::exchange(address, [&](T old) { return old | value; });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return stepsize::emulator::exchange(address, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return stepsize::emulator::exchange(address, [&](T old) { return old == expected ? value : old; });
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return stepsize::emulator::exchange(address, [&](unsigned old) { return old >= limit ? 0u : old + 1; });
}

// NOLINTEND(bugprone-reserved-identifier)
