// The fused optimizer step on CUDA: at most three launches for all tensors of all groups, none of which the host waits
// for. The arithmetic is that of native/update, the same functions the CPU loops call.
//
//   gradientNorm   reads every gradient once: 4 bytes a parameter. Only where clipping or the non-finite check ask.
//   prepareStep    one thread per group: the step's scalars from hyper-parameters, counters and norm.
//   update         one pass over parameters, gradients and moments. AdamW moves 28 bytes a parameter, SGD with momentum
//                  20, SGD 12; a good memory-bound kernel reaches about 90 % of the device's peak.
//
// What is updated stands in tables in device memory (update_tables.h). A launch takes their addresses, so there is no
// limit on the number of tensors or of elements.
#pragma once

#include "../update/adam.h"
#include "../update/prepare.h"
#include "../update/sgd.h"
#include "address_space.cuh"
#include "block_reduce.cuh"
#include "platform.cuh"
#include "update_tables.h"

namespace stepsize::cuda {

constexpr int kUpdateThreads = 256;
// Each rule says how many lists it works on and applies itself to one element of each.
struct Sgd {
  static constexpr int kLists = 1;
  __device__ __forceinline__ static void apply(float (&x)[kLists], float gradient, const update::Scalars& s) {
    update::sgd(x[0], gradient, s);
  }
};

struct SgdMomentum {
  static constexpr int kLists = 2;
  __device__ __forceinline__ static void apply(float (&x)[kLists], float gradient, const update::Scalars& s) {
    update::sgdMomentum(x[0], gradient, x[1], s);
  }
};

struct Adam {
  static constexpr int kLists = 3;
  __device__ __forceinline__ static void apply(float (&x)[kLists], float gradient, const update::Scalars& s) {
    update::adam(x[0], gradient, x[1], x[2], s);
  }
};

struct AdamAmsgrad {
  static constexpr int kLists = 4;
  __device__ __forceinline__ static void apply(float (&x)[kLists], float gradient, const update::Scalars& s) {
    update::adamAmsgrad(x[0], gradient, x[1], x[2], x[3], s);
  }
};

__device__ __forceinline__ bool isAligned16(const void* p) { return (reinterpret_cast<uintptr_t>(p) & 15) == 0; }

// Updates element i of every list.
template <class Rule>
__device__ __forceinline__ void updateOne(float* const (&lists)[Rule::kLists], const float* gradient, uint32_t i,
                                          const update::Scalars& s) {
  float x[Rule::kLists];
#pragma unroll
  for (int list = 0; list < Rule::kLists; list++) x[list] = lists[list][i];
  Rule::apply(x, gradient[i], s);
#pragma unroll
  for (int list = 0; list < Rule::kLists; list++) lists[list][i] = x[list];
}

// Updates `fours` times four elements from `first` on, where every list is aligned; the gradient may be anybody's.
template <class Rule, bool GradientAligned>
__device__ __forceinline__ void updateFours(float* const (&lists)[Rule::kLists], const float* gradient, uint32_t first,
                                            uint32_t fours, const update::Scalars& s) {
  for (uint32_t i = threadIdx.x; i < fours; i += kUpdateThreads) {
    const uint32_t at = first + i * 4;
    float4 x[Rule::kLists], g;
#pragma unroll
    for (int list = 0; list < Rule::kLists; list++) x[list] = *reinterpret_cast<const float4*>(lists[list] + at);
    if constexpr (GradientAligned)
      g = *reinterpret_cast<const float4*>(gradient + at);
    else
      g = make_float4(gradient[at], gradient[at + 1], gradient[at + 2], gradient[at + 3]);
#pragma unroll
    for (int lane = 0; lane < 4; lane++) {
      float one[Rule::kLists];
#pragma unroll
      for (int list = 0; list < Rule::kLists; list++) one[list] = (&x[list].x)[lane];
      Rule::apply(one, (&g.x)[lane], s);
#pragma unroll
      for (int list = 0; list < Rule::kLists; list++) (&x[list].x)[lane] = one[list];
    }
#pragma unroll
    for (int list = 0; list < Rule::kLists; list++) *reinterpret_cast<float4*>(lists[list] + at) = x[list];
  }
}

// Elements up to the first at which the parameter is aligned, and those after the last whole four, go one by one. What
// the optimizer keeps is allocated with the parameter's own misalignment, so a tensor that begins anywhere, with any
// number of elements, moves 16 bytes at a time in between; lists that disagree go one by one throughout.
template <class Rule>
__device__ __forceinline__ void updateChunk(float* const (&lists)[Rule::kLists], const float* gradient, uint32_t count,
                                            const update::Scalars& s) {
  const uint32_t misaligned = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(lists[0]) >> 2) & 3;
  const uint32_t head = min((4 - misaligned) & 3, count);
  bool agree = true;
#pragma unroll
  for (int list = 0; list < Rule::kLists; list++) agree = agree && isAligned16(lists[list] + head);
  const uint32_t fours = agree ? (count - head) / 4 : 0;
  if (isAligned16(gradient + head))
    updateFours<Rule, true>(lists, gradient, head, fours, s);
  else
    updateFours<Rule, false>(lists, gradient, head, fours, s);
  for (uint32_t i = threadIdx.x; i < count - fours * 4; i += kUpdateThreads)
    updateOne<Rule>(lists, gradient, i < head ? i : i + fours * 4, s);
}

// Any number of blocks: each takes every gridDim.x-th chunk.
template <class Rule>
__global__ void __launch_bounds__(kUpdateThreads) updateKernel(UpdateTables tables, const update::Scalars* scalars) {
  for (uint32_t c = blockIdx.x; c < tables.chunkCount; c += gridDim.x) {
    const Chunk chunk = tables.chunks[c];
    const TensorEntry& tensor = tables.tensors[chunk.tensor];
    const update::Scalars s = scalars[tensor.group];
    if (s.apply == 0.0f) continue;
    float* lists[Rule::kLists];
#pragma unroll
    for (int list = 0; list < Rule::kLists; list++) lists[list] = inGlobalMemory(tensor.lists[list] + chunk.offset);
    updateChunk<Rule>(lists, inGlobalMemory(tables.gradients[chunk.tensor] + chunk.offset), chunk.count, s);
  }
}

// √Σ g² over all chunks. One partial sum per chunk, in an order given by the chunk alone; the block that finishes last
// adds them in order. So the bits do not depend on the number of blocks. `finished` is 0 before and after.
__global__ void __launch_bounds__(kUpdateThreads)
    gradientNormKernel(UpdateTables tables, float* partial, unsigned* finished, float* norm) {
  for (uint32_t c = blockIdx.x; c < tables.chunkCount; c += gridDim.x) {
    const Chunk chunk = tables.chunks[c];
    const float* gradient = inGlobalMemory(tables.gradients[chunk.tensor] + chunk.offset);
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < chunk.count; i += kUpdateThreads) sum = fmaf(gradient[i], gradient[i], sum);
    sum = blockSum<kUpdateThreads>(sum);
    if (threadIdx.x == 0) partial[c] = sum;
  }
  if (!isLastBlock(finished)) return;
  float sum = 0;
  for (uint32_t c = threadIdx.x; c < tables.chunkCount; c += kUpdateThreads) sum += readPast(partial + c);
  sum = blockSum<kUpdateThreads>(sum);
  if (threadIdx.x == 0) {
    *norm = sqrtf(sum);
    *finished = 0;
  }
}

// One block; a thread per group. `norm` may be null where nothing asked for it.
__global__ void __launch_bounds__(kUpdateThreads)
    prepareStepKernel(const update::Hyper* hyper, int groups, update::State* state, update::GroupState* groupStates,
                      const float* norm, update::StepOptions options, update::Scalars* scalars) {
  STEPSIZE_SHARED(int, applied, [1]);
  if (threadIdx.x == 0) applied[0] = update::beginStep(*state, options, norm == nullptr ? 0.0f : *norm);
  __syncthreads();
  for (int group = static_cast<int>(threadIdx.x); group < groups; group += kUpdateThreads)
    scalars[group] = update::prepareGroup(hyper[group], *state, groupStates[group], applied[0] != 0, options);
}

}  // namespace stepsize::cuda
