// Decodes the text of an instruction.
#include <algorithm>

#include "semantics.h"
#include "text.h"
#include "warp.h"

namespace stepsize::ptx {

namespace {

struct NamedType {
  std::string_view name;
  Type type;
  int bytes;
};
constexpr NamedType kTypes[] = {
    {"pred", Type::predicate, 1}, {"u8", Type::u8, 1},     {"u16", Type::u16, 2},   {"u32", Type::u32, 4},
    {"u64", Type::u64, 8},        {"s8", Type::s8, 1},     {"s16", Type::s16, 2},   {"s32", Type::s32, 4},
    {"s64", Type::s64, 8},        {"b8", Type::b8, 1},     {"b16", Type::b16, 2},   {"b32", Type::b32, 4},
    {"b64", Type::b64, 8},        {"f16", Type::f16, 2},   {"bf16", Type::bf16, 2}, {"f16x2", Type::f16x2, 4},
    {"bf16x2", Type::bf16x2, 4},  {"tf32", Type::tf32, 4}, {"f32", Type::f32, 4},   {"f64", Type::f64, 8},
};

Rounding roundingOf(const Opcode& opcode) {
  constexpr std::pair<const char*, Rounding> kNames[] = {
      {"rz", Rounding::zero},    {"rm", Rounding::down},    {"rp", Rounding::up},    {"rni", Rounding::toNearest},
      {"rzi", Rounding::toZero}, {"rmi", Rounding::toDown}, {"rpi", Rounding::toUp},
  };
  for (const auto& [name, rounding] : kNames)
    if (opcode.has(name)) return rounding;
  return Rounding::nearest;
}

void doNothing(Warp&, const Instruction&, uint32_t) {}
void trap(Warp& warp, const Instruction&, uint32_t) { fail(warp, "trap"); }

}  // namespace

Type typeNamed(std::string_view name) {
  for (const NamedType& known : kTypes)
    if (known.name == name) return known.type;
  return Type::none;
}

int bytesOf(Type type) {
  for (const NamedType& known : kTypes)
    if (known.type == type) return known.bytes;
  return 4;
}

void Operands::from(int slot, size_t at, Type type) {
  std::string_view operand = text(at);
  if (operand[0] == '!') {
    instruction_.negated[slot] = true;
    operand.remove_prefix(1);
  }
  instruction_.from[slot] = read(operand, type);
}

void Operands::all(Type result) {
  to(0, 0, result);
  for (size_t i = 1; i < count(); i++) from(static_cast<int>(i) - 1, i, instruction_.type);
}

void Operands::toPair(size_t at, Type type) {
  const auto both = split(text(at), '|');
  instruction_.to[0] = read(trim(both[0]), type);
  if (both.size() > 1) instruction_.to[1] = read(trim(both[1]), Type::predicate);
}

std::vector<std::string_view> Operands::vector(std::string_view text) {
  if (text[0] != '{') return {text};
  std::vector<std::string_view> elements;
  for (const std::string_view element : split(text.substr(1, text.size() - 2), ',')) elements.push_back(trim(element));
  return elements;
}

Register Operands::address(size_t at, int64_t& offset) {
  std::string_view inside = trim(text(at).substr(1, text(at).size() - 2));
  offset = 0;
  size_t sign = inside.find('+');
  const bool isAdded = sign != std::string_view::npos;
  if (!isAdded && inside[0] == '%') sign = inside.find('-', 1);
  if (sign != std::string_view::npos) {
    offset = static_cast<int64_t>(numberOf(trim(inside.substr(sign + (isAdded ? 1 : 0)))));
    inside = trim(inside.substr(0, sign));
  }
  return read(inside, Type::u64);
}

Space Operands::space() const {
  const Opcode& o = opcode_;
  if (o.hasOneOf("shared", "shared::cta")) return Space::shared;
  if (o.has("global")) return Space::global;
  if (o.has("local")) return Space::local;
  if (o.hasOneOf("param", "param::entry")) return Space::parameter;
  return o.has("const") ? Space::constant : Space::generic;
}

bool decodeControl(Operands& operands, std::string& branchTarget) {
  const Opcode& opcode = operands.opcode();
  Instruction& i = operands.instruction();
  const std::string_view name = opcode.name();
  i.execute = doNothing;
  if (name == "bra") {
    branchTarget = std::string(operands.text(0));
    i.kind = Kind::branch;
  } else if (name == "ret" || name == "exit") {
    i.kind = Kind::exit;
  } else if (name == "trap") {
    i.execute = trap;
  } else if ((name == "bar" && opcode.parts[1] == "sync") || (name == "barrier" && opcode.hasOneOf("sync", "cta"))) {
    // Only barrier 0 with all threads of the block is supported.
    if (operands.count() != 1 || operands.text(0) != "0") i.execute = nullptr;
    i.kind = Kind::barrier;
  } else if (name != "prefetch" && name != "nanosleep" && name != "discard") {
    i.execute = nullptr;
    return false;
  }
  return true;
}

Instruction decode(KernelParser& parser, std::string_view text, std::string& branchTarget) {
  Opcode opcode;
  const size_t space = text.find(' ');
  opcode.parts = split(text.substr(0, space), '.');
  if (space != std::string_view::npos) opcode.operands = splitOperands(text.substr(space));
  Instruction instruction;
  for (size_t i = 1; i < opcode.parts.size(); i++) {
    const Type type = typeNamed(opcode.parts[i]);
    if (type != Type::none) (instruction.type == Type::none ? instruction.type : instruction.sourceType) = type;
  }
  instruction.flushes = opcode.has("ftz");
  instruction.saturates = opcode.has("sat");
  instruction.rounding = roundingOf(opcode);
  Operands operands(parser, opcode, instruction);
  const bool isKnown = decodeControl(operands, branchTarget) || decodeMemory(operands) || decodeConversion(operands) ||
                       decodePredicate(operands) || decodeWarp(operands) || decodeFloat(operands) ||
                       decodeArithmetic(operands);
  if (!isKnown || !instruction.execute) throw Error("PTX: the interpreter does not know " + std::string(text));
  return instruction;
}

}  // namespace stepsize::ptx
