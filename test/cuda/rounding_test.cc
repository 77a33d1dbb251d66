// Tests stochastic rounding by the update kernels: its mean is right, it does not depend on the number of blocks, and
// it has no pattern across elements, lists, tensors, iterations and seeds.
#define STEPSIZE_TEST_MAIN
#include <algorithm>
#include <cmath>
#include <limits>

#include "update_step.h"

namespace {

using namespace stepsize;
using namespace stepsize::test;

constexpr size_t kElements = cuda::kChunkElements;
using AllLow = update::Storage<BFloat16, BFloat16, BFloat16, false>;

// Sets all elements of a tensor.
void fill(TensorList& list, size_t tensor, float value) {
  const uint32_t bits = list.low() ? toBFloat16(value).bits : bitsOfFloat(value);
  for (size_t i = 0; i < list.elements(tensor); i++) list.setBits(tensor, i, bits);
}

template <class Holds>
bool all(const TensorList& list, size_t tensor, const Holds& holds) {
  const std::vector<uint32_t> bits = list.bits(tensor);
  return !bits.empty() && std::all_of(bits.begin(), bits.end(), holds);
}

// Whether `count` of `n` independent events with this probability is within five standard deviations of the mean. A
// right kernel fails one such test in two million. The seeds are fixed, so a test fails always or never.
bool isLikely(size_t count, size_t n, double chance) {
  const double mean = chance * static_cast<double>(n);
  return std::fabs(static_cast<double>(count) - mean) <= 5 * std::sqrt(mean * (1 - chance));
}

STEPSIZE_TEST(theProbabilityOfRoundingUpIsTheFraction) {
  struct Case {
    uint16_t below;  // the bfloat16 that the value is rounded down to
    double fraction;
  };
  std::vector<Case> cases;
  // 1, −1, the number below 2, from which the carry reaches the exponent, and the smallest number that is not denormal.
  for (const uint16_t below : {0x3f80, 0xbf80, 0x3fff, 0x0080})
    for (const double fraction : {0.0, 0x1p-16, 0x1p-8, 0.25, 0.5, 45875 * 0x1p-16, 1 - 0x1p-16})
      cases.push_back({below, fraction});

  // Each case has a tensor and a group. The step of the group is the fraction of the distance to the next bfloat16.
  const Instance instance = instanceOf<update::Sgd, AllLow>("sgd");
  std::vector<uint32_t> places(cases.size());
  for (size_t c = 0; c < cases.size(); c++) places[c] = static_cast<uint32_t>(c);
  Step step(instance, std::vector<uint64_t>(cases.size(), kElements), places, Alignment::aligned);
  std::vector<update::Scalars> scalars;
  for (size_t c = 0; c < cases.size(); c++) {
    const float from = toFloat(BFloat16{cases[c].below});
    const float to = toFloat(BFloat16{static_cast<uint16_t>(cases[c].below + 1)});
    fill(step.lists[0], c, from);
    fill(step.lists[1], c, 1);
    update::Scalars s = neutralScalars();
    s.stepSize = static_cast<float>(-cases[c].fraction * (static_cast<double>(to) - from));
    scalars.push_back(s);
  }
  step.run(2, scalars, {7, false});

  for (size_t c = 0; c < cases.size(); c++) {
    size_t ups = 0, others = 0;
    for (const uint32_t bits : step.lists[0].bits(c)) {
      ups += bits == cases[c].below + 1u;
      others += bits != cases[c].below && bits != cases[c].below + 1u;
    }
    const std::string where =
        "fraction " + std::to_string(cases[c].fraction) + " above " + std::to_string(cases[c].below);
    expectIn(where, others == 0, "all results are one of the two neighbors");
    // An exact value has probability 0: it never changes.
    expectIn(where, isLikely(ups, kElements, cases[c].fraction), "rounded up with the right probability");
  }
}

// If 1 were added to the random number, only the largest of its 65,536 values would change an exact value. Among half a
// million elements it occurs about eight times.
STEPSIZE_TEST(exactValuesNeverChange) {
  const Instance instance = instanceOf<update::Sgd, AllLow>("sgd");
  Step step(instance, {32 * kElements}, {0}, Alignment::aligned);
  fill(step.lists[0], 0, -1);
  step.run(2, {neutralScalars()}, {7, false});
  STEPSIZE_EXPECT(all(step.lists[0], 0, [](uint32_t bits) { return bits == 0xbf80; }));
}

// Which elements are rounded up with probability one half, in the parameters and moments of two tensors.
struct Ups {
  std::vector<bool> of[2][2];  // [tensor][list]
};

Ups upsOf(uint64_t seed, uint32_t iteration, unsigned blocks = 1) {
  const Instance instance = instanceOf<update::SgdMomentum, AllLow>("sgdMomentum");
  Step step(instance, {kElements, kElements}, {0, 1}, Alignment::aligned);
  for (size_t tensor = 0; tensor < 2; tensor++) {
    fill(step.lists[0], tensor, 1);
    fill(step.lists[1], tensor, 0x1p-8f);
    fill(step.lists[2], tensor, 1);
  }
  // Parameter and moment become 1 + g, halfway to the next bfloat16.
  update::Scalars s = neutralScalars();
  s.gradientWeight = 1;
  s.directBuffer = 0;
  s.directGradient = 1;
  s.stepSize = -1;
  s.iteration = iteration;
  step.run(blocks, {s, s}, {seed, false});
  Ups ups;
  for (size_t tensor = 0; tensor < 2; tensor++)
    for (size_t list = 0; list < 2; list++)
      for (const uint32_t bits : step.lists[list * 2].bits(tensor)) ups.of[tensor][list].push_back(bits == 0x3f81);
  return ups;
}

STEPSIZE_TEST(theBitsDoNotDependOnTheNumberOfBlocks) {
  const Ups one = upsOf(7, 3);
  for (const unsigned blocks : {2u, 3u, 7u}) {
    const Ups several = upsOf(7, 3, blocks);
    for (size_t tensor = 0; tensor < 2; tensor++)
      for (size_t list = 0; list < 2; list++) STEPSIZE_EXPECT(several.of[tensor][list] == one.of[tensor][list]);
  }
}

// Independent bits agree for half of the elements.
bool areIndependent(const std::vector<bool>& a, const std::vector<bool>& b, size_t shift = 0) {
  size_t agree = 0;
  for (size_t i = 0; i + shift < a.size(); i++) agree += a[i] == b[i + shift];
  return isLikely(agree, a.size() - shift, 0.5);
}

STEPSIZE_TEST(seedIterationTensorAndListGiveOtherBits) {
  const Ups ups = upsOf(7, 3);
  const std::vector<bool>& first = ups.of[0][0];
  STEPSIZE_EXPECT(areIndependent(first, ups.of[0][1]));
  STEPSIZE_EXPECT(areIndependent(first, ups.of[1][0]));
  STEPSIZE_EXPECT(areIndependent(ups.of[0][1], ups.of[1][0]));
  STEPSIZE_EXPECT(areIndependent(first, upsOf(6, 3).of[0][0]));
  STEPSIZE_EXPECT(areIndependent(first, upsOf(7 + (uint64_t{1} << 63), 3).of[0][0]));
  STEPSIZE_EXPECT(areIndependent(first, upsOf(7, 2).of[0][0]));
  STEPSIZE_EXPECT(areIndependent(first, upsOf(7, 3 + (1u << 30)).of[0][0]));
}

STEPSIZE_TEST(neighborsHaveOtherBits) {
  const Ups ups = upsOf(7, 3);
  // The shifts cover the eight elements that share a block of random numbers, and those of the next block.
  for (size_t shift = 1; shift <= 16; shift++)
    for (const std::vector<bool>& one : ups.of[0]) STEPSIZE_EXPECT(areIndependent(one, one, shift));
}

constexpr uint32_t kInfinity = 0x7f80, kMinusInfinity = 0xff80;
bool isNan(uint32_t low) { return (low & 0x7fff) > kInfinity; }

STEPSIZE_TEST(nonFiniteValuesAreNotRounded) {
  const Instance instance = instanceOf<update::Sgd, AllLow>("sgd");
  Step step(instance, {1000, 1000, 1000}, {0, 1, 2}, Alignment::aligned);
  fill(step.lists[1], 0, -std::numeric_limits<float>::infinity());
  fill(step.lists[1], 1, std::numeric_limits<float>::infinity());
  fill(step.lists[1], 2, std::numeric_limits<float>::quiet_NaN());
  update::Scalars s = neutralScalars();
  s.stepSize = 1;
  step.run(2, {s, s, s}, {7, false});
  STEPSIZE_EXPECT(all(step.lists[0], 0, [](uint32_t bits) { return bits == kInfinity; }));
  STEPSIZE_EXPECT(all(step.lists[0], 1, [](uint32_t bits) { return bits == kMinusInfinity; }));
  STEPSIZE_EXPECT(all(step.lists[0], 2, isNan));
}

// The NaN that a device makes is 0x7fffffff. Adding anything to it gives −0, so both kinds of rounding must check for
// it.
STEPSIZE_TEST(aNanWithAllBitsStaysOne) {
  constexpr uint32_t kNan = 0x7fffffff;
  update::Scalars s = neutralScalars();
  s.gradientWeight = 1;
  const Instance moments =
      instanceOf<update::SgdMomentum, update::Storage<float, float, BFloat16, false>>("sgdMomentum");
  Step stochastic(moments, {1000}, {0}, Alignment::aligned);
  for (size_t i = 0; i < 1000; i++) stochastic.lists[1].setBits(0, i, kNan);
  stochastic.run(2, {s}, {7, false});
  STEPSIZE_EXPECT(all(stochastic.lists[2], 0, isNan));
  const Instance copies = instanceOf<update::Sgd, update::Storage<float, BFloat16, float, true>>("sgd");
  Step nearest(copies, {1000}, {0}, Alignment::aligned);
  for (size_t i = 0; i < 1000; i++) nearest.lists[0].setBits(0, i, kNan);
  nearest.run(2, {s}, {7, false});
  STEPSIZE_EXPECT(all(nearest.lists[2], 0, isNan));
}

}  // namespace
