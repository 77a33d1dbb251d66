// Parses the text of one kernel: its declarations and operands.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "program.h"

namespace stepsize::ptx {

// The parser of one kernel.
class KernelParser {
 public:
  KernelParser(const std::string& name, Module& module) : module_(module) { kernel_.name = name; }
  // Parses the kernel from its head and body.
  Kernel parse(std::string_view head, std::string_view body);

  // For the instruction decoder: the register of an operand of any kind. `type` is the type of the instruction, which
  // determines the width of a constant.
  Register operand(std::string_view text, Type type);

 private:
  void declareParameters(std::string_view list);
  void declareShared(std::string_view body, const std::vector<std::string>& statements);
  void declareRegisters(std::string_view declaration);
  void addInstruction(const std::string& statement);
  void resolveBranches();
  Register newRegister(uint8_t bytes);
  Register constant(uint64_t value, uint8_t bytes);
  void place(const Variable& variable, uint32_t& end);

  Module& module_;
  Kernel kernel_;
  std::vector<std::unordered_map<std::string, Register>> scopes_{1};
  std::unordered_map<std::string, uint64_t> addresses_;  // of parameters, and of variables in shared and local memory
  std::unordered_map<std::string, int> labels_;
  std::vector<std::pair<size_t, std::string>> branches_;
  std::map<std::pair<uint64_t, uint8_t>, Register> constants_;
};

// Decodes an instruction without its guard.
Instruction decode(KernelParser& parser, std::string_view text, std::string& branchTarget);

}  // namespace stepsize::ptx
