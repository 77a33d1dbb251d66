// Kernels as the interpreter runs them: lists of decoded instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "settings.h"
#include "types.h"

namespace stepsize::ptx {

struct Instruction;
struct Warp;

// Executes an instruction for the lanes whose bits are set.
using Execute = void (*)(Warp& warp, const Instruction& instruction, uint32_t lanes);

// The position of a register in a warp's array of 32-bit words; lane 0 comes first. A predicate is one word with a bit
// per lane. Registers of 8 and 16 bits take 32.
struct Register {
  int at = -1;
  uint8_t bytes = 4;  // 8, 4, or 1 for a predicate
  explicit operator bool() const { return at >= 0; }
};

// How the scheduler treats an instruction.
enum class Kind : uint8_t {
  lanes,   // each lane by itself
  memory,  // each lane by itself; other warps may run before it
  branch,
  barrier,  // waits for the block
  warp,     // waits for the lanes in its mask, and executes for all of them at once
  exit,
};

// PTX's rounding modes; those with "to" round to an integer.
enum class Rounding : uint8_t { nearest, zero, down, up, toNearest, toZero, toDown, toUp };

// A decoded instruction.
struct Instruction {
  Execute execute = nullptr;
  Kind kind = Kind::lanes;
  Register guard;
  bool guardIsNegated = false;
  Register to[4], from[10];
  bool negated[4] = {};  // whether the predicates among the first operands are negated
  Register members;      // of a warp instruction: the lanes that take part
  Type type = Type::none, sourceType = Type::none;
  Rounding rounding = Rounding::nearest;
  bool flushes = false, saturates = false;
  int operation = 0, variant = 0;  // further variants of instructions that share `execute`
  uint32_t immediate = 0;
  // Of a memory access:
  Space space = Space::generic;
  int64_t offset = 0;
  int elements = 1;
  bool isStrong = false;  // volatile, relaxed or atomic: no race with another such access
  int target = -1;        // of a branch
  std::string text;
};

// A constant operand.
struct Constant {
  Register at;
  uint64_t value;
};

// A parameter of a kernel.
struct Parameter {
  uint32_t offset, bytes;
};

// The special registers, which are set when a thread starts.
constexpr const char* kSpecialRegisters[] = {
    "%tid.x",   "%tid.y",       "%tid.z",       "%ntid.x",      "%ntid.y",      "%ntid.z",     "%ctaid.x",
    "%ctaid.y", "%ctaid.z",     "%nctaid.x",    "%nctaid.y",    "%nctaid.z",    "%laneid",     "%warpid",
    "WARP_SZ",  "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge", "%lanemask_eq"};
constexpr int kSpecialCount = std::size(kSpecialRegisters);

// A decoded kernel.
struct Kernel {
  std::string name;
  std::vector<Instruction> instructions;
  std::vector<Constant> constants;  // kept in registers like all operands
  std::vector<Parameter> parameters;
  Register special[kSpecialCount];
  int words = 0;                                                 // words of a warp's registers
  uint32_t parameterBytes = 0, sharedBytes = 0, localBytes = 0;  // shared: without dynamic shared memory
  uint32_t maxThreads = 1024;
  bool takesDynamicShared = false;
};

// A declared variable.
struct Variable {
  std::string name;
  uint32_t alignment = 1, bytes = 0;
  Type type = Type::none;
  bool isOpen = false;  // an array without a length
};
// Parses a declaration such as ".align 16 .b8 name[64]".
Variable variableOf(std::string_view declaration);

// A PTX file. A kernel is decoded when it is first requested: files have hundreds of kernels, and a test needs a few.
class Module {
 public:
  explicit Module(std::string text);
  // The kernel of this name; null if there is none.
  const Kernel* kernel(const std::string& name);

  // The names of all kernels.
  std::vector<std::string> names() const;

  // For the kernel parser:
  const std::vector<std::string>& sharedDeclarations() const { return shared_; }
  // The memory of a global variable; null if there is none.
  uint8_t* global(const std::string& name);

 private:
  struct Entry {
    std::string_view head, body;
    std::unique_ptr<Kernel> kernel;
  };
  void addGlobal(std::string_view declaration);

  std::string text_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, std::vector<uint8_t>, std::less<>> globals_;
  std::vector<std::string> shared_;
};

// Whether these bytes belong to variables of modules.
bool isInModule(uint64_t address, uint64_t bytes);

// Parses one kernel of a module.
Kernel parseKernel(const std::string& name, std::string_view head, std::string_view body, Module& module);

}  // namespace stepsize::ptx
