// The table of update rules, from which the CPU loops, the CUDA kernels and the names in the binding are generated.
//
// An update rule is one function on one element: parameter p, gradient g, moments m[0], m[1], …, scalars s. A new rule
// is such a function in a file of its own and one line here.
#pragma once

#include "adam.h"
#include "lion.h"
#include "sgd.h"

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
