// Compares every update kernel of native/cuda/update.cuh with its update rule, called for one element at a time. The
// bits agree for any size, any alignment and any number of blocks.
#define STEPSIZE_TEST_MAIN
#include <sys/mman.h>

#include "update_step.h"

namespace {

using namespace stepsize;
using namespace stepsize::test;
using cuda::UpdateOptions;

constexpr uint16_t kGroups = 4;
constexpr uint64_t kSeed = 0x123456789abcdef;

// Four groups that differ in all scalars. The updates of the last group are left out.
std::vector<update::Scalars> fourGroups() {
  std::vector<update::Scalars> groups;
  for (uint16_t g = 0; g < kGroups; g++) {
    update::Scalars s{};
    s.apply = g == kGroups - 1 ? 0.0f : 1.0f;
    s.gradientScale = g == 1 ? -0.5f : 1.0f;
    s.gradientRescale = g == 2 ? 0.25f : 1.0f;
    s.coupledDecay = g == 2 ? 0.1f : 0.0f;
    s.decayFactor = g == 2 ? 1.0f : 0.999f;
    s.stepSize = 0.01f * static_cast<float>(g + 1);
    s.beta1 = 0.9f;
    s.oneMinusBeta1 = 0.1f;
    s.beta2 = 0.999f;
    s.oneMinusBeta2 = 0.001f;
    s.secondScale = 31.6f;
    s.epsilon = 1e-8f;
    s.momentum = 0.9f;
    s.gradientWeight = 0.8f;
    s.directGradient = g == 1 ? 1.0f : 0.0f;
    s.directBuffer = g == 1 ? 0.9f : 1.0f;
    s.iteration = 100u + g;
    groups.push_back(s);
  }
  return groups;
}

// Sizes of zero, and below and above a vector, the elements that a block processes at once, and a chunk.
std::vector<uint64_t> sizes() {
  return {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 1025, 4097, cuda::kChunkElements + 1, 3, 17, 300};
}
size_t groupOf(size_t tensor) { return tensor + 3 < sizes().size() ? tensor % (kGroups - 1) : kGroups - 1; }

// The index of each tensor among all parameters, some of which take no part in the step.
std::vector<uint32_t> placesOfTensors() {
  std::vector<uint32_t> places;
  for (size_t t = 0; t < sizes().size(); t++) places.push_back(static_cast<uint32_t>(2 * (sizes().size() - t)));
  return places;
}
std::vector<update::Scalars> scalarsOfPlaces() {
  const std::vector<update::Scalars> groups = fourGroups();
  const std::vector<uint32_t> places = placesOfTensors();
  std::vector<update::Scalars> scalars(2 * places.size() + 3);
  for (size_t t = 0; t < places.size(); t++) scalars[places[t]] = groups[groupOf(t)];
  return scalars;
}
// An update counts once if it is not left out and the tensor is not empty.
std::vector<int32_t> expectedCounts() {
  std::vector<int32_t> counts(scalarsOfPlaces().size());
  for (size_t t = 0; t < sizes().size(); t++)
    counts[placesOfTensors()[t]] = groupOf(t) != kGroups - 1 && sizes()[t] > 0 ? 1 : 0;
  return counts;
}

const char* nameOf(Alignment alignment) {
  return alignment == Alignment::aligned ? "aligned"
         : alignment == Alignment::alike ? "misaligned alike"
                                         : "misaligned differently";
}

// Gradients are zeroed with one block if the lists are misaligned alike, and with three blocks otherwise. So every
// alignment is tested with and without zeroing, and with both numbers of blocks.
void expectRightUpdates(update::Rule rule) {
  const std::vector<update::Scalars> scalars = scalarsOfPlaces();
  for (const Instance& instance : instancesOf(rule))
    for (const Alignment alignment : {Alignment::aligned, Alignment::alike, Alignment::differently}) {
      Step step(instance, sizes(), placesOfTensors(), alignment);
      const Bits before = step.bits();
      for (const unsigned blocks : {1u, 3u}) {
        const UpdateOptions options{kSeed, (alignment == Alignment::alike) == (blocks == 1)};
        const std::string where = instance.name + ", " + nameOf(alignment) + ", " + std::to_string(blocks) + " blocks" +
                                  (options.zeroGradients ? ", zeroing" : "");
        step.setBits(before);
        const Bits expected = step.expected(scalars, options);
        expectIn(where, step.run(blocks, scalars, options) == expectedCounts(), "counts of updates");
        const Bits after = step.bits();
        expectIn(where, after[0] == expected[0], "parameters");
        expectIn(where, after[1] == expected[1], "gradients");
        for (int k = 0; k < instance.moments; k++) expectIn(where, after[2 + k] == expected[2 + k], "moments");
        if (instance.copies) expectIn(where, after.back() == expected.back(), "copies");
        for (const TensorList& list : step.lists)
          expectIn(where, list.isMemoryBeforeUnchanged(), "memory before a tensor");
      }
    }
}

STEPSIZE_TEST(sgdUpdatesLikeItsRule) { expectRightUpdates(update::Rule::sgd); }
STEPSIZE_TEST(sgdWithMomentumUpdatesLikeItsRule) { expectRightUpdates(update::Rule::sgdMomentum); }
STEPSIZE_TEST(adamUpdatesLikeItsRule) { expectRightUpdates(update::Rule::adam); }
STEPSIZE_TEST(amsgradUpdatesLikeItsRule) { expectRightUpdates(update::Rule::adamAmsgrad); }
STEPSIZE_TEST(lionUpdatesLikeItsRule) { expectRightUpdates(update::Rule::lion); }

STEPSIZE_TEST(everyRuleAndStorageIsTested) {
  STEPSIZE_EXPECT(update::kRules == 5);
  size_t instances = 0;
  for (int rule = 0; rule < update::kRules; rule++) instances += instancesOf(static_cast<update::Rule>(rule)).size();
  // There are six storages, and three for the rule without moments.
  STEPSIZE_EXPECT(instances == 4 * 6 + 3);
}

STEPSIZE_TEST(aStepWithoutElementsIsAllowed) {
  const Instance instance = instancesOf(update::Rule::sgd)[0];
  for (const std::vector<uint64_t>& none : {std::vector<uint64_t>{}, std::vector<uint64_t>{0, 0}})
    Step(instance, none, std::vector<uint32_t>(none.size()), Alignment::aligned).run(3, fourGroups(), {kSeed, true});
}

// Memory that is not backed by pages until it is written.
template <class T>
class Sparse {
 public:
  explicit Sparse(uint64_t elements) : bytes_(elements * sizeof(T)) {
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
  ~Sparse() {
    if (*this) munmap(memory_, bytes_);
  }
  explicit operator bool() const { return memory_ != MAP_FAILED; }
  T* data() const { return static_cast<T*>(memory_); }

 private:
  uint64_t bytes_;
  void* memory_;
};

// Updates a tensor of more elements than 32 bits can count. Only its last chunks are backed by memory. `expected`
// returns the new value of an element that was 0 and had a gradient of 1.
template <class T, class Expected>
void expectBigTensor(const Expected& expected) {
  constexpr uint64_t kElements = (uint64_t{1} << 32) + 5;
  const Sparse<T> parameter(kElements), gradient(kElements);
  if (!parameter || !gradient) {
    printf("skipped: there is no address space for a tensor of 2^32 elements\n");
    return;
  }
  std::vector<cuda::Chunk> chunks = cuda::chunksOf({kElements});
  chunks.erase(chunks.begin(), chunks.end() - 2);
  STEPSIZE_EXPECT(chunks[1].offset == uint64_t{1} << 32 && chunks[1].count == 5);
  // 1 as an element of the kernel's type.
  const uint16_t one = toBFloat16(1).bits;
  T filled{};
  memcpy(reinterpret_cast<char*>(&filled) + sizeof(T) - sizeof one, &one, sizeof one);
  for (const cuda::Chunk& chunk : chunks)
    for (uint64_t i = chunk.offset; i < chunk.offset + chunk.count; i++) gradient.data()[i] = filled;
  void *parameters = parameter.data(), *gradients = gradient.data();
  const cuda::UpdateTables tables{chunks.data(), 2, {&parameters, &gradients}};
  update::Scalars s = neutralScalars();
  s.stepSize = 0.3f;
  using Types = update::Storage<T, T, float, false>;
  int32_t updates = 0;
  launch(cuda::updateKernel<update::Sgd, Types>, 2, cuda::kUpdateThreads, 0, nullptr, tables, &s, &updates,
         UpdateOptions{kSeed, false});
  // The first chunk counts the update, and it is not in this list.
  STEPSIZE_EXPECT(updates == 0);
  int wrong = 0;
  for (uint64_t i = chunks[0].offset; i < kElements; i++) wrong += !sameBits(parameter.data()[i], expected(i, s));
  STEPSIZE_EXPECT(wrong == 0);
  for (uint64_t i = 0; i < 6; i++) STEPSIZE_EXPECT(sameBits(parameter.data()[i], T{}));
}

STEPSIZE_TEST(aTensorMayHaveMoreElementsThan32BitsCount) {
  expectBigTensor<float>([](uint64_t, const update::Scalars& s) { return -s.stepSize; });
  expectBigTensor<BFloat16>([](uint64_t i, const update::Scalars& s) {
    return BFloat16{static_cast<uint16_t>(roundedStochastically(-s.stepSize, {kSeed, 0, s.iteration}, 0, i))};
  });
}

}  // namespace
