// The semantics of instructions: for an opcode, the function that executes it. Each family of instructions has a
// file. A family recognises its opcodes, completes the instruction, and leaves `execute` null for a form that it does
// not support.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel_parser.h"

namespace stepsize::ptx {

// An opcode with its modifiers, such as "fma.rn.ftz.f32", and its operands.
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

// Moves operands from the text of an instruction into its registers.
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
  // All operands: the result has the given type, the others the type of the instruction.
  void all(Type result);
  void all() { all(instruction_.type); }
  // "a|p": a result and a predicate.
  void toPair(size_t at, Type type);
  // The elements of a vector: "{a, b}" or "a".
  static std::vector<std::string_view> vector(std::string_view text);
  // "[address + offset]": returns the register of the address.
  Register address(size_t at, int64_t& offset);
  Space space() const;

 private:
  KernelParser& parser_;
  const Opcode& opcode_;
  Instruction& instruction_;
};

// Each function decodes one family, and returns whether the opcode belongs to it.
bool decodeArithmetic(Operands& operands);  // integers, bits, selections
bool decodeFloat(Operands& operands);       // f32 and f64
bool decodePredicate(Operands& operands);   // comparisons and logic
bool decodeConversion(Operands& operands);  // cvt, mov, cvta
bool decodeMemory(Operands& operands);      // ld, st, atom, fences, cp.async
bool decodeWarp(Operands& operands);        // shuffles, votes, ldmatrix, mma
bool decodeControl(Operands& operands, std::string& branchTarget);

}  // namespace stepsize::ptx
