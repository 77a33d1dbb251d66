// What instructions do: for an opcode, the function that executes it. The families are in files of their own; each
// knows its opcodes, completes the instruction, and leaves `execute` null for what it has no meaning for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel_parser.h"

namespace stepsize::ptx {

// An opcode with its modifiers, as "fma.rn.ftz.f32", and its operands.
struct Opcode {
  std::vector<std::string_view> parts;
  std::vector<std::string_view> operands;

  std::string_view name() const { return parts[0]; }
  bool has(std::string_view modifier) const {
    for (size_t i = 1; i < parts.size(); i++)
      if (parts[i] == modifier) return true;
    return false;
  }
  template <class... More>
  bool hasOneOf(More... modifiers) const {
    return (has(modifiers) || ...);
  }
};

// Takes operands from the text of an instruction into its registers.
class Operands {
 public:
  Operands(KernelParser& parser, const Opcode& opcode, Instruction& instruction)
      : parser_(parser), opcode_(opcode), instruction_(instruction) {}

  const Opcode& opcode() const { return opcode_; }
  Instruction& instruction() const { return instruction_; }
  size_t count() const { return opcode_.operands.size(); }
  std::string_view text(size_t at) const { return opcode_.operands.at(at); }

  Register read(std::string_view text, Type type) { return parser_.operand(text, type); }
  void to(int slot, size_t at, Type type) { instruction_.to[slot] = read(text(at), type); }
  void from(int slot, size_t at, Type type);
  // The result of the given type, and all other operands of the instruction's.
  void all(Type result);
  void all() { all(instruction_.type); }
  // "a|p": a result and a predicate.
  void toPair(size_t at, Type type);
  // "{a, b}" or "a": the elements of a vector.
  static std::vector<std::string_view> vector(std::string_view text);
  // "[address + offset]": the register of the address.
  Register address(size_t at, int64_t& offset);
  Space space() const;

 private:
  KernelParser& parser_;
  const Opcode& opcode_;
  Instruction& instruction_;
};

// Each decodes one family and says whether the opcode is of it.
bool decodeArithmetic(Operands& operands);  // integers, bits, selections
bool decodeFloat(Operands& operands);       // f32 and f64
bool decodePredicate(Operands& operands);   // comparisons and logic
bool decodeConversion(Operands& operands);  // cvt, mov, cvta
bool decodeMemory(Operands& operands);      // ld, st, atom, fences, cp.async
bool decodeWarp(Operands& operands);        // shuffles, votes, ldmatrix, mma
bool decodeControl(Operands& operands, std::string& branchTarget);

}  // namespace stepsize::ptx
