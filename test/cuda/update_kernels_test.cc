// The update kernels of native/cuda/update.cuh against the same rules called one element at a time: the bits agree for
// any size, any alignment and any number of blocks.
#define STEPSIZE_TEST_MAIN
#include <sys/mman.h>

#include <cmath>
#include <limits>
#include <memory>

#include "../../native/cuda/update.cuh"
#include "../emulator/kernel_test.h"

namespace {

using namespace stepsize;
using namespace stepsize::cuda;
using emulator::Buffer;

template <class T>
bool sameBits(const T& a, const T& b) {
  return memcmp(&a, &b, sizeof a) == 0;
}

// A number in (−1, 1), the same for the same position.
float numberAt(uint64_t position, uint64_t salt) {
  uint64_t x = position * 0x9E3779B97F4A7C15u + salt * 0xBF58476D1CE4E5B9u;
  x ^= x >> 31;
  x *= 0x94D049BB133111EBu;
  x ^= x >> 29;
  return static_cast<float>(static_cast<int64_t>(x >> 11) - (int64_t{1} << 52)) * 0x1p-52f;
}

std::vector<float> numbers(size_t count, uint64_t salt) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = numberAt(i, salt);
  return values;
}

// Four groups whose options differ; the last one's updates are switched off.
std::vector<update::Scalars> fourGroups() {
  std::vector<update::Scalars> groups;
  for (int g = 0; g < 4; g++) {
    update::Scalars s{};
    s.apply = g == 3 ? 0.0f : 1.0f;
    s.gradientScale = g == 1 ? -0.5f : 1.0f;
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
    groups.push_back(s);
  }
  return groups;
}

// Tensors of many sizes. `spread` sets the lists of one tensor apart in alignment; with 0 only the gradient differs.
template <class Rule>
struct Model {
  const std::vector<uint64_t> sizes = {0, 1, 2, 3, 4, 5, 7, 8, 9, 1025, 4097, kChunkElements + 1};
  std::vector<std::unique_ptr<Buffer<float>>> buffers;
  std::vector<size_t> offsets;
  std::vector<TensorEntry> tensors;
  std::vector<const float*> gradients;
  const std::vector<Chunk> chunks = chunksOf(sizes);

  explicit Model(size_t spread) {
    for (size_t t = 0; t < sizes.size(); t++) {
      TensorEntry entry{{}, static_cast<int32_t>(t % 4)};
      for (size_t list = 0; list < Rule::kLists; list++) {
        std::vector<float> values = numbers(sizes[t], t * 8 + list);
        // Second moments and their maxima are never negative.
        if (list >= 2)
          for (float& value : values) value = std::fabs(value);
        entry.lists[list] = add(values, (t + spread * list) % 4);
      }
      tensors.push_back(entry);
      gradients.push_back(add(numbers(sizes[t], t * 8 + 7), (t * 3 + spread) % 4));
    }
  }

  UpdateTables tables() const {
    return {tensors.data(), gradients.data(), chunks.data(), static_cast<uint32_t>(chunks.size())};
  }

  // Whether the elements just before each buffer are still what Buffer made them; those after are the sanitizer's.
  bool nothingBeforeIsTouched() const {
    for (size_t b = 0; b < buffers.size(); b++)
      for (size_t i = 1; i <= offsets[b]; i++)
        if (!std::isnan(*(buffers[b]->data() - i))) return false;
    return true;
  }

 private:
  float* add(const std::vector<float>& values, size_t offset) {
    buffers.push_back(std::make_unique<Buffer<float>>(values, offset));
    offsets.push_back(offset);
    return buffers.back()->data();
  }
};

// How many elements a launch gives other bits than the rule itself.
template <class Rule>
int wrongUpdates(unsigned blocks, size_t spread) {
  Model<Rule> model(spread);
  const std::vector<update::Scalars> groups = fourGroups();
  std::vector<float> expected;
  for (size_t t = 0; t < model.sizes.size(); t++)
    for (size_t i = 0; i < model.sizes[t]; i++) {
      const update::Scalars& s = groups[static_cast<size_t>(model.tensors[t].group)];
      float x[Rule::kLists];
      for (int list = 0; list < Rule::kLists; list++) x[list] = model.tensors[t].lists[list][i];
      if (s.apply != 0) Rule::apply(x, model.gradients[t][i], s);
      expected.insert(expected.end(), x, x + Rule::kLists);
    }
  launch(updateKernel<Rule>, blocks, kUpdateThreads, 0, nullptr, model.tables(), groups.data());
  int wrong = model.nothingBeforeIsTouched() ? 0 : 1;
  const float* next = expected.data();
  for (size_t t = 0; t < model.sizes.size(); t++)
    for (size_t i = 0; i < model.sizes[t]; i++)
      for (int list = 0; list < Rule::kLists; list++) wrong += !sameBits(model.tensors[t].lists[list][i], *next++);
  return wrong;
}

template <class Rule>
void expectRightUpdates() {
  for (const unsigned blocks : {1u, 3u})
    for (const size_t spread : {size_t{0}, size_t{1}}) STEPSIZE_EXPECT(wrongUpdates<Rule>(blocks, spread) == 0);
}

STEPSIZE_TEST(sgdUpdatesLikeItsRule) { expectRightUpdates<Sgd>(); }
STEPSIZE_TEST(sgdWithMomentumUpdatesLikeItsRule) { expectRightUpdates<SgdMomentum>(); }
STEPSIZE_TEST(adamUpdatesLikeItsRule) { expectRightUpdates<Adam>(); }
STEPSIZE_TEST(amsgradUpdatesLikeItsRule) { expectRightUpdates<AdamAmsgrad>(); }

// A tensor of more elements than 32 bits can count, of which only the last chunks have memory behind them.
STEPSIZE_TEST(aTensorMayHaveMoreElementsThan32BitsCount) {
  constexpr uint64_t kElements = (uint64_t{1} << 32) + 5;
  const auto reserve = [] {
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    return mmap(nullptr, kElements * sizeof(float), PROT_READ | PROT_WRITE, kFlags, -1, 0);
  };
  void *parameters = reserve(), *ones = reserve();
  if (parameters == MAP_FAILED || ones == MAP_FAILED) {
    printf("skipped: there is no address space for a tensor of 2^32 elements\n");
    return;
  }
  auto* parameter = static_cast<float*>(parameters);
  auto* gradient = static_cast<float*>(ones);
  std::vector<Chunk> chunks = chunksOf({kElements});
  chunks.erase(chunks.begin(), chunks.end() - 2);
  STEPSIZE_EXPECT(chunks[1].offset == uint64_t{1} << 32 && chunks[1].count == 5);
  for (const Chunk& chunk : chunks)
    for (uint64_t i = chunk.offset; i < chunk.offset + chunk.count; i++) gradient[i] = 1;
  const TensorEntry tensor{{parameter}, 0};
  const float* gradients[] = {gradient};
  update::Scalars s = fourGroups()[0];
  s.decayFactor = 1;
  launch(updateKernel<Sgd>, 2, kUpdateThreads, 0, nullptr, UpdateTables{&tensor, gradients, chunks.data(), 2}, &s);
  for (uint64_t back = 1; back <= 6; back++) STEPSIZE_EXPECT(parameter[kElements - back] == -s.stepSize);
  for (uint64_t i = 0; i < 6; i++) STEPSIZE_EXPECT(parameter[i] == 0);
  munmap(parameters, kElements * sizeof(float));
  munmap(ones, kElements * sizeof(float));
}

float normOf(const UpdateTables& tables, unsigned blocks) {
  Buffer<float> partial(tables.chunkCount), norm(1);
  Buffer<unsigned> finished(std::vector<unsigned>{0});
  launch(gradientNormKernel, blocks, kUpdateThreads, 0, nullptr, tables, partial.data(), finished.data(), norm.data());
  STEPSIZE_EXPECT(finished[0] == 0);
  return norm[0];
}

STEPSIZE_TEST(theNormIsThatOfASumInDouble) {
  const Model<Sgd> model(1);
  double sum = 0;
  for (size_t t = 0; t < model.sizes.size(); t++)
    for (size_t i = 0; i < model.sizes[t]; i++) sum += std::pow(static_cast<double>(model.gradients[t][i]), 2);
  // A thread adds at most 64 squares of a chunk, a tree adds the threads' sums: fewer than a hundred roundings.
  STEPSIZE_EXPECT(std::fabs(normOf(model.tables(), 2) - std::sqrt(sum)) <= 1e-6 * std::sqrt(sum));
}

STEPSIZE_TEST(theNormHasTheSameBitsForAnyNumberOfBlocks) {
  const Model<Sgd> model(1);
  const float one = normOf(model.tables(), 1);
  for (const unsigned blocks : {2u, 3u, 7u, 40u}) STEPSIZE_EXPECT(sameBits(normOf(model.tables(), blocks), one));
}

STEPSIZE_TEST(theNormShowsWhatIsNotFiniteAndIsZeroForNothing) {
  Model<Sgd> model(0);
  UpdateTables nothing = model.tables();
  nothing.chunkCount = 0;
  STEPSIZE_EXPECT(normOf(nothing, 3) == 0);
  float* last = model.buffers.back()->data();
  last[model.sizes.back() - 1] = std::numeric_limits<float>::infinity();
  STEPSIZE_EXPECT(std::isinf(normOf(model.tables(), 2)));
  last[0] = std::numeric_limits<float>::quiet_NaN();
  STEPSIZE_EXPECT(std::isnan(normOf(model.tables(), 2)));
}

// Three steps of the kernel and of its host functions side by side.
void expectPreparedLikeOnTheHost(int groups, const update::StepOptions& options, float gradientNorm) {
  std::vector<update::Hyper> hyper;
  for (int g = 0; g < groups; g++)
    hyper.push_back({0.01 * (g + 1), 0.1, g % 2 * 1.0, (g % 3 == 0) * 1.0, 0.9, 0.999, 1e-8, 0.9, 0.1, g % 2 * 1.0});
  update::State expectedState{};
  std::vector<update::GroupState> expectedPowers(hyper.size(), {1, 1});
  Buffer<update::State> state(std::vector<update::State>{expectedState});
  Buffer<update::GroupState> powers(expectedPowers);
  Buffer<update::Scalars> scalars(hyper.size());
  Buffer<float> norm(std::vector<float>{gradientNorm});
  for (int step = 0; step < 3; step++) {
    launch(prepareStepKernel, 1, kUpdateThreads, 0, nullptr, hyper.data(), groups, state.data(), powers.data(),
           norm.data(), options, scalars.data());
    const bool apply = update::beginStep(expectedState, options, gradientNorm);
    for (size_t g = 0; g < hyper.size(); g++)
      STEPSIZE_EXPECT(
          sameBits(scalars[g], update::prepareGroup(hyper[g], expectedState, expectedPowers[g], apply, options)));
    STEPSIZE_EXPECT(sameBits(state[0], expectedState));
    for (size_t g = 0; g < hyper.size(); g++) STEPSIZE_EXPECT(sameBits(powers[g], expectedPowers[g]));
  }
}

STEPSIZE_TEST(scalarsArePreparedLikeOnTheHost) {
  expectPreparedLikeOnTheHost(1, {0, false, false, 1}, 3);
  expectPreparedLikeOnTheHost(3, {1, true, false, 0.5}, 3);
  // More groups than threads.
  expectPreparedLikeOnTheHost(300, {1, true, true, 1}, std::numeric_limits<float>::quiet_NaN());
  expectPreparedLikeOnTheHost(2, {0, true, false, 1}, std::numeric_limits<float>::infinity());
}

}  // namespace
