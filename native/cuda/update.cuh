// The fused optimizer update on CUDA: one launch for all tensors of all groups, for which the host does not wait. The
// arithmetic is that of native/update, the same functions that the CPU loops call. A block takes every gridDim.x-th
// chunk of 16,384 elements; a thread takes four or eight neighbouring elements at a time.
//
// The update reads parameter, gradient and moments, and writes all of them but the gradient. Bytes per parameter:
//
//                                                        SGD    momentum, Lion    Adam    AMSGrad
//   float32                                               12                20      28         36
//   bfloat16 gradient and copy, float32 master            12                20      28         36
//   bfloat16 without a master                              6                14      22         30
//   the same with bfloat16 moments                         6                10      14         18
//
// Zeroing the gradient in the same pass adds the size of the gradient. It replaces a separate pass that would write as
// much.
#pragma once

#include "../bfloat16.h"
#include "../update/prepare.h"
#include "../update/rules.h"
#include "../update/storage.h"
#include "platform.cuh"
#include "update_tables.h"
#include "vector_access.cuh"

namespace stepsize::cuda {

constexpr int kUpdateThreads = 256;

// The elements that a thread takes at once. Four float32 or eight bfloat16 are 16 bytes. With two moments, eight
// elements would take more than 64 registers, the limit for 1,024 threads per multiprocessor, so a thread takes four
// there, which are 8 bytes in bfloat16.
template <class Rule, class Types>
struct Width {
  static constexpr bool low = sizeof(typename Types::Parameter) == 2 || sizeof(typename Types::Gradient) == 2;
  static constexpr bool lowMoments = Rule::kMoments > 0 && sizeof(typename Types::Moment) == 2;
  static constexpr bool crowded = Rule::kMoments > 1;
  static constexpr int value = (low || lowMoments) && !crowded ? 8 : 4;
};

// The options of an update.
struct UpdateOptions {
  uint64_t roundingSeed;
  bool zeroGradients;
};

template <class T>
constexpr bool kRounded = sizeof(T) == sizeof(BFloat16);

// One chunk of every list, and its position in the tensor.
template <class Rule, class Types>
struct ChunkLists {
  typename Types::Parameter* parameter;
  typename Types::Gradient* gradient;
  typename Types::Moment* moments[Rule::kMoments > 0 ? Rule::kMoments : 1];
  BFloat16* copy;
  uint64_t offset;
  uint32_t count;
};

// Whether the elements from `head` on are aligned, for each list. Those of the parameter always are, but a constant
// there makes the compiler use more registers.
template <class Rule>
struct Alignment {
  bool parameter, gradient, moments[Rule::kMoments > 0 ? Rule::kMoments : 1], copy;
};

__device__ __forceinline__ float rounded(float value, uint32_t, float) { return value; }
__device__ __forceinline__ BFloat16 rounded(float value, uint32_t random, BFloat16) {
  return toBFloat16Stochastically(value, random);
}

// Stores Width neighbouring elements, with stochastic rounding if they are stored in 16 bits. `element` is the index of
// the first one in its tensor, a multiple of Width if anything is rounded.
template <class T, int Width>
__device__ __forceinline__ void storeRounded(T* to, bool aligned, const float (&x)[Width],
                                             const update::RoundingStream& stream, int list, uint64_t element) {
  T result[Width];
  Philox4 random = {};
  if constexpr (kRounded<T>) {
    random = stream.bits(element / update::kRoundingElements, list);
    // Four elements use one half of a Philox block.
    if (Width == 4 && (element & 4) != 0) {
      random.word[0] = random.word[2];
      random.word[1] = random.word[3];
    }
  }
#pragma unroll
  for (int i = 0; i < Width; i++) result[i] = rounded(x[i], update::roundingBits(random, i), T{});
  store(to, aligned, result);
}

// Updates the Width elements from i on.
template <class Rule, class Types>
__device__ __forceinline__ void updateSeveral(const ChunkLists<Rule, Types>& lists, const Alignment<Rule>& aligned,
                                              uint32_t i, const update::Scalars& s,
                                              const update::RoundingStream& stream) {
  constexpr int width = Width<Rule, Types>::value;
  float p[width], g[width], m[Rule::kMoments > 0 ? Rule::kMoments : 1][width];
  // All loads come before any arithmetic, so that they are in flight together.
  load(lists.parameter + i, aligned.parameter, p);
  load(lists.gradient + i, aligned.gradient, g);
#pragma unroll
  for (int k = 0; k < Rule::kMoments; k++) load(lists.moments[k] + i, aligned.moments[k], m[k]);
#pragma unroll
  for (int lane = 0; lane < width; lane++) {
    float own[update::kMaxMoments] = {};
#pragma unroll
    for (int k = 0; k < Rule::kMoments; k++) own[k] = m[k][lane];
    Rule::apply(p[lane], g[lane], own, s);
#pragma unroll
    for (int k = 0; k < Rule::kMoments; k++) m[k][lane] = own[k];
  }
  const uint64_t element = lists.offset + i;
  storeRounded(lists.parameter + i, aligned.parameter, p, stream, 0, element);
#pragma unroll
  for (int k = 0; k < Rule::kMoments; k++)
    storeRounded(lists.moments[k] + i, aligned.moments[k], m[k], stream, 1 + k, element);
  if constexpr (Types::kCopies) {
    BFloat16 copies[width];
#pragma unroll
    for (int lane = 0; lane < width; lane++) copies[lane] = toBFloat16(p[lane]);
    store(lists.copy + i, aligned.copy, copies);
  }
}

// Updates element i.
template <class Rule, class Types>
__device__ __forceinline__ void updateOne(const ChunkLists<Rule, Types>& lists, uint32_t i, const update::Scalars& s,
                                          const update::RoundingStream& stream) {
  using P = typename Types::Parameter;
  using M = typename Types::Moment;
  const uint64_t element = lists.offset + i;
  const auto bits = [&](int list) {
    return update::roundingBits(stream.bits(element / update::kRoundingElements, list), static_cast<uint32_t>(element));
  };
  float p = toFloat(lists.parameter[i]), m[update::kMaxMoments] = {};
#pragma unroll
  for (int k = 0; k < Rule::kMoments; k++) m[k] = toFloat(lists.moments[k][i]);
  Rule::apply(p, toFloat(lists.gradient[i]), m, s);
  lists.parameter[i] = rounded(p, kRounded<P> ? bits(0) : 0, P{});
#pragma unroll
  for (int k = 0; k < Rule::kMoments; k++) lists.moments[k][i] = rounded(m[k], kRounded<M> ? bits(1 + k) : 0, M{});
  if constexpr (Types::kCopies) lists.copy[i] = toBFloat16(p);
}

// Updates a chunk. The elements before the first aligned one of the parameter, and those after the last whole group,
// are updated one by one. In between, each list that is aligned there moves 16 bytes at a time. A list that is not
// aligned, which only caller-owned memory can be, moves element by element; its neighbours are in the cache.
template <class Rule, class Types>
__device__ __forceinline__ void updateChunk(const ChunkLists<Rule, Types>& lists, const update::Scalars& s,
                                            const update::RoundingStream& stream) {
  constexpr uint32_t width = Width<Rule, Types>::value;
  constexpr uint32_t size = sizeof(typename Types::Parameter), perVector = 16 / size;
  const auto misaligned = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(lists.parameter) / size) % perVector;
  const uint32_t head = min((perVector - misaligned) % perVector, lists.count);
  constexpr bool rounds =
      kRounded<typename Types::Parameter> || (Rule::kMoments > 0 && kRounded<typename Types::Moment>);
  // Random numbers come in groups of eight that start at the first element of the tensor, so groups cannot start at
  // `head`.
  const uint32_t groups = rounds && head != 0 ? 0 : (lists.count - head) / width;
  Alignment<Rule> aligned;
  aligned.parameter = isAligned16(lists.parameter + head);
  aligned.gradient = isAligned16(lists.gradient + head);
#pragma unroll
  for (int k = 0; k < Rule::kMoments; k++) aligned.moments[k] = isAligned16(lists.moments[k] + head);
  aligned.copy = Types::kCopies && isAligned16(lists.copy + head);
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < groups; i += kUpdateThreads)
    updateSeveral(lists, aligned, head + i * width, s, stream);
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < lists.count - groups * width; i += kUpdateThreads)
    updateOne(lists, i < head ? i : i + groups * width, s, stream);
}

// Zeroes the gradient, 16 bytes at a time from the first aligned element on; the elements before it and the last few
// one by one.
template <class Gradient>
__device__ __forceinline__ void zero(Gradient* gradient, uint32_t count) {
  constexpr uint32_t perVector = 16 / sizeof(Gradient);
  const auto misaligned = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(gradient) / sizeof(Gradient)) % perVector;
  const uint32_t head = min((perVector - misaligned) % perVector, count);
  const uint32_t vectors = (count - head) / perVector;
  auto* aligned = reinterpret_cast<uint4*>(gradient + head);
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < vectors; i += kUpdateThreads) __stcg(aligned + i, make_uint4(0, 0, 0, 0));
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < count - vectors * perVector; i += kUpdateThreads)
    gradient[i < head ? i : i + vectors * perVector] = Gradient{};
}

// Updates all chunks; any number of blocks works. `scalars` and `updates` have one entry for each parameter of the
// optimizer.
template <class Rule, class Types>
__global__ void __launch_bounds__(kUpdateThreads)
    updateKernel(UpdateTables tables, const update::Scalars* scalars, int32_t* updates, UpdateOptions options) {
  for (uint32_t c = blockIdx.x; c < tables.chunkCount; c += gridDim.x) {
    const Chunk chunk = tables.chunks[c];
    const update::Scalars s = scalars[chunk.place];
    if (chunk.offset == 0 && threadIdx.x == 0) update::countUpdate(updates[chunk.place], s);
    const auto at = [&](int list) { return tables.lists[list][chunk.tensor]; };
    ChunkLists<Rule, Types> lists;
    lists.offset = chunk.offset;
    lists.count = chunk.count;
    lists.parameter = inGlobalMemory(static_cast<typename Types::Parameter*>(at(0)) + chunk.offset);
    lists.gradient = inGlobalMemory(static_cast<typename Types::Gradient*>(at(1)) + chunk.offset);
#pragma unroll
    for (int k = 0; k < Rule::kMoments; k++)
      lists.moments[k] = inGlobalMemory(static_cast<typename Types::Moment*>(at(2 + k)) + chunk.offset);
    lists.copy = nullptr;
    if constexpr (Types::kCopies)
      lists.copy = inGlobalMemory(static_cast<BFloat16*>(at(2 + Rule::kMoments)) + chunk.offset);
    if (s.apply != 0.0f) updateChunk(lists, s, {options.roundingSeed, chunk.tensor, s.iteration});
    if (options.zeroGradients) {
      // Other threads may still read the elements that this thread zeroes.
      __syncthreads();
      zero(lists.gradient, lists.count);
    }
  }
}

// The kernel that prepares a step. It computes the scalars of the step on the device: hyper-parameters, or the schedule
// at the step that the device has counted; the clip coefficient; the bias corrections. update/prepare.h has the
// arithmetic, which is float64. The kernel moves about 300 bytes per group and 150 per parameter.

constexpr int kPrepareThreads = 256;

// One block, with a thread per group and then per parameter. `norm` is null if nothing needs it. `weight` is null if
// the gradients are not sums over a weight.
__global__ void __launch_bounds__(kPrepareThreads)
    prepareStepKernel(update::StepTables tables, const double* norm, const float* weight, update::StepOptions options) {
  STEPSIZE_SHARED(int, applied, [1]);
  if (weight != nullptr) options.gradientScale = update::scalePerWeight(options.gradientScale, *weight);
  if (threadIdx.x == 0) applied[0] = update::beginStep(*tables.state, options, norm == nullptr ? 0.0 : *norm);
  __syncthreads();
  const bool apply = applied[0] != 0;
  for (int64_t group = threadIdx.x; group < tables.groups; group += kPrepareThreads)
    update::prepareGroup(tables, group, apply, options);
  // The thread of a parameter reads what the thread of its group has written.
  __syncthreads();
  for (int64_t parameter = threadIdx.x; parameter < tables.parameters; parameter += kPrepareThreads)
    update::prepareParameter(tables, parameter, apply, options);
}

}  // namespace stepsize::cuda
