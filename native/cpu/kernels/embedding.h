// Embedding, out[i] = table[ids[i]] for int32 ids, and the gradient of the table: for each id, the sum of the gradients
// of its rows.
#pragma once

#include "../../fault_texts.h"
#include "../../operations_attributes.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// ids [...], table [rows, width] → [..., width]. Reads the selected rows once and writes them once.
inline void embedding(const Invocation& call) {
  const int32_t* ids = call.input(0).as<int32_t>();
  const TensorView& table = call.input(1);
  const int64_t rows = table.shape[0], width = table.shape[1];
  parallelChunks(call, call.input(0).elements(), most(1, kChunk / most(1, width)), [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      float* out = call.output(0).floats() + i * width;
      if (ids[i] >= 0 && ids[i] < rows) {
        copyFloats(out, table.floats() + ids[i] * width, width);
      } else {
        call.fail(fault::kId, ids[i], i, rows - 1);
        zeroFloats(out, width);
      }
    }
  });
}

// Each task owns a range of the table's rows and adds to them in the order of the positions. The sums therefore need no
// atomics and have one order. Every task reads every id, which is cheap compared with adding the rows while there are
// few tasks.
inline void embeddingGradient(const Invocation& call) {
  constexpr int64_t tasks = 16;
  const TensorView& ids = call.input(0);
  const float* gradient = call.input(1).floats();
  const TensorView& out = call.output(0);
  const int64_t count = ids.elements(), rows = out.shape[0], width = out.shape[1];
  const int64_t range = ceilDivide(rows, tasks);
  parallelFor(call, tasks, [&](int64_t task) {
    const int64_t first = least(rows, task * range), last = least(rows, first + range);
    zeroFloats(out.floats() + first * width, (last - first) * width);
    for (int64_t i = 0; i < count; i++) {
      const int64_t id = ids.as<int32_t>()[i];
      if (id < first || id >= last) continue;
      float* sums = out.floats() + id * width;
      for (int64_t j = 0; j < width; j++) sums[j] += gradient[i * width + j];
    }
  });
}

}  // namespace stepsize::STEPSIZE_ISA
