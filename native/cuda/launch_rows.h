// Launches kernels that process a matrix row by row.
#pragma once

#include "launch_support.h"
#include "row_group.cuh"

namespace stepsize::cuda {

// Calls f with the RowGroup for rows of this length, and the number of blocks for all rows.
template <class F>
void withRowGroup(const CudaDevice& device, const RowsOf& x, const F& f) {
  const auto start = [&](auto group) { f(group, blocksFor(device, x.rows, group.kPerBlock)); };
  if (x.columns <= kShortRow)
    start(RowGroup<kWarp>{});
  else
    start(RowGroup<kRowThreads>{});
}

}  // namespace stepsize::cuda
