// Instantiates every kernel of the optimizer step for the compiler's report (compiled.test.ts). They are never run.
#include "../../native/cuda/gradient_norm.cuh"
#include "../../native/cuda/update.cuh"

namespace stepsize::cuda {

template __global__ void gradientNormKernel<float>(const Chunk*, uint32_t, void* const*, double*, unsigned*, double*);
template __global__ void gradientNormKernel<BFloat16>(const Chunk*, uint32_t, void* const*, double*, unsigned*,
                                                      double*);

void instantiateUpdates(update::Rule rule, const update::StoredAs& as) {
  update::visitRule(rule, [&](auto r) {
    using Rule = decltype(r);
    update::visitStorage<Rule>(as, [&](auto types) {
      launch(updateKernel<Rule, decltype(types)>, 1, kUpdateThreads, 0, nullptr, UpdateTables{}, nullptr, nullptr,
             UpdateOptions{});
    });
  });
}

}  // namespace stepsize::cuda
