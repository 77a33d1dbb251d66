// Tensor-core instructions and asynchronous copies, lane by lane as the PTX ISA documents them (sections "Matrix
// multiply-accumulate" and "Asynchronous copy"), for the wrappers in native/cuda/tensor_core.cuh. The rounding inside a
// product is not modeled: here the products of a result are added in double and rounded once.
#pragma once

#include <cstring>

#include "cuda_bfloat16.h"
#include "cuda_collectives.h"

namespace stepsize::emulator {

inline bool isAligned16(const void* address) { return (reinterpret_cast<uintptr_t>(address) & 15) == 0; }

// One lane's parts of A, B and C (16 × 8) in mma.sync. A is 16 × 16 and B is 16 × 8 in bfloat16, two elements in a
// word. A is 16 × 8 and B 8 × 8 in TF32, one element in a word.
struct MatrixProduct {
  const uint32_t* a;  // 4 words
  const uint32_t* b;  // 2 words
  float* c;           // 4
};

// The bits of a float32 that TF32 does not have.
constexpr uint32_t kBelowTf32 = 0x1fff;

// cvt.rn.tf32.f32. The PTX ISA does not define where the bits of a TF32 are. Here they are the upper bits of a float32.
inline uint32_t roundedToTf32(float x) {
  if (x != x) return 0x7fffffffu & ~kBelowTf32;
  const uint32_t bits = __float_as_uint(x);
  return (bits + kBelowTf32 / 2 + (bits >> 13 & 1)) & ~kBelowTf32;
}

template <bool Tf32>
STEPSIZE_EMULATOR_INTERNAL void combineProduct(void** arguments, uint32_t) {
  // The words of a lane lie in columns of A and rows of B that are a multiple of this apart.
  constexpr uint32_t perWord = Tf32 ? 1 : 2, depths = 8 * perWord;
  const auto element = [](uint32_t word, uint32_t e) {
    return __uint_as_float(Tf32 ? word : e == 0 ? word << 16 : word & 0xffff0000u);
  };
  float a[16][depths], b[depths][8];
  for (uint32_t lane = 0; lane < kWarpSize; lane++) {
    const auto* lanePart = static_cast<const MatrixProduct*>(arguments[lane]);
    const uint32_t group = lane / 4, first = lane % 4 * perWord;
    for (uint32_t e = 0; e < perWord; e++) {
      for (uint32_t r = 0; r < 4; r++)
        a[group + r % 2 * 8][first + r / 2 * 4 * perWord + e] = element(lanePart->a[r], e);
      for (uint32_t r = 0; r < 2; r++) b[first + r * 4 * perWord + e][group] = element(lanePart->b[r], e);
    }
  }
  for (uint32_t lane = 0; lane < kWarpSize; lane++) {
    const auto* lanePart = static_cast<const MatrixProduct*>(arguments[lane]);
    for (uint32_t r = 0; r < 4; r++) {
      const uint32_t row = lane / 4 + r / 2 * 8, column = lane % 4 * 2 + r % 2;
      double sum = lanePart->c[r];
      for (uint32_t k = 0; k < depths; k++) sum += static_cast<double>(a[row][k]) * b[k][column];
      lanePart->c[r] = static_cast<float>(sum);
    }
  }
}

// One lane's part of ldmatrix.x4: lane l provides row l % 8 of matrix l / 8, eight bfloat16.
struct MatrixLoad {
  uint16_t row[8];
  uint32_t* result;  // 4
};

template <bool Transposed>
STEPSIZE_EMULATOR_INTERNAL void combineLoad(void** arguments, uint32_t) {
  const auto at = [&](uint32_t matrix, uint32_t row, uint32_t column) {
    return uint32_t{static_cast<const MatrixLoad*>(arguments[matrix * 8 + row])->row[column]};
  };
  for (uint32_t lane = 0; lane < kWarpSize; lane++)
    for (uint32_t matrix = 0; matrix < 4; matrix++) {
      const uint32_t group = lane / 4, pair = lane % 4 * 2;
      static_cast<const MatrixLoad*>(arguments[lane])->result[matrix] =
          Transposed ? at(matrix, pair, group) | at(matrix, pair + 1, group) << 16
                     : at(matrix, group, pair) | at(matrix, group, pair + 1) << 16;
    }
}

template <bool Tf32>
void multiplyMatrices(const uint32_t* a, const uint32_t* b, float* c, Place where) {
  if (Tf32 && ((a[0] | a[1] | a[2] | a[3] | b[0] | b[1]) & kBelowTf32) != 0)
    runner->fail("mma.sync at " + describe(where) + ": an operand is not rounded to TF32");
  MatrixProduct argument{a, b, c};
  runner->collective(kAllLanes, combineProduct<Tf32>, &argument, "mma.sync", where);
}

template <bool Transposed>
void loadMatrices(uint32_t* result, const void* row, Place where) {
  if (!isAligned16(row)) runner->fail("ldmatrix at " + describe(where) + ": the row is not aligned to 16 bytes");
  MatrixLoad argument{{}, result};
  memcpy(argument.row, row, sizeof argument.row);
  runner->collective(kAllLanes, combineLoad<Transposed>, &argument, "ldmatrix", where);
}

// Starts a copy. The bytes arrive when the thread waits for them, and are NaN until then.
inline void copyLater(void* to, const void* from, Place where) {
  if (!isAligned16(to) || !isAligned16(from))
    runner->fail("cp.async at " + describe(where) + ": an address is not aligned to 16 bytes");
  memset(to, 0xff, 16);
  const OutsideKernel outside;
  currentThread->copies.push_back({to, from, currentThread->copyGroup});
}

inline void commitCopies() {
  const OutsideKernel outside;
  currentThread->copyGroup++;
}

// Takes the oldest copy of a group before the last `pending` ones; false if there is none.
inline bool takeArrived(uint32_t pending, AsyncCopy& copy) {
  const OutsideKernel outside;
  std::vector<AsyncCopy>& copies = currentThread->copies;
  if (copies.empty() || copies.front().group + pending >= currentThread->copyGroup) return false;
  copy = copies.front();
  copies.erase(copies.begin());
  return true;
}

inline void waitForCopies(uint32_t pending) {
  AsyncCopy copy{};
  // The race detector treats these writes as writes of the kernel: other threads must not read the bytes before they
  // are synchronized.
  while (takeArrived(pending, copy)) {
    if (copy.from)
      memcpy(copy.to, copy.from, 16);
    else
      memset(copy.to, 0, 16);
  }
}

}  // namespace stepsize::emulator
