// Steps of one update rule, for a test that compiles native/update with several compilers.
//
//   update_program <rule> <elements> <steps> <the doubles of Hyper>...
//
// Reads float32 from standard input: the parameter, then a gradient for each step. Writes the parameter and the moments
// after each step.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../../native/update/prepare.h"
#include "../../../native/update/rules.h"

using namespace stepsize;

int main(int count, char** arguments) {
  const auto rule = static_cast<update::Rule>(std::atoi(arguments[1]));
  const auto elements = static_cast<size_t>(std::atol(arguments[2]));
  const int steps = std::atoi(arguments[3]);
  double fields[update::kHyperFields] = {};
  if (count != 4 + update::kHyperFields) return 2;
  for (int field = 0; field < update::kHyperFields; field++) fields[field] = std::atof(arguments[4 + field]);
  update::Hyper hyper{};
  __builtin_memcpy(&hyper, fields, sizeof hyper);

  std::vector<float> parameter(elements), gradient(elements);
  std::vector<std::vector<float>> moments(update::kMaxMoments, std::vector<float>(elements));
  const auto read = [&](std::vector<float>& into) {
    return std::fread(into.data(), sizeof(float), elements, stdin) == elements;
  };
  const auto write = [&](const std::vector<float>& values) {
    std::fwrite(values.data(), sizeof(float), elements, stdout);
  };
  if (!read(parameter)) return 2;
  update::State state{};
  const update::StepOptions options{0, false, false, 1};
  for (int step = 0; step < steps; step++) {
    if (!read(gradient)) return 2;
    const bool apply = update::beginStep(state, options, 0);
    const update::Scalars scalars = update::scalarsOf(hyper, state, step + 1, apply, options);
    update::visitRule(rule, [&](auto known) {
      using Rule = decltype(known);
      for (size_t i = 0; i < elements; i++) {
        float m[update::kMaxMoments] = {};
        for (int k = 0; k < Rule::kMoments; k++) m[k] = moments[static_cast<size_t>(k)][i];
        Rule::apply(parameter[i], gradient[i], m, scalars);
        for (int k = 0; k < Rule::kMoments; k++) moments[static_cast<size_t>(k)][i] = m[k];
      }
    });
    write(parameter);
    for (const std::vector<float>& one : moments) write(one);
  }
  return 0;
}
