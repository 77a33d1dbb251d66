// Wrappers of tensor-core instructions and asynchronous copies. Each wrapper has inline PTX and calls
// its equivalent in the emulator. If a comment says "the whole warp", all lanes must call the function together.
//
// Source: PTX ISA, sections "Warp-level matrix instructions" and "Asynchronous copy".
#pragma once

#include "platform.cuh"
#include "vector_access.cuh"

namespace stepsize::cuda {

#if defined(STEPSIZE_EMULATED)
#define STEPSIZE_WHERE , emulator::Place where = emulator::Place::current()
#else
#define STEPSIZE_WHERE
__device__ __forceinline__ unsigned sharedAddress(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}
#endif

// C += A·B for bfloat16 A, 16 × 16, and B, 16 × 8, and float32 C; the whole warp. With g = lane / 4 and t = lane % 4, a
// lane has
//   a[0…3]    A[g][2t, 2t + 1], A[g + 8][…], A[g][2t + 8, …], A[g + 8][2t + 8, …]      two in a word
//   b[0, 1]   B[2t, 2t + 1][g], B[2t + 8, …][g]
//   c[0…3]    C[g][2t], C[g][2t + 1], C[g + 8][2t], C[g + 8][2t + 1]
// With Tf32, A is 16 × 8 and B 8 × 8. Their elements are results of roundedToTf32, one in a word:
//   a[0…3]    A[g][t], A[g + 8][t], A[g][t + 4], A[g + 8][t + 4]
//   b[0, 1]   B[t][g], B[t + 4][g]
template <bool Tf32 = false>
__device__ __forceinline__ void multiplyAdd(float (&c)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2] STEPSIZE_WHERE) {
#if defined(STEPSIZE_EMULATED)
  emulator::multiplyMatrices<Tf32>(a, b, c, where);
#else
  if constexpr (Tf32)
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// A float32 rounded to the nearest TF32, which has its range and 10 bits of its mantissa. From sm_90 on this is one
// instruction, and ties go to even. sm_80 takes three, and rounds ties away from zero.
__device__ __forceinline__ uint32_t roundedToTf32(float x) {
#if defined(STEPSIZE_EMULATED)
  return emulator::roundedToTf32(x);
#else
  uint32_t result;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(x));
#else
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(result) : "f"(x));
#endif
  return result;
#endif
}

// Loads four matrices of 8 × 8 bfloat16 from shared memory; the whole warp. `row` is the address of row lane % 8 of
// matrix lane / 8. Of each matrix a lane gets M[g][2t, 2t + 1], or M[2t, 2t + 1][g] if transposed.
template <bool Transposed>
__device__ __forceinline__ void loadMatrices(uint32_t (&r)[4], const void* row STEPSIZE_WHERE) {
#if defined(STEPSIZE_EMULATED)
  emulator::loadMatrices<Transposed>(r, row, where);
#else
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(sharedAddress(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(sharedAddress(row))
                 : "memory");
#endif
}

// Starts to copy 16 bytes from global to shared memory, bypassing registers and the L1 cache. With `zeros` it writes
// zeros instead and reads nothing: `from` may then be outside of its tensor, but must be aligned to 16 bytes.
__device__ __forceinline__ void copyAsync16(void* to, const void* from, bool zeros STEPSIZE_WHERE) {
#if defined(STEPSIZE_EMULATED)
  emulator::copyLater(to, zeros ? nullptr : from, where);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(zeros ? 0 : 16)
               : "memory");
#endif
}

// Makes a group of the copies that this thread started since the last call.
__device__ __forceinline__ void commitCopies() {
#if defined(STEPSIZE_EMULATED)
  emulator::commitCopies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most `Pending` of this thread's groups are unfinished. Other threads see the bytes only after a
// barrier.
template <int Pending>
__device__ __forceinline__ void waitForCopies() {
#if defined(STEPSIZE_EMULATED)
  emulator::waitForCopies(Pending);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

#undef STEPSIZE_WHERE

// Fragments. The functions below load mma fragments from tiles in shared memory, and makes them from the sums of an
// earlier mma. A tile consists of lines (rows of the first operand or columns of the second) and depths (the index that
// is summed over). chunk(line, depth) is the address of the eight elements that contain this one. These eight are
// neighbours along lines if kAlongLines is set, otherwise along depths.

// Loads four blocks of 8 × 8 from `line` and `depth` on. They are ordered lines first, as the first operand needs them,
// or depths first, as the second does.
template <bool LinesFirst, class Tile>
__device__ __forceinline__ void loadFragments(const Tile& tile, int line, int depth, uint32_t (&r)[4]) {
  constexpr bool alongLines = Tile::kAlongLines;
  const int lane = static_cast<int>(threadIdx.x) % 32, within = lane % 8, block = lane / 8;
  const int first = block % 2 * 8, second = block / 2 * 8;
  line += LinesFirst ? first : second;
  depth += LinesFirst ? second : first;
  // The row that a lane addresses is a row of memory. If lines are neighbours in memory, it is a row of the transposed
  // matrix.
  loadMatrices<alongLines>(r, alongLines ? tile.chunk(line, depth + within) : tile.chunk(line + within, depth));
}

// C += A·B for A with 16 lines and B with 16 lines, which are two fragments of eight.
template <bool Tf32 = false>
__device__ __forceinline__ void multiplyAdd(float (&c0)[4], float (&c1)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[4]) {
  const uint32_t lower[2] = {b[0], b[1]}, upper[2] = {b[2], b[3]};
  multiplyAdd<Tf32>(c0, a, lower);
  multiplyAdd<Tf32>(c1, a, upper);
}

// Rounds 16 × 16 sums and makes them the first operand of another product.
__device__ __forceinline__ void asFirstOperand(const float (&sums)[2][4], uint32_t (&a)[4]) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    a[2 * half] = roundedPair(sums[half][0], sums[half][1]);
    a[2 * half + 1] = roundedPair(sums[half][2], sums[half][3]);
  }
}

}  // namespace stepsize::cuda
