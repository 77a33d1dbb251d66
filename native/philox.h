// Philox4x32-10, a counter-based random number generator. A number is a pure function of (seed, stream, position), so
// it depends neither on the number of threads nor on earlier draws.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <math.h>

#include <cstdint>

#include "host_device.h"
namespace stepsize {

// The four random words of one counter.
struct Philox4 {
  uint32_t word[4];
};

// The keys of the ten rounds. They follow from the first one, so a kernel that gets them as an argument adds nothing.
struct PhiloxKeys {
  static constexpr int kRounds = 10;
  uint32_t even[kRounds], odd[kRounds];

  STEPSIZE_HOST_DEVICE explicit PhiloxKeys(uint64_t key) {
    STEPSIZE_UNROLL
    for (uint32_t round = 0; round < kRounds; round++) {
      even[round] = static_cast<uint32_t>(key) + round * 0x9E3779B9u;
      odd[round] = static_cast<uint32_t>(key >> 32) + round * 0xBB67AE85u;
    }
  }
};

// The random words of a 128-bit counter under a key.
STEPSIZE_HOST_DEVICE Philox4 philox(uint64_t counterLow, uint64_t counterHigh, const PhiloxKeys& keys) {
  uint32_t c0 = static_cast<uint32_t>(counterLow), c1 = static_cast<uint32_t>(counterLow >> 32);
  uint32_t c2 = static_cast<uint32_t>(counterHigh), c3 = static_cast<uint32_t>(counterHigh >> 32);
  STEPSIZE_UNROLL
  for (int round = 0; round < PhiloxKeys::kRounds; round++) {
    const uint64_t product0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ keys.even[round];
    const uint32_t next2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ keys.odd[round];
    c1 = static_cast<uint32_t>(product1);
    c3 = static_cast<uint32_t>(product0);
    c0 = next0;
    c2 = next2;
  }
  return {{c0, c1, c2, c3}};
}
STEPSIZE_HOST_DEVICE Philox4 philox(uint64_t counterLow, uint64_t counterHigh, uint64_t key) {
  return philox(counterLow, counterHigh, PhiloxKeys(key));
}

// A number in [0, 1) from the upper 24 bits, which a float32 holds exactly.
STEPSIZE_HOST_DEVICE float uniformFromBits(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

// The smallest random words of which the number is at least `probability`, which is in [0, 1]. 2³² if no word is.
STEPSIZE_HOST_DEVICE uint64_t firstBitsOf(float probability) {
  return static_cast<uint64_t>(ceilf(probability * 0x1p24f)) << 8;
}

// The call counter of dropout, read from a float32 tensor that any code may have written. A value that is not a count
// becomes 0: converting a number that an integer cannot hold is undefined, and compilers and devices differ.
STEPSIZE_HOST_DEVICE uint64_t countOf(float calls) {
  return calls >= 0.0f && calls < 0x1p63f ? static_cast<uint64_t>(calls) : 0;
}

}  // namespace stepsize
