// Instructions on integers and bits, and selections.
#include <limits>
#include <type_traits>

#include "semantics.h"
#include "text.h"
#include "warp.h"

namespace stepsize::ptx {

namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T>
constexpr int kBits = 8 * sizeof(T);

// Converts to unsigned 64 bits, in which arithmetic wraps around as in hardware. The lowest bits are the result of any
// width.
template <class T>
uint64_t wide(T x) {
  return static_cast<uint64_t>(x);
}

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(wide(a) + wide(b));
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(wide(a) - wide(b));
  }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(wide(a) * wide(b));
  }
};
struct MultiplyAdd {
  template <class T>
  T operator()(T a, T b, T c) const {
    return static_cast<T>(wide(a) * wide(b) + wide(c));
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};
// Divides as hardware does, also by zero and the smallest number by −1.
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(~T{0});
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(0 - wide(a));
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
struct And {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a & b);
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a | b);
  }
};
struct ExclusiveOr {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a ^ b);
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(0 - wide(a));
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? Negate{}(a) : a;
  }
};
struct Reverse {
  template <class T>
  T operator()(T a) const {
    T reversed = 0;
    for (int i = 0; i < kBits<T>; i++) reversed = static_cast<T>(reversed | (a >> i & 1) << (kBits<T> - 1 - i));
    return reversed;
  }
};

// The instance F<T>::execute for an integer type.
template <template <class> class F>
Execute forIntegers(Type type) {
  switch (type) {
    case Type::u16:
    case Type::b16: return F<uint16_t>::execute;
    case Type::s16: return F<int16_t>::execute;
    case Type::u32:
    case Type::b32: return F<uint32_t>::execute;
    case Type::s32: return F<int32_t>::execute;
    case Type::u64:
    case Type::b64: return F<uint64_t>::execute;
    case Type::s64: return F<int64_t>::execute;
    default: return nullptr;
  }
}
template <class Function>
struct Unary {
  template <class T>
  struct Of {
    static constexpr Execute execute = unary<T, Function>;
  };
};
template <class Function>
struct Binary {
  template <class T>
  struct Of {
    static constexpr Execute execute = binary<T, Function>;
  };
};
template <class Function>
struct Ternary {
  template <class T>
  struct Of {
    static constexpr Execute execute = ternary<T, Function>;
  };
};

// Products of twice the width, with or without a summand of that width.
template <class T, class Wide>
void multiplyWide(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t *a = warp.words(i.from[0]), *b = warp.words(i.from[1]);
  const uint32_t* c = i.from[2] ? warp.words(i.from[2]) : nullptr;
  uint32_t* to = warp.words(i.to[0]);
  forLanes(lanes, [=](int lane) {
    const Wide product =
        static_cast<Wide>(static_cast<Wide>(laneOf<T>(a, lane)) * static_cast<Wide>(laneOf<T>(b, lane)));
    setLane<Wide>(to, lane, c ? Add{}(product, laneOf<Wide>(c, lane)) : product);
  });
}
// The upper halves of such products.
template <class T, class Wide>
void multiplyHigh(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const Wide product =
        static_cast<Wide>(laneOf<T>(warp.words(i.from[0]), lane)) * laneOf<T>(warp.words(i.from[1]), lane);
    const T high = static_cast<T>(product >> kBits<T>);
    setLane<T>(warp.words(i.to[0]), lane, i.from[2] ? Add{}(high, laneOf<T>(warp.words(i.from[2]), lane)) : high);
  });
}

template <class T>
struct ShiftLeft {
  static void execute(Warp& warp, const Instruction& i, uint32_t lanes) {
    const uint32_t *a = warp.words(i.from[0]), *by = warp.words(i.from[1]);
    uint32_t* to = warp.words(i.to[0]);
    forLanes(lanes, [=](int lane) {
      const auto x = static_cast<Unsigned<T>>(laneOf<T>(a, lane));
      setLane<T>(to, lane, by[lane] >= kBits<T> ? T{0} : static_cast<T>(static_cast<Unsigned<T>>(x << by[lane])));
    });
  }
};
template <class T>
struct ShiftRight {
  static void execute(Warp& warp, const Instruction& i, uint32_t lanes) {
    const uint32_t *a = warp.words(i.from[0]), *by = warp.words(i.from[1]);
    uint32_t* to = warp.words(i.to[0]);
    forLanes(lanes, [=](int lane) {
      const T x = laneOf<T>(a, lane);
      setLane<T>(to, lane, by[lane] >= kBits<T> ? static_cast<T>(x < 0 ? -1 : 0) : static_cast<T>(x >> by[lane]));
    });
  }
};

// operation: 1 to shift right. variant: 1 to clamp a shift of more than 32 to 32, 0 to wrap it around.
void funnelShift(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const uint64_t low = warp.words(i.from[0])[lane], high = warp.words(i.from[1])[lane];
    const uint32_t asked = warp.words(i.from[2])[lane], by = i.variant ? std::min(asked, 32u) : asked & 31;
    const uint64_t both = high << 32 | low;
    warp.words(i.to[0])[lane] = static_cast<uint32_t>(i.operation ? both >> by : (both << by) >> 32);
  });
}

// immediate: the truth table.
void logicOfThree(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t *a = warp.words(i.from[0]), *b = warp.words(i.from[1]), *c = warp.words(i.from[2]);
  uint32_t* to = warp.words(i.to[0]);
  const uint32_t table = i.immediate;
  forLanes(lanes, [=](int lane) {
    uint32_t result = 0;
    for (uint32_t row = 0; row < 8; row++)
      if (table >> row & 1)
        result |= (row & 4 ? a[lane] : ~a[lane]) & (row & 2 ? b[lane] : ~b[lane]) & (row & 1 ? c[lane] : ~c[lane]);
    to[lane] = result;
  });
}

void permuteBytes(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const uint64_t bytes = static_cast<uint64_t>(warp.words(i.from[1])[lane]) << 32 | warp.words(i.from[0])[lane];
    const uint32_t selector = warp.words(i.from[2])[lane];
    uint32_t result = 0;
    for (uint32_t at = 0; at < 4; at++) {
      const uint32_t chosen = selector >> (4 * at);
      uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (chosen & 7))) & 255;
      if (chosen & 8) byte = byte & 128 ? 255 : 0;
      result |= byte << (8 * at);
    }
    warp.words(i.to[0])[lane] = result;
  });
}

template <class T>
struct ExtractBits {
  static void execute(Warp& warp, const Instruction& i, uint32_t lanes) {
    forLanes(lanes, [&](int lane) {
      const T x = laneOf<T>(warp.words(i.from[0]), lane);
      const int first = static_cast<int>(warp.words(i.from[1])[lane] & 255);
      const int count = static_cast<int>(warp.words(i.from[2])[lane] & 255);
      bool sign = false;
      if (std::is_signed_v<T> && count > 0) sign = x >> std::min(first + count - 1, kBits<T> - 1) & 1;
      Unsigned<T> result = 0;
      for (int bit = 0; bit < kBits<T>; bit++)
        if (bit < count && first + bit < kBits<T> ? (x >> (first + bit) & 1) != 0 : sign)
          result = static_cast<Unsigned<T>>(result | Unsigned<T>{1} << bit);
      setLane<T>(warp.words(i.to[0]), lane, static_cast<T>(result));
    });
  }
};
template <class T>
void insertBits(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const T a = laneOf<T>(warp.words(i.from[0]), lane);
    T b = laneOf<T>(warp.words(i.from[1]), lane);
    const int first = static_cast<int>(warp.words(i.from[2])[lane] & 255);
    const int count = static_cast<int>(warp.words(i.from[3])[lane] & 255);
    for (int bit = 0; bit < count && first + bit < kBits<T>; bit++)
      b = (b & ~(T{1} << (first + bit))) | (a >> bit & 1) << (first + bit);
    setLane<T>(warp.words(i.to[0]), lane, b);
  });
}

// The result has 32 bits, the operand 32 or 64.
template <class T, bool Leading>
void countBits(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) {
    const auto x = static_cast<uint64_t>(laneOf<T>(warp.words(i.from[0]), lane));
    const int leading = x == 0 ? kBits<T> : __builtin_clzll(x) - (64 - kBits<T>);
    warp.words(i.to[0])[lane] = static_cast<uint32_t>(Leading ? leading : __builtin_popcountll(x));
  });
}

template <class T>
void select(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t *a = warp.words(i.from[0]), *b = warp.words(i.from[1]);
  uint32_t* to = warp.words(i.to[0]);
  const uint32_t chosen = predicate(warp, i, 2);
  forLanes(lanes,
           [=](int lane) { setLane<T>(to, lane, chosen >> lane & 1 ? laneOf<T>(a, lane) : laneOf<T>(b, lane)); });
}

Type twice(Type type) {
  switch (type) {
    case Type::u16: return Type::u32;
    case Type::s16: return Type::s32;
    case Type::u32: return Type::u64;
    default: return Type::s64;
  }
}

// mul and mad; the result is the lower half, the upper half, or both.
void decodeProduct(Operands& operands) {
  Instruction& i = operands.instruction();
  const bool adds = operands.opcode().name() == "mad";
  if (operands.opcode().has("wide")) {
    operands.all(twice(i.type));
    if (adds) operands.from(2, 3, twice(i.type));
    switch (i.type) {
      case Type::u16: i.execute = multiplyWide<uint16_t, uint32_t>; break;
      case Type::s16: i.execute = multiplyWide<int16_t, int32_t>; break;
      case Type::u32: i.execute = multiplyWide<uint32_t, uint64_t>; break;
      case Type::s32: i.execute = multiplyWide<int32_t, int64_t>; break;
      default: break;
    }
    return;
  }
  operands.all();
  if (operands.opcode().has("hi")) {
    switch (i.type) {
      case Type::u32: i.execute = multiplyHigh<uint32_t, uint64_t>; break;
      case Type::s32: i.execute = multiplyHigh<int32_t, int64_t>; break;
      case Type::u64: i.execute = multiplyHigh<uint64_t, unsigned __int128>; break;
      case Type::s64: i.execute = multiplyHigh<int64_t, __int128>; break;
      default: break;
    }
    return;
  }
  i.execute = adds ? forIntegers<Ternary<MultiplyAdd>::Of>(i.type) : forIntegers<Binary<Multiply>::Of>(i.type);
}

// Instructions with operands of other types than the instruction's.
bool decodeBits(Operands& operands) {
  Instruction& i = operands.instruction();
  const std::string_view name = operands.opcode().name();
  const bool is64 = bytesOf(i.type) == 8;
  if (name == "shl" || name == "shr") {
    operands.to(0, 0, i.type);
    operands.from(0, 1, i.type);
    operands.from(1, 2, Type::u32);
    i.execute = name == "shl" ? forIntegers<ShiftLeft>(i.type) : forIntegers<ShiftRight>(i.type);
  } else if (name == "bfe" || name == "bfi") {
    const size_t values = name == "bfe" ? 1 : 2;
    operands.to(0, 0, i.type);
    for (size_t at = 1; at < operands.count(); at++)
      operands.from(static_cast<int>(at) - 1, at, at <= values ? i.type : Type::u32);
    i.execute = name == "bfe" ? forIntegers<ExtractBits>(i.type) : is64 ? insertBits<uint64_t> : insertBits<uint32_t>;
  } else if (name == "selp") {
    operands.to(0, 0, i.type);
    operands.from(0, 1, i.type);
    operands.from(1, 2, i.type);
    operands.from(2, 3, Type::predicate);
    i.execute = is64 ? select<uint64_t> : bytesOf(i.type) == 4 ? select<uint32_t> : select<uint16_t>;
  } else if (name == "popc" || name == "clz") {
    operands.all(Type::u32);
    if (name == "popc")
      i.execute = is64 ? countBits<uint64_t, false> : countBits<uint32_t, false>;
    else
      i.execute = is64 ? countBits<uint64_t, true> : countBits<uint32_t, true>;
  } else {
    return false;
  }
  return true;
}

}  // namespace

bool decodeArithmetic(Operands& operands) {
  const Opcode& opcode = operands.opcode();
  Instruction& i = operands.instruction();
  const std::string_view name = opcode.name();
  if (isHalf(i.type) || opcode.has("cc") || i.saturates) return false;
  if (name == "mul" || name == "mad") return decodeProduct(operands), true;
  if (decodeBits(operands)) return true;
  operands.all();
  if (name == "add") i.execute = forIntegers<Binary<Add>::Of>(i.type);
  if (name == "sub") i.execute = forIntegers<Binary<Subtract>::Of>(i.type);
  if (name == "min") i.execute = forIntegers<Binary<Minimum>::Of>(i.type);
  if (name == "max") i.execute = forIntegers<Binary<Maximum>::Of>(i.type);
  if (name == "div") i.execute = forIntegers<Binary<Divide>::Of>(i.type);
  if (name == "rem") i.execute = forIntegers<Binary<Remainder>::Of>(i.type);
  if (name == "and") i.execute = forIntegers<Binary<And>::Of>(i.type);
  if (name == "or") i.execute = forIntegers<Binary<Or>::Of>(i.type);
  if (name == "xor") i.execute = forIntegers<Binary<ExclusiveOr>::Of>(i.type);
  if (name == "not") i.execute = forIntegers<Unary<Not>::Of>(i.type);
  if (name == "neg") i.execute = forIntegers<Unary<Negate>::Of>(i.type);
  if (name == "abs") i.execute = forIntegers<Unary<Absolute>::Of>(i.type);
  if (name == "brev") i.execute = forIntegers<Unary<Reverse>::Of>(i.type);
  if (name == "prmt" && opcode.parts.size() == 2) i.execute = permuteBytes;
  if (name == "lop3") {
    i.immediate = static_cast<uint32_t>(numberOf(operands.text(4)));
    i.execute = logicOfThree;
  }
  if (name == "shf") {
    i.operation = opcode.has("r");
    i.variant = opcode.has("clamp");
    i.execute = funnelShift;
  }
  return i.execute != nullptr;
}

}  // namespace stepsize::ptx
