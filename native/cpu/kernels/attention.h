// Causal attention, head by head, and its gradient: O = softmax(Q·Kᵀ·scale)·V, where query i sees the keys 0 … i.
//
// Q, K, V and O are [batch, length, heads, size]. The scores are never stored as a whole: blocks of queries meet blocks
// of keys, with the running maximum and sum of Milakov and Gimelshein (2018), as in FlashAttention (Dao et al. 2022).
// The backward pass recomputes the probabilities from the maximum and sum of each row. The products use the tiles of
// gemm.h.
//
// The maximum and the inverse of the sum are stored as two numbers. A single number, the logarithm of the sum of
// exponentials, has a rounding error that grows with the scores: at scores of 10⁴ the probabilities would be wrong in
// the third digit.
//
// Each pair of positions takes 4·size flops per head forward and 10·size backward. Only the causal half of the pairs is
// computed.
#pragma once

#include <math.h>

#include "exponential.h"
#include "matmul.h"
#include "reduce.h"

namespace stepsize::STEPSIZE_ISA {

// The keys of a block. The tile kernel expects the rows of a row-major A to be kDepth apart, so a block of scores has
// this width.
constexpr int64_t kKeys = kDepth;
constexpr int64_t kQueries = 8 * kTileRows;
static_assert(kDepth >= 256, "a head of 256, the most that the rule allows, must fit a row");

// The shape of Q, K, V and O.
struct AttentionShape {
  int64_t batch, length, heads, size;
  explicit AttentionShape(const Shape& s) : batch(s[0]), length(s[1]), heads(s[2]), size(s[3]) {}

  int64_t stride() const { return heads * size; }
  // The first row of a head; heads are counted over the whole batch. Rows are stride() apart.
  float* rowsOf(const TensorView& x, int64_t head) const {
    return x.floats() + head / heads * length * stride() + head % heads * size;
  }
};

// The second operand of a product, packed into panels of up to kPanel columns, each [depth][columns].
struct Panels {
  const float* data;
  int64_t depth, width;
};

// Hands out the scratch memory of a thread piece by piece.
class Scratch {
 public:
  explicit Scratch(const Invocation& call) : free_(call.scratch()) {}

  float* take(int64_t floats) {
    float* piece = free_;
    free_ += floats;
    return piece;
  }
  // Packs rows as a row-major first operand.
  float* rows(const float* from, int64_t stride, int64_t count, int64_t size) {
    float* out = take(kQueries * kDepth);
    RowMajorRows{from, stride}.pack(0, static_cast<int>(count), 0, size, out);
    return out;
  }
  // Packs a matrix as a second operand.
  template <class Source>
  Panels panels(const Source& source, int64_t depth, int64_t width) {
    float* out = take(ceilDivide(width, kPanel) * kPanel * depth);
    for (int64_t column = 0; column < width; column += kPanel) {
      const int64_t columns = least(kPanel, width - column);
      source.pack(0, depth, column, columns, vectorsOf(columns) * kLanes, out + column * depth);
    }
    return {out, depth, width};
  }

 private:
  float* free_;
};
static_assert(6 * kQueries * kDepth + 3 * kKeys * kDepth <= kScratchFloats, "what the backward pass takes");

// C (+)= A·B for up to kTileRows rows of a row-major A, over the first `depth` rows of B and over those of its panels
// that begin before `columns`. Row r of C is at c + r·stride.
STEPSIZE_INLINE void multiplyTile(const float* a, int rows, const Panels& b, int64_t depth, int64_t columns, float* c,
                                  int64_t stride, bool accumulate) {
  float* to[kTileRows];
  for (int64_t column = 0; column < columns; column += kPanel) {
    for (int r = 0; r < rows; r++) to[r] = c + r * stride + column;
    computeTile<false>(depth, a, kDepth, b.data + column * b.depth, to, rows, least(kPanel, b.width - column),
                       accumulate);
  }
}

// C += Aᵀ·B, starting with row `first` of A. A is k-major, with rows kKeys apart.
STEPSIZE_INLINE void addTransposedTile(const float* a, int rows, const Panels& b, int64_t first, float* c,
                                       int64_t stride) {
  float* to[kTileRows];
  for (int64_t column = 0; column < b.width; column += kPanel) {
    const int64_t columns = least(kPanel, b.width - column);
    for (int r = 0; r < rows; r++) to[r] = c + r * stride + column;
    computeTile<true>(b.depth - first, a + first * kKeys, kKeys,
                      b.data + column * b.depth + first * vectorsOf(columns) * kLanes, to, rows, columns, true);
  }
}

// Calls f(first row, number of rows) for each tile of a block.
template <class F>
STEPSIZE_INLINE void forTiles(int64_t rows, const F& f) {
  for (int64_t row = 0; row < rows; row += kTileRows) f(row, static_cast<int>(least(kTileRows, rows - row)));
}

// The largest score, or `before` if that is larger; a NaN is ignored. `products` are the scores before scaling.
STEPSIZE_INLINE float largestScore(const float* products, int64_t count, float scale, float before) {
  const Vec factor = broadcast(scale);
  Vec most = broadcast(before);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec score = load(products + i) * factor;
    most = score > most ? score : most;
  }
  float lanes[kLanes];
  store(lanes, most);
  float largest = before;
  for (float lane : lanes) largest = lane > largest ? lane : largest;
  for (; i < count; i++) largest = products[i] * scale > largest ? products[i] * scale : largest;
  return largest;
}

// How many of the keys from `key0` on a query sees.
STEPSIZE_INLINE int64_t visibleKeys(int64_t query, int64_t key0, int64_t keys) {
  return most(0, least(keys, query + 1 - key0));
}

// One task computes kQueries queries of one head.
inline void attention(const Invocation& call) {
  const AttentionShape shape(call.input(0).shape);
  const float scale = call.number(attribute::attention::scale);
  const int64_t blocks = ceilDivide(shape.length, kQueries), stride = shape.stride(), size = shape.size;
  parallelFor(call, shape.batch * shape.heads * blocks, [&](int64_t task) {
    const int64_t head = task / blocks, query0 = task % blocks * kQueries;
    const int64_t queries = least(kQueries, shape.length - query0);
    Scratch scratch(call);
    float* scores = scratch.take(kQueries * kKeys);
    float* sums = scratch.take(queries * size);  // Σ p·v, before the division by Σ p
    const float* q = scratch.rows(shape.rowsOf(call.input(0), head) + query0 * stride, stride, queries, size);
    float largest[kQueries], total[kQueries];
    for (int64_t i = 0; i < queries; i++) {
      largest[i] = -__builtin_inff();
      total[i] = 0;
    }
    zeroFloats(sums, queries * size);
    for (int64_t key0 = 0; key0 < query0 + queries; key0 += kKeys) {
      const int64_t keys = least(kKeys, query0 + queries - key0);
      Scratch block = scratch;
      const Panels k =
          block.panels(TransposedPanel{shape.rowsOf(call.input(1), head) + key0 * stride, stride}, size, keys);
      const Panels v = block.panels(DensePanel{shape.rowsOf(call.input(2), head) + key0 * stride, stride}, keys, size);
      forTiles(queries, [&](int64_t row, int rows) {
        const int64_t seen = visibleKeys(query0 + row + rows - 1, key0, keys);
        multiplyTile(q + row * kDepth, rows, k, size, seen, scores + row * kKeys, kKeys, false);
        for (int64_t i = row; i < row + rows; i++) {
          float* p = scores + i * kKeys;
          const int64_t visible = visibleKeys(query0 + i, key0, keys);
          const float before = largest[i];
          largest[i] = largestScore(p, visible, scale, before);
          const Vec factor = broadcast(scale), shift = broadcast(-largest[i]);
          mapVectors(p, p, visible, [=](Vec s) { return exponential(fma(s, factor, shift)); });
          zeroFloats(p + visible, seen - visible);
          const float fading = exponential(before - largest[i]);
          total[i] = total[i] * fading + sumFloats(p, visible);
          for (int64_t d = 0; d < size; d++) sums[i * size + d] *= fading;
        }
        multiplyTile(scores + row * kKeys, rows, v, seen, size, sums + row * size, size, true);
      });
    }
    float* out = shape.rowsOf(call.output(0), head) + query0 * stride;
    float* maxima = call.output(1).floats() + head * shape.length + query0;
    float* inverseSums = call.output(2).floats() + head * shape.length + query0;
    for (int64_t i = 0; i < queries; i++) {
      maxima[i] = largest[i];
      inverseSums[i] = 1 / total[i];
      for (int64_t d = 0; d < size; d++) out[i * stride + d] = sums[i * size + d] / total[i];
    }
  });
}

// With P the probabilities, g the gradient of O and δ_i = Σ_d g_id·O_id:
//   dV = Pᵀ·g,  dS = P∘(g·Vᵀ − δ)·scale,  dQ = dS·K,  dK = dSᵀ·Q
// One task computes one head, so that the sums over queries in dK and dV have one order.
inline void attentionGradient(const Invocation& call) {
  const AttentionShape shape(call.input(0).shape);
  const float scale = call.number(attribute::attention::scale);
  const int64_t stride = shape.stride(), size = shape.size;
  parallelFor(call, shape.batch * shape.heads, [&](int64_t head) {
    const float* maxima = call.input(5).floats() + head * shape.length;
    const float* inverseSums = call.input(6).floats() + head * shape.length;
    float* dQ = shape.rowsOf(call.output(0), head);
    float* dK = shape.rowsOf(call.output(1), head);
    float* dV = shape.rowsOf(call.output(2), head);
    float* const results[] = {dQ, dK, dV};
    for (float* result : results)
      for (int64_t p = 0; p < shape.length; p++) zeroFloats(result + p * stride, size);
    for (int64_t query0 = 0; query0 < shape.length; query0 += kQueries) {
      const int64_t queries = least(kQueries, shape.length - query0);
      const float* queryRows = shape.rowsOf(call.input(0), head) + query0 * stride;
      const float* outputRows = shape.rowsOf(call.input(3), head) + query0 * stride;
      const float* gradientRows = shape.rowsOf(call.input(4), head) + query0 * stride;
      Scratch scratch(call);
      float* p = scratch.take(kQueries * kKeys);
      float* dS = scratch.take(kQueries * kKeys);
      const float* q = scratch.rows(queryRows, stride, queries, size);
      const float* g = scratch.rows(gradientRows, stride, queries, size);
      const Panels qPanels = scratch.panels(DensePanel{queryRows, stride}, queries, size);
      const Panels gPanels = scratch.panels(DensePanel{gradientRows, stride}, queries, size);
      float delta[kQueries];
      for (int64_t i = 0; i < queries; i++) {
        const float* a = gradientRows + i * stride;
        const float* b = outputRows + i * stride;
        delta[i] = sumRow(
            size, [&](int64_t d) { return load(a + d) * load(b + d); }, [&](int64_t d) { return a[d] * b[d]; });
      }
      for (int64_t key0 = 0; key0 < query0 + queries; key0 += kKeys) {
        const int64_t keys = least(kKeys, query0 + queries - key0);
        const float* keyRows = shape.rowsOf(call.input(1), head) + key0 * stride;
        const float* valueRows = shape.rowsOf(call.input(2), head) + key0 * stride;
        Scratch block = scratch;
        const Panels kTransposed = block.panels(TransposedPanel{keyRows, stride}, size, keys);
        const Panels vTransposed = block.panels(TransposedPanel{valueRows, stride}, size, keys);
        const Panels k = block.panels(DensePanel{keyRows, stride}, keys, size);
        forTiles(queries, [&](int64_t row, int rows) {
          const int64_t seen = visibleKeys(query0 + row + rows - 1, key0, keys);
          multiplyTile(q + row * kDepth, rows, kTransposed, size, seen, p + row * kKeys, kKeys, false);
          multiplyTile(g + row * kDepth, rows, vTransposed, size, seen, dS + row * kKeys, kKeys, false);
          for (int64_t i = row; i < row + rows; i++) {
            float* pRow = p + i * kKeys;
            float* dRow = dS + i * kKeys;
            const int64_t visible = visibleKeys(query0 + i, key0, keys);
            const Vec factor = broadcast(scale), shift = broadcast(-maxima[query0 + i]);
            const Vec inverse = broadcast(inverseSums[query0 + i]);
            mapVectors(pRow, pRow, visible, [=](Vec s) { return exponential(fma(s, factor, shift)) * inverse; });
            for (int64_t j = 0; j < visible; j++) dRow[j] = pRow[j] * (dRow[j] - delta[i]) * scale;
            // The products over queries read whole columns, so hidden pairs must be 0.
            zeroFloats(pRow + visible, keys - visible);
            zeroFloats(dRow + visible, keys - visible);
          }
          multiplyTile(dS + row * kKeys, rows, k, seen, size, dQ + (query0 + row) * stride, stride, true);
        });
        forTiles(keys, [&](int64_t key, int rows) {
          // Queries before the first of these keys see none of them.
          const int64_t first = most(0, key0 + key - query0);
          addTransposedTile(dS + key, rows, qPanels, first, dK + (key0 + key) * stride, stride);
          addTransposedTile(p + key, rows, gPanels, first, dV + (key0 + key) * stride, stride);
        });
      }
    }
  });
}

}  // namespace stepsize::STEPSIZE_ISA
