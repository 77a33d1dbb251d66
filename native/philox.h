// Philox4x32-10, a counter-based random number generator. A number is a pure function of (seed, stream, position), so
// it depends neither on the number of threads nor on earlier draws.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <cstdint>

#include "host_device.h"
namespace stepsize {

// The four random words of one counter.
struct Philox4 {
  uint32_t word[4];
};

// The random words of a 128-bit counter under a key.
STEPSIZE_HOST_DEVICE Philox4 philox(uint64_t counterLow, uint64_t counterHigh, uint64_t key) {
  uint32_t c0 = static_cast<uint32_t>(counterLow), c1 = static_cast<uint32_t>(counterLow >> 32);
  uint32_t c2 = static_cast<uint32_t>(counterHigh), c3 = static_cast<uint32_t>(counterHigh >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; round++) {
    const uint64_t product0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ k0;
    const uint32_t next2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(product1);
    c3 = static_cast<uint32_t>(product0);
    c0 = next0;
    c2 = next2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// A number in [0, 1) from the upper 24 bits, which a float32 holds exactly.
STEPSIZE_HOST_DEVICE float uniformFromBits(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

// The call counter of dropout, read from a float32 tensor that any code may have written. A value that is not a count
// becomes 0: converting a number that an integer cannot hold is undefined, and compilers and devices differ.
STEPSIZE_HOST_DEVICE uint64_t countOf(float calls) {
  return calls >= 0.0f && calls < 0x1p63f ? static_cast<uint64_t>(calls) : 0;
}

}  // namespace stepsize
