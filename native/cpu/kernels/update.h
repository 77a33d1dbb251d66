// The optimizer step: one pass over all tensors of all groups, with the update rules of native/update.
#pragma once

#include "../../bfloat16.h"
#include "../../operations_attributes.h"
#include "../../update/norm.h"
#include "../../update/prepare.h"
#include "../../update/rules.h"
#include "../../update/storage.h"
#include "../denormals.h"
#include "philox.h"
#include "vector.h"

namespace stepsize::STEPSIZE_ISA {

// The chunks of all tensors in one numbering, so that a hundred small tensors keep the threads as busy as one large
// one.
struct ChunkedTensors {
  const TensorView* tensors;
  int64_t count;
  int64_t* firstChunk;  // count + 1 entries

  ChunkedTensors(const Invocation& call, const TensorListView& list) : tensors(list.tensors), count(list.count) {
    firstChunk = static_cast<int64_t*>(call.workspace((count + 1) * 8));
    firstChunk[0] = 0;
    for (int64_t t = 0; t < count; t++) firstChunk[t + 1] = firstChunk[t] + ceilDivide(tensors[t].elements(), kChunk);
  }
  STEPSIZE_INLINE int64_t chunks() const { return firstChunk[count]; }
  // The tensor of a chunk.
  STEPSIZE_INLINE int64_t tensorOf(int64_t chunk) const {
    int64_t low = 0, high = count;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (firstChunk[middle] <= chunk ? low : high) = middle;
    }
    return low;
  }
  // Calls f(tensor, from, to, chunk) for every chunk.
  template <class F>
  STEPSIZE_INLINE void forEach(const Invocation& call, const F& f) const {
    parallelFor(call, chunks(), [&](int64_t chunk) {
      const int64_t t = tensorOf(chunk);
      const int64_t from = (chunk - firstChunk[t]) * kChunk;
      f(t, from, least(tensors[t].elements(), from + kChunk), chunk);
    });
  }
};

STEPSIZE_INLINE const float* asFloats(const float* values, int64_t, float*) { return values; }
STEPSIZE_INLINE const float* asFloats(const BFloat16* values, int64_t count, float* buffer) {
  for (int64_t i = 0; i < count; i++) buffer[i] = toFloat(values[i]);
  return buffer;
}

// Σ (scale·g)² over one chunk, in the order of update/norm.h. `seen` collects the bits of all elements.
template <bool Scaled, class T>
STEPSIZE_INLINE float sumOfSquares(const T* gradient, int64_t count, float scale, Vec& seen) {
  using update::kNormLanes;
  constexpr int64_t width = ::stepsize::STEPSIZE_ISA::kLanes;
  float lanes[kNormLanes] = {}, buffer[kNormLanes];
  const Vec factor = broadcast(scale);
  for (int64_t row = 0; row < count; row += kNormLanes) {
    const int64_t length = least(kNormLanes, count - row);
    const float* x = asFloats(gradient + row, length, buffer);
    int64_t i = 0;
    for (; i + width <= length; i += width) {
      const Vec element = load(x + i), v = Scaled ? element * factor : element;
      if (!Scaled) seen = bitwiseOr(seen, element);
      store(lanes + i, fma(v, v, load(lanes + i)));
    }
    for (; i < length; i++) {
      const float v = Scaled ? x[i] * scale : x[i];
      if (!Scaled) seen = bitwiseOr(seen, broadcast(x[i]));
      lanes[i] = __builtin_fmaf(v, v, lanes[i]);
    }
  }
  float values[update::kNormValues];
  for (int64_t i = 0; i < update::kNormValues; i++)
    values[i] = (lanes[4 * i] + lanes[4 * i + 1]) + (lanes[4 * i + 2] + lanes[4 * i + 3]);
  return update::foldNormValues(values);
}

// Whether any element was not zero.
STEPSIZE_INLINE bool hasValues(Vec seen) {
  float lanes[::stepsize::STEPSIZE_ISA::kLanes];
  store(lanes, seen);
  bool found = false;
  for (const float lane : lanes) found |= (bitsOfFloat(lane) & 0x7fffffffu) != 0;
  return found;
}

template <class T>
STEPSIZE_INLINE double chunkSumOfSquares(const T* gradient, int64_t count) {
  Vec seen = broadcast(0);
  float sum = sumOfSquares<false>(gradient, count, 1, seen);
  const float scale = update::normScale(sum, hasValues(seen));
  if (scale != 1) sum = sumOfSquares<true>(gradient, count, scale, seen);
  return update::unscaledSum(sum, scale);
}

// √Σ g² over all tensors. The result is finite if every gradient is.
inline void gradientNorm(const Invocation& call) {
  static_assert(kChunk == update::kNormChunk, "a chunk's sum is that of update/norm.h");
  const TensorListView& gradients = call.lists[0];
  const ChunkedTensors all(call, gradients);
  auto* partial = static_cast<double*>(call.workspace(all.chunks() * 8));
  all.forEach(call, [&](int64_t t, int64_t from, int64_t to, int64_t chunk) {
    const cpu::KeepDenormals keep;
    const TensorView& tensor = gradients.tensors[t];
    partial[chunk] = tensor.type == DataType::float32 ? chunkSumOfSquares(tensor.as<float>() + from, to - from)
                                                      : chunkSumOfSquares(tensor.as<BFloat16>() + from, to - from);
  });
  double values[update::kNormValues] = {};
  for (int64_t c = 0; c < all.chunks(); c++) values[c % update::kNormValues] += partial[c];
  call.output(0).as<double>()[0] = __builtin_sqrt(update::foldNormValues(values));
}

inline void prepareStep(const Invocation& call) {
  const cpu::KeepDenormals keep;
  const bool scheduled = call.integer(attribute::prepareStep::scheduled) != 0;
  const TensorView &hyper = call.input(0), &groupOf = call.input(3);
  auto* state = call.input(1).as<double>();
  const TensorView* schedule = scheduled ? &call.input(call.inputs - 1) : nullptr;
  const update::StepTables tables{hyper.as<const update::Hyper>(),
                                  hyper.shape[0],
                                  scheduled ? schedule->as<const update::Scheduled>() : nullptr,
                                  scheduled ? schedule->shape[0] : 0,
                                  reinterpret_cast<update::State*>(state),
                                  reinterpret_cast<update::GroupState*>(state + update::kStateFields),
                                  groupOf.as<const int32_t>(),
                                  call.input(2).as<int32_t>(),
                                  groupOf.elements(),
                                  call.output(0).as<update::Scalars>()};
  update::StepOptions options{
      call.attributes[attribute::prepareStep::maxNorm], call.integer(attribute::prepareStep::checkFinite) != 0,
      call.integer(attribute::prepareStep::skipNonFinite) != 0, call.attributes[attribute::prepareStep::gradientScale]};
  const bool weighed = call.integer(attribute::prepareStep::weighed) != 0;
  // The weight comes after the norm, if there is one, and before the schedule.
  const int last = call.inputs - (scheduled ? 1 : 0) - (weighed ? 1 : 0);
  const bool measured = last == 5;
  if (weighed) options.gradientScale = update::scalePerWeight(options.gradientScale, call.input(last).floats()[0]);
  const bool apply = update::beginStep(*tables.state, options, measured ? call.input(4).as<double>()[0] : 0);
  for (int64_t group = 0; group < tables.groups; group++) update::prepareGroup(tables, group, apply, options);
  for (int64_t i = 0; i < tables.parameters; i++) update::prepareParameter(tables, i, apply, options);
}

// The addresses of one chunk's parameter, gradient, moments and copy.
template <class Types>
struct ChunkLists {
  typename Types::Parameter* parameter;
  typename Types::Gradient* gradient;
  typename Types::Moment* moments[update::kMaxMoments];
  BFloat16* copy;
};

// The random bits of stochastic rounding for a block of elements, list by list.
constexpr int64_t kRoundingBlock = 256;
struct RoundingBlock {
  uint32_t words[1 + update::kMaxMoments][kRoundingBlock / 2];

  STEPSIZE_INLINE uint32_t bits(int list, int64_t i) const {
    // On a little-endian machine the lower half of a word comes first.
    uint16_t half = 0;
    __builtin_memcpy(&half, reinterpret_cast<const char*>(words[list]) + 2 * i, 2);
    return half;
  }
  STEPSIZE_INLINE void fill(const update::RoundingStream& stream, int list, int64_t firstElement) {
    static_assert(kRoundingBlock / update::kRoundingElements % kPhiloxBlocks == 0, "whole vectors of blocks");
    const auto first = static_cast<uint64_t>(firstElement / update::kRoundingElements);
    for (int64_t b = 0; b < kRoundingBlock / update::kRoundingElements; b += kPhiloxBlocks)
      philoxBlocks(words[list] + 4 * b, stream.low(first + static_cast<uint64_t>(b), list), stream.high(), stream.seed);
  }
};

STEPSIZE_INLINE void storeRounded(float& to, float value, const RoundingBlock&, int, int64_t) { to = value; }
STEPSIZE_INLINE void storeRounded(BFloat16& to, float value, const RoundingBlock& random, int list, int64_t i) {
  to = toBFloat16Stochastically(value, random.bits(list, i));
}

// Updates elements [from, to) of a chunk; `random` begins at `from`.
template <class Rule, class Types>
STEPSIZE_INLINE void updateElements(const ChunkLists<Types>& lists, int64_t from, int64_t to, const update::Scalars& s,
                                    const RoundingBlock& random) {
  auto* parameter = lists.parameter;
  const auto* gradient = lists.gradient;
  auto* m0 = lists.moments[0];
  auto* m1 = lists.moments[1];
  auto* m2 = lists.moments[2];
  // The lists do not overlap: the caller has checked that (DeviceHandle::overlap).
  STEPSIZE_INDEPENDENT_ITERATIONS
  for (int64_t i = from; i < to; i++) {
    float p = toFloat(parameter[i]);
    float m[update::kMaxMoments] = {};
    if constexpr (Rule::kMoments > 0) m[0] = toFloat(m0[i]);
    if constexpr (Rule::kMoments > 1) m[1] = toFloat(m1[i]);
    if constexpr (Rule::kMoments > 2) m[2] = toFloat(m2[i]);
    Rule::apply(p, toFloat(gradient[i]), m, s);
    storeRounded(parameter[i], p, random, 0, i - from);
    if constexpr (Rule::kMoments > 0) storeRounded(m0[i], m[0], random, 1, i - from);
    if constexpr (Rule::kMoments > 1) storeRounded(m1[i], m[1], random, 2, i - from);
    if constexpr (Rule::kMoments > 2) storeRounded(m2[i], m[2], random, 3, i - from);
    if constexpr (Types::kCopies) lists.copy[i] = toBFloat16(p);
  }
}

template <class T>
constexpr bool kRounded = sizeof(T) == sizeof(BFloat16);

// Updates one chunk; `first` is the index of its first element in the tensor.
template <class Rule, class Types>
STEPSIZE_INLINE void updateChunk(const ChunkLists<Types>& lists, int64_t first, int64_t count, const update::Scalars& s,
                                 const update::RoundingStream& stream) {
  using P = typename Types::Parameter;
  using M = typename Types::Moment;
  constexpr bool rounds = kRounded<P> || (Rule::kMoments > 0 && kRounded<M>);
  if constexpr (!rounds) {
    updateElements<Rule, Types>(lists, 0, count, s, RoundingBlock{});
  } else {
    RoundingBlock random{};
    for (int64_t from = 0; from < count; from += kRoundingBlock) {
      if constexpr (kRounded<P>) random.fill(stream, 0, first + from);
      if constexpr (kRounded<M>)
        for (int moment = 0; moment < Rule::kMoments; moment++) random.fill(stream, 1 + moment, first + from);
      updateElements<Rule, Types>(lists, from, least(count, from + kRoundingBlock), s, random);
    }
  }
}

template <class Rule, class Types>
inline void updateAll(const Invocation& call) {
  auto* updates = call.input(1).as<int32_t>();
  // The rows of the groups come first.
  const auto* scalars = call.input(0).as<const update::Scalars>() + call.input(0).shape[0] - call.input(1).elements();
  const bool zeroes = call.integer(attribute::update::zeroGradients) != 0;
  const auto seed = static_cast<uint64_t>(call.integer(attribute::update::roundingSeed));
  const TensorListView& parameters = call.lists[0];
  ChunkedTensors(call, parameters).forEach(call, [&](int64_t t, int64_t from, int64_t to, int64_t) {
    const cpu::KeepDenormals keep;
    const auto at = [&](int list) { return call.lists[list].tensors[t].data; };
    ChunkLists<Types> lists;
    lists.parameter = static_cast<typename Types::Parameter*>(at(0)) + from;
    lists.gradient = static_cast<typename Types::Gradient*>(at(1)) + from;
    for (int m = 0; m < update::kMaxMoments; m++)
      lists.moments[m] = m < Rule::kMoments ? static_cast<typename Types::Moment*>(at(2 + m)) + from : nullptr;
    lists.copy = Types::kCopies ? static_cast<BFloat16*>(at(2 + Rule::kMoments)) + from : nullptr;
    const int64_t place = parameters.places == nullptr ? t : parameters.places[t];
    const update::Scalars s = scalars[place];
    if (from == 0) update::countUpdate(updates[place], s);
    const update::RoundingStream stream{seed, static_cast<uint32_t>(t), s.iteration};
    if (s.apply != 0) updateChunk<Rule>(lists, from, to - from, s, stream);
    // The gradient is zeroed even if the step is not applied: a value that is not finite must not stay in a buffer that
    // the next gradient is added to.
    if (zeroes) __builtin_memset(lists.gradient, 0, static_cast<size_t>(to - from) * sizeof(*lists.gradient));
  });
}

// Calls visit(rule, storage) for the rule with this number and the types of the call's lists.
template <class Visit>
STEPSIZE_INLINE void visitUpdate(const Invocation& call, int64_t ruleNumber, const Visit& visit) {
  const auto isLow = [&](int list) {
    return call.lists[list].count > 0 && call.lists[list].tensors[0].type == DataType::bfloat16;
  };
  update::visitStep(ruleNumber, call.listCount, isLow, visit);
}

inline void update(const Invocation& call) {
  visitUpdate(call, call.integer(attribute::update::rule),
              [&](auto rule, auto types) { updateAll<decltype(rule), decltype(types)>(call); });
}

}  // namespace stepsize::STEPSIZE_ISA
