// Arithmetic in f32 and f64. This file is compiled with -frounding-math and without contraction.
#include <cfenv>

#include "floats.h"
#include "semantics.h"
#include "warp.h"

namespace stepsize::ptx {

namespace {

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return canonical(a + b);
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return canonical(a - b);
  }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    return canonical(a * b);
  }
};
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    return canonical(a / b);
  }
};
struct FusedMultiplyAdd {
  template <class T>
  T operator()(T a, T b, T c) const {
    return canonical(std::fma(a, b, c));
  }
};
// −0 is smaller than 0; a NaN is ignored.
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    if (a != a) return canonical(b);
    if (b != b) return a;
    if (a == b) return std::signbit(a) ? a : b;
    return a < b ? a : b;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    if (a != a) return canonical(b);
    if (b != b) return a;
    if (a == b) return std::signbit(a) ? b : a;
    return a < b ? b : a;
  }
};
struct CopySign {
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};
struct SquareRoot {
  template <class T>
  T operator()(T a) const {
    return canonical(std::sqrt(a));
  }
};
struct Reciprocal {
  template <class T>
  T operator()(T a) const {
    return canonical(1 / a);
  }
};

// Sets the rounding direction while the object lives.
class Direction {
 public:
  explicit Direction(Rounding rounding) {
    constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    std::fesetround(kModes[static_cast<int>(rounding)]);
  }
  ~Direction() { std::fesetround(FE_TONEAREST); }
  Direction(const Direction&) = delete;
  Direction& operator=(const Direction&) = delete;
};

// Executes an instruction with another rounding, .ftz or .sat. Operands and results are volatile, so that nothing is
// computed before the direction is set or after it is restored.
template <class T, class F, int Operands>
void modified(Warp& warp, const Instruction& i, uint32_t lanes) {
  const Direction direction(i.rounding);
  const auto flush = [&](T x) -> T {
    if constexpr (sizeof(T) == 4)
      if (i.flushes) return flushed(x);
    return x;
  };
  forLanes(lanes, [&](int lane) {
    volatile T x[3] = {};
    for (int at = 0; at < Operands; at++) x[at] = flush(laneOf<T>(warp.words(i.from[at]), lane));
    volatile T result = 0;
    if constexpr (Operands == 1) result = F{}(T{x[0]});
    if constexpr (Operands == 2) result = F{}(T{x[0]}, T{x[1]});
    if constexpr (Operands == 3) result = F{}(T{x[0]}, T{x[1]}, T{x[2]});
    const T kept = flush(result);
    setLane<T>(warp.words(i.to[0]), lane, i.saturates ? saturated(kept) : kept);
  });
}

template <class F, int Operands>
Execute executeOf(const Instruction& i) {
  const bool isPlain = !i.flushes && !i.saturates && i.rounding == Rounding::nearest;
  if (!isPlain) {
    if (i.type == Type::f64) return i.flushes ? nullptr : modified<double, F, Operands>;
    return modified<float, F, Operands>;
  }
  if constexpr (Operands == 1) return i.type == Type::f32 ? unary<float, F> : unary<double, F>;
  if constexpr (Operands == 2) return i.type == Type::f32 ? binary<float, F> : binary<double, F>;
  if constexpr (Operands == 3) return i.type == Type::f32 ? ternary<float, F> : ternary<double, F>;
}

// The result of an approximate instruction: the exact result rounded, or a nearby number if the settings ask for that.
float approximated(Warp& warp, const Instruction& i, double exact) {
  float result = canonical(static_cast<float>(exact));
  if (settings().ulps > 0 && std::isfinite(result) && result != 0) {
    int32_t bits = 0;
    std::memcpy(&bits, &result, sizeof bits);
    bits += static_cast<int32_t>(warp.block->launch->random.below(2 * settings().ulps + 1) - settings().ulps);
    float moved = 0;
    std::memcpy(&moved, &bits, sizeof moved);
    if (std::isfinite(moved)) result = moved;
  }
  return i.flushes ? flushed(result) : result;
}
template <double (*F)(double)>
void approximate(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const float x = laneOf<float>(warp.words(i.from[0]), lane);
    const double exact = F(static_cast<double>(i.flushes ? flushed(x) : x));
    setLane(warp.words(i.to[0]), lane, approximated(warp, i, exact));
  });
}
void approximateQuotient(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const auto a = static_cast<double>(laneOf<float>(warp.words(i.from[0]), lane));
    setLane(warp.words(i.to[0]), lane,
            approximated(warp, i, a / static_cast<double>(laneOf<float>(warp.words(i.from[1]), lane))));
  });
}

double reciprocal(double x) { return 1 / x; }
double reciprocalRoot(double x) { return 1 / std::sqrt(x); }

// Instructions that only have an approximate form, or that request it.
Execute approximateOf(const Opcode& opcode) {
  const std::string_view name = opcode.name();
  if (name == "ex2") return approximate<std::exp2>;
  if (name == "lg2") return approximate<std::log2>;
  if (name == "sin") return approximate<std::sin>;
  if (name == "cos") return approximate<std::cos>;
  if (name == "tanh") return approximate<std::tanh>;
  if (name == "rsqrt") return approximate<reciprocalRoot>;
  if (name == "sqrt" && opcode.has("approx")) return approximate<std::sqrt>;
  if (name == "rcp" && opcode.has("approx")) return approximate<reciprocal>;
  if (name == "div" && opcode.hasOneOf("approx", "full")) return approximateQuotient;
  return nullptr;
}

}  // namespace

bool decodeFloat(Operands& operands) {
  const Opcode& opcode = operands.opcode();
  Instruction& i = operands.instruction();
  const std::string_view name = opcode.name();
  if (!isFloat(i.type)) return false;
  operands.all();
  if (const Execute approximate = approximateOf(opcode)) {
    i.execute = i.type == Type::f32 ? approximate : nullptr;
    return true;
  }
  if (opcode.hasOneOf("approx", "NaN", "nan")) return false;
  if (name == "add") i.execute = executeOf<Add, 2>(i);
  if (name == "sub") i.execute = executeOf<Subtract, 2>(i);
  if (name == "mul") i.execute = executeOf<Multiply, 2>(i);
  if (name == "div") i.execute = executeOf<Divide, 2>(i);
  if (name == "fma" || name == "mad") i.execute = executeOf<FusedMultiplyAdd, 3>(i);
  if (name == "min") i.execute = executeOf<Minimum, 2>(i);
  if (name == "max") i.execute = executeOf<Maximum, 2>(i);
  if (name == "neg") i.execute = executeOf<Negate, 1>(i);
  if (name == "abs") i.execute = executeOf<Absolute, 1>(i);
  if (name == "sqrt") i.execute = executeOf<SquareRoot, 1>(i);
  if (name == "rcp") i.execute = executeOf<Reciprocal, 1>(i);
  if (name == "copysign") i.execute = executeOf<CopySign, 2>(i);
  return i.execute != nullptr;
}

}  // namespace stepsize::ptx
