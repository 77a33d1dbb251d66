// One update of many tensors, by a kernel and by a loop over single elements that computes the expected result.
#pragma once

#include "../../native/cuda/update.cuh"
#include "tensor_list.h"

namespace stepsize::test {

// An update kernel. All have the same parameters, so that a test can go through them in a loop.
struct Instance {
  std::string name;
  int moments;
  bool lowParameters, lowGradients, lowMoments, copies;
  void (*apply)(float& p, float g, float* m, const update::Scalars& s);
  void (*kernel)(cuda::UpdateTables, const update::Scalars*, int32_t*, cuda::UpdateOptions);
};

template <class Rule, class Types>
Instance instanceOf(const std::string& rule) {
  const auto name = [](bool low) { return low ? "bfloat16" : "float32"; };
  Instance made{rule,
                Rule::kMoments,
                sizeof(typename Types::Parameter) == 2,
                sizeof(typename Types::Gradient) == 2,
                sizeof(typename Types::Moment) == 2,
                Types::kCopies,
                Rule::apply,
                cuda::updateKernel<Rule, Types>};
  made.name = made.name + ", " + name(made.lowParameters) + " parameters, " + name(made.lowGradients) + " gradients, " +
              name(made.lowMoments) + " moments" + (made.copies ? ", copies" : "");
  return made;
}

// The instances of a rule for every storage of native/update/storage.h.
inline std::vector<Instance> instancesOf(update::Rule rule) {
  std::vector<Instance> found;
  update::visitRule(rule, [&](auto structure) {
    using Rule = decltype(structure);
    for (const bool lowMoments : {false, true})
      for (const update::StoredAs as :
           {update::StoredAs{false, lowMoments, false}, {false, lowMoments, true}, {true, lowMoments, false}}) {
        if (lowMoments && Rule::kMoments == 0) continue;
        update::visitStorage<Rule>(as, [&](auto types) {
          found.push_back(instanceOf<Rule, decltype(types)>(update::kRuleNames[static_cast<int>(rule)]));
        });
      }
  });
  return found;
}

// The alignment of a tensor's lists: all aligned for vectors, all misaligned by the same number of elements, like views
// into the middle of tensors, or each misaligned by another number.
enum class Alignment { aligned, alike, differently };

inline size_t offsetOf(Alignment alignment, size_t tensor, size_t list) {
  switch (alignment) {
    case Alignment::aligned: return 0;
    case Alignment::alike: return 1 + tensor % 7;
    case Alignment::differently: return (tensor + 2 + 3 * list) % 8;
  }
  return 0;
}

// The bits of the elements: [list][tensor][element].
using Bits = std::vector<std::vector<std::vector<uint32_t>>>;

// A value rounded stochastically with the 16 random bits that native/update/storage.h assigns to the element.
inline uint32_t roundedStochastically(float value, const update::RoundingStream& stream, int list, uint64_t element) {
  const Philox4 block = stream.bits(element / 8, list);
  uint32_t halves[8];
  for (int word = 0; word < 4; word++) {
    halves[2 * word] = block.word[word] & 0xffff;
    halves[2 * word + 1] = block.word[word] >> 16;
  }
  if (value != value) return 0x7fff;
  return (bitsOfFloat(value) + halves[element % 8]) >> 16;
}

// The lists are in the order of UpdateTables: parameters, gradients, moments, copies. `places` has the index of each
// tensor's scalars.
struct Step {
  const Instance& instance;
  std::vector<TensorList> lists;
  std::vector<uint32_t> places;
  std::vector<cuda::Chunk> chunks;

  Step(const Instance& instance, const std::vector<uint64_t>& sizes, const std::vector<uint32_t>& places,
       Alignment alignment)
      : instance(instance), places(places), chunks(cuda::chunksOf(sizes, places)) {
    lists.emplace_back(instance.lowParameters);
    lists.emplace_back(instance.lowGradients);
    for (int m = 0; m < instance.moments; m++) lists.emplace_back(instance.lowMoments);
    if (instance.copies) lists.emplace_back(true);
    for (size_t list = 0; list < lists.size(); list++)
      for (size_t t = 0; t < sizes.size(); t++) {
        std::vector<float> values = numbers(sizes[t], t * 8 + list);
        // Second moments and their maxima are never negative.
        if (list >= 3)
          for (float& value : values) value = value < 0 ? -value : value;
        lists[list].add(values, offsetOf(alignment, t, list));
      }
  }

  Bits bits() const {
    Bits all;
    for (const TensorList& list : lists) {
      all.emplace_back();
      for (size_t t = 0; t < list.tensors(); t++) all.back().push_back(list.bits(t));
    }
    return all;
  }
  void setBits(const Bits& all) {
    for (size_t list = 0; list < all.size(); list++)
      for (size_t t = 0; t < all[list].size(); t++)
        for (size_t i = 0; i < all[list][t].size(); i++) lists[list].setBits(t, i, all[list][t][i]);
  }

  // Runs the kernel and returns how many updates it counted for each place.
  std::vector<int32_t> run(unsigned blocks, const std::vector<update::Scalars>& scalars,
                           const cuda::UpdateOptions& options) const {
    Buffer<int32_t> updates(std::vector<int32_t>(scalars.size(), 5));
    cuda::UpdateTables tables{chunks.data(), static_cast<uint32_t>(chunks.size()), {}};
    for (size_t list = 0; list < lists.size(); list++) tables.lists[list] = lists[list].addresses();
    cuda::launch(instance.kernel, blocks, cuda::kUpdateThreads, 0, nullptr, tables, scalars.data(), updates.data(),
                 options);
    std::vector<int32_t> counted;
    for (size_t place = 0; place < updates.size(); place++) counted.push_back(updates[place] - 5);
    return counted;
  }

  // Returns the expected content of the lists after a step from their present content.
  Bits expected(const std::vector<update::Scalars>& scalars, const cuda::UpdateOptions& options) const {
    Bits after = bits();
    for (size_t t = 0; t < places.size(); t++)
      for (size_t i = 0; i < lists[0].elements(t); i++) {
        const update::Scalars& s = scalars[places[t]];
        if (s.apply != 0) {
          float p = lists[0].value(t, i), m[update::kMaxMoments] = {};
          for (int k = 0; k < instance.moments; k++) m[k] = lists[2 + k].value(t, i);
          instance.apply(p, lists[1].value(t, i), m, s);
          const update::RoundingStream stream{options.roundingSeed, static_cast<uint32_t>(t), s.iteration};
          const auto stored = [&](bool low, float value, int list) {
            return low ? roundedStochastically(value, stream, list, i) : bitsOfFloat(value);
          };
          after[0][t][i] = stored(instance.lowParameters, p, 0);
          for (int k = 0; k < instance.moments; k++) after[2 + k][t][i] = stored(instance.lowMoments, m[k], 1 + k);
          if (instance.copies) after.back()[t][i] = toBFloat16(p).bits;
        }
        if (options.zeroGradients) after[1][t][i] = 0;
      }
    return after;
  }
};

// Scalars of a step that changes neither parameters nor moments. Each test sets the fields that it tests.
inline update::Scalars neutralScalars() {
  update::Scalars s{};
  s.apply = 1;
  s.gradientScale = s.gradientRescale = 1;
  s.decayFactor = 1;
  s.beta1 = s.beta2 = s.momentum = 1;
  s.secondScale = 1;
  s.epsilon = 1e-8f;
  s.directBuffer = 1;
  return s;
}

}  // namespace stepsize::test
