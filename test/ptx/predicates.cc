// Comparisons, and logic on their results.
#include <cmath>

#include "semantics.h"
#include "text.h"
#include "warp.h"

namespace stepsize::ptx {

namespace {

// Comparisons that end in u are also true for NaN.
enum class Comparison { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };
constexpr std::pair<const char*, Comparison> kComparisons[] = {
    {"eq", Comparison::eq},   {"ne", Comparison::ne},   {"lt", Comparison::lt},   {"le", Comparison::le},
    {"gt", Comparison::gt},   {"ge", Comparison::ge},   {"lo", Comparison::lt},   {"ls", Comparison::le},
    {"hi", Comparison::gt},   {"hs", Comparison::ge},   {"equ", Comparison::equ}, {"neu", Comparison::neu},
    {"ltu", Comparison::ltu}, {"leu", Comparison::leu}, {"gtu", Comparison::gtu}, {"geu", Comparison::geu},
    {"num", Comparison::num}, {"nan", Comparison::nan}};

enum class Logic { none, conjunction, disjunction, difference, negation, copy };

uint32_t combine(Logic logic, uint32_t a, uint32_t b) {
  switch (logic) {
    case Logic::conjunction: return a & b;
    case Logic::disjunction: return a | b;
    case Logic::difference: return a ^ b;
    case Logic::negation: return ~a;
    default: return a;
  }
}

// One bit for each of all lanes; the caller selects the lanes that it needs.
template <class T, class F>
uint32_t bitsWhere(Warp& warp, const Instruction& i, const F& holds) {
  const uint32_t *a = warp.words(i.from[0]), *b = warp.words(i.from[1]);
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; lane++)
    bits |= static_cast<uint32_t>(holds(laneOf<T>(a, lane), laneOf<T>(b, lane))) << lane;
  return bits;
}

template <class T>
uint32_t compare(Warp& warp, const Instruction& i) {
  const auto isUnordered = [](T a, T b) { return a != a || b != b; };
  const auto where = [&](const auto& holds) { return bitsWhere<T>(warp, i, holds); };
  switch (static_cast<Comparison>(i.operation)) {
    case Comparison::eq: return where([](T a, T b) { return a == b; });
    case Comparison::ne: return where([&](T a, T b) { return !isUnordered(a, b) && a != b; });
    case Comparison::lt: return where([](T a, T b) { return a < b; });
    case Comparison::le: return where([](T a, T b) { return a <= b; });
    case Comparison::gt: return where([](T a, T b) { return a > b; });
    case Comparison::ge: return where([](T a, T b) { return a >= b; });
    case Comparison::equ: return where([&](T a, T b) { return isUnordered(a, b) || a == b; });
    case Comparison::neu: return where([](T a, T b) { return !(a == b); });
    case Comparison::ltu: return where([](T a, T b) { return !(a >= b); });
    case Comparison::leu: return where([](T a, T b) { return !(a > b); });
    case Comparison::gtu: return where([](T a, T b) { return !(a <= b); });
    case Comparison::geu: return where([](T a, T b) { return !(a < b); });
    case Comparison::num: return where([&](T a, T b) { return !isUnordered(a, b); });
    case Comparison::nan: return where(isUnordered);
  }
  return 0;
}

// variant: the operation that combines the result with another predicate. The second result is that of the negated
// comparison.
template <class T>
void setPredicates(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t holds = compare<T>(warp, i), other = i.from[2] ? predicate(warp, i, 2) : 0;
  const auto logic = static_cast<Logic>(i.variant);
  setPredicate(warp, i.to[0], lanes, combine(logic, holds, other));
  setPredicate(warp, i.to[1], lanes, combine(logic, ~holds, other));
}

void combinePredicates(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t a = predicate(warp, i, 0), b = i.from[1] ? predicate(warp, i, 1) : 0;
  setPredicate(warp, i.to[0], lanes, combine(static_cast<Logic>(i.operation), a, b));
}

template <class T, bool (*Holds)(double)>
void test(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; lane++)
    bits |= static_cast<uint32_t>(Holds(static_cast<double>(laneOf<T>(warp.words(i.from[0]), lane)))) << lane;
  setPredicate(warp, i.to[0], lanes, bits);
}
bool isNumber(double x) { return x == x; }
bool isNotANumber(double x) { return x != x; }
bool isFinite(double x) { return std::isfinite(x); }
bool isInfinite(double x) { return std::isinf(x); }

template <bool (*Holds)(double)>
Execute testOf(Type type) {
  return type == Type::f32 ? test<float, Holds> : test<double, Holds>;
}

Execute comparisonOf(Type type) {
  switch (type) {
    case Type::u16:
    case Type::b16: return setPredicates<uint16_t>;
    case Type::s16: return setPredicates<int16_t>;
    case Type::u32:
    case Type::b32: return setPredicates<uint32_t>;
    case Type::s32: return setPredicates<int32_t>;
    case Type::u64:
    case Type::b64: return setPredicates<uint64_t>;
    case Type::s64: return setPredicates<int64_t>;
    case Type::f32: return setPredicates<float>;
    case Type::f64: return setPredicates<double>;
    default: return nullptr;
  }
}

}  // namespace

bool decodePredicate(Operands& operands) {
  const Opcode& opcode = operands.opcode();
  Instruction& i = operands.instruction();
  const std::string_view name = opcode.name();
  const auto logic = [&] {
    return opcode.has("and") ? Logic::conjunction : opcode.has("or") ? Logic::disjunction : Logic::difference;
  };
  if (name == "setp") {
    for (const auto& [word, comparison] : kComparisons)
      if (opcode.parts[1] == word && !i.flushes) {
        i.operation = static_cast<int>(comparison);
        i.execute = comparisonOf(i.type);
      }
    operands.toPair(0, Type::predicate);
    operands.from(0, 1, i.type);
    operands.from(1, 2, i.type);
    if (operands.count() > 3) {
      operands.from(2, 3, Type::predicate);
      i.variant = static_cast<int>(logic());
    }
    return true;
  }
  if (name == "testp") {
    operands.to(0, 0, Type::predicate);
    operands.from(0, 1, i.type);
    if (opcode.has("finite")) i.execute = testOf<isFinite>(i.type);
    if (opcode.has("infinite")) i.execute = testOf<isInfinite>(i.type);
    if (opcode.has("number")) i.execute = testOf<isNumber>(i.type);
    if (opcode.has("notanumber")) i.execute = testOf<isNotANumber>(i.type);
    return true;
  }
  if (i.type != Type::predicate) return false;
  constexpr std::pair<const char*, Logic> kLogic[] = {{"and", Logic::conjunction},
                                                      {"or", Logic::disjunction},
                                                      {"xor", Logic::difference},
                                                      {"not", Logic::negation},
                                                      {"mov", Logic::copy}};
  for (const auto& [word, operation] : kLogic) {
    if (name != word) continue;
    operands.all();
    i.operation = static_cast<int>(operation);
    i.execute = combinePredicates;
    return true;
  }
  return false;
}

}  // namespace stepsize::ptx
