// Dense matrix products A[m,k]·B[k,n]; either operand may be stored transposed.
#pragma once

#include "../../epilogue.h"
#include "../../operations_attributes.h"
#include "gemm.h"

namespace stepsize::STEPSIZE_ISA {

// Operand A, stored as [m,k].
struct RowMajorRows {
  static constexpr bool kMajor = false;
  const float* data;
  int64_t columns;

  STEPSIZE_INLINE void pack(int64_t row, int rows, int64_t k0, int64_t depth, float* out) const {
    for (int r = 0; r < rows; r++) copyFloats(out + r * kDepth, data + (row + r) * columns + k0, depth);
  }
};

// Operand A, stored as [k,m].
struct KMajorRows {
  static constexpr bool kMajor = true;
  const float* data;
  int64_t stride;

  // The rows are copied although the tile kernel could read them in place: with a stride of 4 KiB all their cache lines
  // would share one cache set.
  STEPSIZE_INLINE void pack(int64_t row, int rows, int64_t k0, int64_t depth, float* out) const {
    const float* from = data + k0 * stride + row;
    for (int64_t k = 0; k < depth; k++) copyFloats(out + k * kNarrowTileRows, from + k * stride, rows);
  }
};

// Operand B, stored as [k,n].
struct DensePanel {
  const float* data;
  int64_t stride;

  STEPSIZE_INLINE void pack(int64_t k0, int64_t depth, int64_t column, int64_t columns, int64_t width,
                            float* out) const {
    for (int64_t k = 0; k < depth; k++, out += width) {
      copyFloats(out, data + (k0 + k) * stride + column, columns);
      for (int64_t j = columns; j < width; j++) out[j] = 0;
    }
  }
};

// Transposes a block of kLanes × kLanes floats.
STEPSIZE_INLINE void transposeBlock(const float* from, int64_t stride, float* to, int64_t toStride) {
#if defined(__AVX512F__)
  // Two rounds of shuffles inside 128-bit lanes transpose 4 × 4 blocks; two rounds across lanes put the blocks in
  // place.
  Vec a[16], b[16];
  for (int i = 0; i < 16; i++) a[i] = load(from + i * stride);
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm512_shuffle_ps(b[i], b[i + 2], 0xEE);
    a[i + 2] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; i++) {
    b[i] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88);
    b[i + 4] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xDD);
    b[i + 8] = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0x88);
    b[i + 12] = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0xDD);
  }
  for (int i = 0; i < 4; i++) {
    store(to + i * toStride, _mm512_shuffle_f32x4(b[i], b[i + 8], 0x88));
    store(to + (i + 4) * toStride, _mm512_shuffle_f32x4(b[i + 4], b[i + 12], 0x88));
    store(to + (i + 8) * toStride, _mm512_shuffle_f32x4(b[i], b[i + 8], 0xDD));
    store(to + (i + 12) * toStride, _mm512_shuffle_f32x4(b[i + 4], b[i + 12], 0xDD));
  }
#elif defined(__AVX2__)
  Vec a[8], b[8];
  for (int i = 0; i < 8; i++) a[i] = load(from + i * stride);
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xEE);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; i++) {
    store(to + i * toStride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    store(to + (i + 4) * toStride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
#elif defined(STEPSIZE_NEON)
  float32x4_t a[4];
  for (int i = 0; i < 4; i++) a[i] = vld1q_f32(from + i * stride);
  const float32x4_t even = vzip1q_f32(a[0], a[2]), odd = vzip1q_f32(a[1], a[3]);
  const float32x4_t evenUpper = vzip2q_f32(a[0], a[2]), oddUpper = vzip2q_f32(a[1], a[3]);
  vst1q_f32(to, vzip1q_f32(even, odd));
  vst1q_f32(to + toStride, vzip2q_f32(even, odd));
  vst1q_f32(to + 2 * toStride, vzip1q_f32(evenUpper, oddUpper));
  vst1q_f32(to + 3 * toStride, vzip2q_f32(evenUpper, oddUpper));
#else
  for (int i = 0; i < kLanes; i++)
    for (int j = 0; j < kLanes; j++) to[j * toStride + i] = from[i * stride + j];
#endif
}

// Operand B, stored as [n,k].
struct TransposedPanel {
  const float* data;
  int64_t stride;

  STEPSIZE_INLINE void pack(int64_t k0, int64_t depth, int64_t column, int64_t columns, int64_t width,
                            float* out) const {
    const float* from = data + column * stride + k0;
    const int64_t wholeColumns = columns / kLanes * kLanes;
    const int64_t wholeDepth = depth / kLanes * kLanes;
    for (int64_t j = 0; j < wholeColumns; j += kLanes)
      for (int64_t k = 0; k < wholeDepth; k += kLanes)
        transposeBlock(from + j * stride + k, stride, out + k * width + j, width);
    for (int64_t k = 0; k < depth; k++)
      for (int64_t j = k < wholeDepth ? wholeColumns : 0; j < width; j++)
        out[k * width + j] = j < columns ? from[j * stride + k] : 0;
  }
};

// Operand C, stored as [m,n].
struct DenseRows {
  float* data;
  int64_t stride;
  STEPSIZE_INLINE float* row(int64_t i) const { return data + i * stride; }
};

// Applies the epilogue row by row while a chunk is in the cache.
inline void finishProduct(const Invocation& call) {
  const EpilogueTensors at(call.inputs, call.integer(attribute::matmul::bias) != 0);
  const float* bias = at.bias < 0 ? nullptr : call.input(at.bias).floats();
  const float* residual = at.residual < 0 ? nullptr : call.input(at.residual).floats();
  const Activate activate{static_cast<Activation>(call.integer(attribute::matmul::activation))};
  if (!bias && !residual && activate.kind == Activation::none) return;
  const TensorView& out = call.output(0);
  const int64_t columns = out.shape[1];
  parallelChunks(call, out.shape[0], most(1, kChunk / most(1, columns)), [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      float* row = out.floats() + i * columns;
      if (bias)
        for (int64_t j = 0; j < columns; j++) row[j] += bias[j];
      if (activate.kind != Activation::none)
        for (int64_t j = 0; j < columns; j++) row[j] = activate(row[j]);
      if (residual)
        for (int64_t j = 0; j < columns; j++) row[j] += residual[i * columns + j];
    }
  });
}

inline void multiplyMatrices(const Invocation& call) {
  const TensorView& a = call.input(0);
  const TensorView& b = call.input(1);
  const TensorView& out = call.output(0);
  const int64_t m = out.shape[0], n = out.shape[1];
  const bool transposeA = call.integer(attribute::matmul::transposeA) != 0;
  const bool transposeB = call.integer(attribute::matmul::transposeB) != 0;
  const int64_t k = a.shape[transposeA ? 0 : 1];
  const DenseRows c{out.floats(), n};
  const RowMajorRows rows{a.floats(), k};
  const KMajorRows columns{a.floats(), m};
  const DensePanel dense{b.floats(), n};
  const TransposedPanel transposed{b.floats(), k};
  if (transposeA && transposeB) return gemm(call, m, n, k, columns, transposed, c);
  if (transposeA) return gemm(call, m, n, k, columns, dense, c);
  if (transposeB) return gemm(call, m, n, k, rows, transposed, c);
  gemm(call, m, n, k, rows, dense, c);
}

inline void matmul(const Invocation& call) {
  multiplyMatrices(call);
  finishProduct(call);
}

}  // namespace stepsize::STEPSIZE_ISA
