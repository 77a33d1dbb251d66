// The update rules, and the table from which the CPU loops, the CUDA kernels and the names in the binding are
// generated.
//
// An update rule is one function on one element: parameter p, gradient g, moments m[0], m[1], …, scalars s. A new rule
// is such a function and one line in the table.
#pragma once

#include "../bfloat16.h"
#include "scalars.h"

namespace stepsize::update {

// Denormal numbers, those below float32's smallest normal number 2^-126, are kept out of parameters and optimizer
// state.
//
// A moment whose gradient is zero decays, and would stay at the smallest denormal number for ever, because β·m rounds
// back to m there. Arithmetic on denormal numbers can take a CPU up to a hundred times as long. A step therefore stores
// 0 instead of a denormal number, with an error below 2^-126. The update rules do this themselves and do not rely on a
// mode of the processor, because modes of CPUs and GPUs differ in what they flush and when. This way the bits are the
// same everywhere.

// Returns the value, or 0 if its magnitude is below that of the float with the bits `leastBits`; a NaN stays NaN. It
// has no branch, which would keep the compiler from vectorising a CPU loop.
STEPSIZE_HOST_DEVICE float zeroBelow(float value, int32_t leastBits) {
  const uint32_t bits = bitsOfFloat(value);
  const bool stays = static_cast<int32_t>(bits & 0x7fffffffu) >= leastBits;
  return floatOfBits(bits & (0u - static_cast<uint32_t>(stays)));
}

// The value to store: 0 if the magnitude is below 2^-126.
STEPSIZE_HOST_DEVICE float flushed(float value) { return zeroBelow(value, 0x00800000); }

// The gradient to square for a second moment: 0 below 2^-63, because the square would be denormal. The squares of tiny
// gradients are then not slow either.
STEPSIZE_HOST_DEVICE float squarable(float gradient) { return zeroBelow(gradient, 0x20000000); }

// SGD with momentum, dampening, Nesterov momentum and coupled weight decay, with the semantics of
// torch.optim.SGD:
//
//   g ← scale·gradient + decay·p,   b ← momentum·b + (1 − dampening)·g,   p ← p − lr·(g or b or g + momentum·b)
//
// In float32, SGD with momentum reads parameter, gradient and buffer and writes parameter and buffer: 20 bytes per
// parameter. Without momentum it moves 12.

// SGD without momentum for one element.
STEPSIZE_HOST_DEVICE void sgd(float& parameter, float gradient, const Scalars& s) {
  const float g = __builtin_fmaf(s.coupledDecay, parameter, scaledGradient(gradient, s));
  parameter = flushed(__builtin_fmaf(-s.stepSize, g, parameter));
}

// SGD with momentum for one element.
STEPSIZE_HOST_DEVICE void sgdMomentum(float& parameter, float gradient, float& buffer, const Scalars& s) {
  const float g = __builtin_fmaf(s.coupledDecay, parameter, scaledGradient(gradient, s));
  buffer = flushed(__builtin_fmaf(s.momentum, buffer, s.gradientWeight * g));
  const float direction = __builtin_fmaf(s.directBuffer, buffer, s.directGradient * g);
  parameter = flushed(__builtin_fmaf(-s.stepSize, direction, parameter));
}

// Adam and AdamW and their AMSGrad variants, with the semantics of torch.optim.Adam and
// torch.optim.AdamW:
//
//   g ← scale·gradient + coupledDecay·p,   m ← β1·m + (1 − β1)·g,   v ← β2·v + (1 − β2)·g²
//   p ← p·(1 − lr·decoupledDecay) − lr/(1 − β1^t) · m / (√v/√(1 − β2^t) + ε)
//
// AMSGrad uses the running maximum of v under the root. In float32, Adam reads 16 bytes per parameter and writes 12;
// AMSGrad reads 20 and writes 16.

// Updates both moments and returns v.
STEPSIZE_HOST_DEVICE float adamMoments(float parameter, float gradient, float& m, float& v, const Scalars& s) {
  const float g = __builtin_fmaf(s.coupledDecay, parameter, scaledGradient(gradient, s));
  m = flushed(__builtin_fmaf(s.beta1, m, s.oneMinusBeta1 * g));
  const float toSquare = squarable(g);
  v = flushed(__builtin_fmaf(s.beta2, v, s.oneMinusBeta2 * toSquare * toSquare));
  return v;
}

// Updates the parameter; `second` is v, or its running maximum.
STEPSIZE_HOST_DEVICE void adamApply(float& parameter, float m, float second, const Scalars& s) {
  const float denominator = __builtin_fmaf(__builtin_sqrtf(second), s.secondScale, s.epsilon);
  parameter = flushed(__builtin_fmaf(-s.stepSize, m / denominator, parameter * s.decayFactor));
}

// Adam and AdamW for one element.
STEPSIZE_HOST_DEVICE void adam(float& parameter, float gradient, float& m, float& v, const Scalars& s) {
  // This call does not stand among the next call's arguments, because there the compiler may read `m` before or after
  // it.
  const float second = adamMoments(parameter, gradient, m, v, s);
  adamApply(parameter, m, second, s);
}

// Adam and AdamW with AMSGrad for one element.
STEPSIZE_HOST_DEVICE void adamAmsgrad(float& parameter, float gradient, float& m, float& v, float& maximum,
                                      const Scalars& s) {
  const float second = adamMoments(parameter, gradient, m, v, s);
  // A NaN stays NaN, as with torch.maximum; both `>` and `==` are false for NaN.
  maximum = flushed(second > maximum || second != second ? second : maximum);
  adamApply(parameter, m, maximum, s);
}

// Lion: the sign of an interpolated momentum, with decoupled weight decay.
//
//   c ← β1·m + (1 − β1)·g,   p ← p·(1 − lr·decay) − lr·sign(c),   m ← β2·m + (1 − β2)·g
//
// In float32, Lion reads parameter, gradient and momentum and writes parameter and momentum: 20 bytes per parameter.
//
// Source: Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, algorithm 2.

// Lion for one element.
STEPSIZE_HOST_DEVICE void lion(float& parameter, float gradient, float& m, const Scalars& s) {
  const float g = __builtin_fmaf(s.coupledDecay, parameter, scaledGradient(gradient, s));
  const float c = __builtin_fmaf(s.beta1, m, s.oneMinusBeta1 * g);
  // The sign of 0 is 0, and a NaN passes on to the parameter.
  const float direction = c > 0.0f ? 1.0f : c < 0.0f ? -1.0f : c;
  parameter = flushed(__builtin_fmaf(-s.stepSize, direction, parameter * s.decayFactor));
  m = flushed(__builtin_fmaf(s.beta2, m, s.oneMinusBeta2 * g));
}

}  // namespace stepsize::update

// clang-format off
//     name         structure    moments  what it does to one element
#define STEPSIZE_UPDATE_RULES(RULE)                                                \
  RULE(sgd,         Sgd,         0,       sgd(p, g, s))                            \
  RULE(sgdMomentum, SgdMomentum, 1,       sgdMomentum(p, g, m[0], s))              \
  RULE(adam,        Adam,        2,       adam(p, g, m[0], m[1], s))               \
  RULE(adamAmsgrad, AdamAmsgrad, 3,       adamAmsgrad(p, g, m[0], m[1], m[2], s))  \
  RULE(lion,        Lion,        1,       lion(p, g, m[0], s))
// clang-format on

namespace stepsize::update {

// The most moments of a rule.
constexpr int kMaxMoments = 3;

// One structure per rule, with its number of moments and its function on one element.
#define STEPSIZE_RULE(name, Structure, moments, update)                                                                \
  struct Structure {                                                                                                   \
    static constexpr int kMoments = (moments);                                                                         \
    STEPSIZE_HOST_DEVICE static void apply(float& p, float g, [[maybe_unused]] float* m, const Scalars& s) { update; } \
  };
STEPSIZE_UPDATE_RULES(STEPSIZE_RULE)
#undef STEPSIZE_RULE

#define STEPSIZE_RULE(name, Structure, moments, update) name,
// The rules, in the order of the table.
enum class Rule : int { STEPSIZE_UPDATE_RULES(STEPSIZE_RULE) count };
#undef STEPSIZE_RULE
constexpr int kRules = static_cast<int>(Rule::count);

#define STEPSIZE_RULE(name, Structure, moments, update) #name,
// The names of the rules, in that order.
constexpr const char* kRuleNames[kRules] = {STEPSIZE_UPDATE_RULES(STEPSIZE_RULE)};
#undef STEPSIZE_RULE

#define STEPSIZE_RULE(name, Structure, moments, update) (moments),
// The number of moments of each rule, in that order.
constexpr int kMomentsOfRule[kRules] = {STEPSIZE_UPDATE_RULES(STEPSIZE_RULE)};
#undef STEPSIZE_RULE

// Calls visit(structure) with the structure of a rule that is known only at run time.
template <class Visit>
inline __attribute__((always_inline)) void visitRule(Rule rule, const Visit& visit) {
  switch (rule) {
// NOLINTBEGIN(bugprone-macro-parentheses): a type takes none.
#define STEPSIZE_RULE(name, Structure, moments, update) \
  case Rule::name: return visit(Structure{});
    // NOLINTEND(bugprone-macro-parentheses)
    STEPSIZE_UPDATE_RULES(STEPSIZE_RULE)
#undef STEPSIZE_RULE
    case Rule::count: break;
  }
}

}  // namespace stepsize::update
