// Kernels as the interpreter runs them: instructions that were decoded once.
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

// Executes an instruction for the lanes of a warp whose bits are set.
using Execute = void (*)(Warp& warp, const Instruction& instruction, uint32_t lanes);

// Where a warp keeps a register: in its array of 32-bit words, those of lane 0 first. A predicate is one word with a
// bit for each lane; registers of 8 and 16 bits take up 32.
struct Register {
  int at = -1;
  uint8_t bytes = 4;  // 8, 4, or 1 for a predicate
  explicit operator bool() const { return at >= 0; }
};

// What the scheduler has to do with an instruction.
enum class Kind : uint8_t {
  lanes,   // each lane by itself
  memory,  // each lane by itself, and other warps may run before it
  branch,
  barrier,  // waits for the block
  warp,     // waits for the lanes that its mask names, and executes for all of them at once
  exit,
};

// As PTX names them; those with "to" convert to an integer in a float or an integer.
enum class Rounding : uint8_t { nearest, zero, down, up, toNearest, toZero, toDown, toUp };

struct Instruction {
  Execute execute = nullptr;
  Kind kind = Kind::lanes;
  Register guard;
  bool guardIsNegated = false;
  Register to[4], from[10];
  bool negated[4] = {};  // predicates among the first operands
  Register members;      // of an instruction of a warp: which lanes take part
  Type type = Type::none, sourceType = Type::none;
  Rounding rounding = Rounding::nearest;
  bool flushes = false, saturates = false;
  int operation = 0, variant = 0;  // what else tells instructions apart that share `execute`
  uint32_t immediate = 0;
  // Of an access to memory:
  Space space = Space::generic;
  int64_t offset = 0;
  int elements = 1;
  bool isStrong = false;  // volatile, relaxed or atomic: no race with another such access
  int target = -1;        // of a branch
  std::string text;
};

struct Constant {
  Register at;
  uint64_t value;
};

struct Parameter {
  uint32_t offset, bytes;
};

// Registers that every thread begins with, in the order of kSpecialRegisters.
constexpr const char* kSpecialRegisters[] = {
    "%tid.x",   "%tid.y",       "%tid.z",       "%ntid.x",      "%ntid.y",      "%ntid.z",     "%ctaid.x",
    "%ctaid.y", "%ctaid.z",     "%nctaid.x",    "%nctaid.y",    "%nctaid.z",    "%laneid",     "%warpid",
    "WARP_SZ",  "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge", "%lanemask_eq"};
constexpr int kSpecialCount = std::size(kSpecialRegisters);

struct Kernel {
  std::string name;
  std::vector<Instruction> instructions;
  std::vector<Constant> constants;  // kept in registers like all operands
  std::vector<Parameter> parameters;
  Register special[kSpecialCount];
  int words = 0;                                                 // of a warp's registers
  uint32_t parameterBytes = 0, sharedBytes = 0, localBytes = 0;  // shared without what a launch adds
  uint32_t mostThreads = 1024;
  bool takesDynamicShared = false;
};

struct Variable {
  std::string name;
  uint32_t alignment = 1, bytes = 0;
  Type type = Type::none;
  bool isOpen = false;  // an array of no stated length
};
// From ".align 16 .b8 name[64]" and the like.
Variable variableOf(std::string_view declaration);

// A file of PTX. A kernel is decoded when it is first asked for: files have hundreds, a test needs a few.
class Module {
 public:
  explicit Module(std::string text);
  // Null where it has none of this name.
  const Kernel* kernel(const std::string& name);

  std::vector<std::string> names() const;

  // What the parser of a kernel needs.
  const std::vector<std::string>& sharedDeclarations() const { return shared_; }
  // Null where there is no such variable.
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

// Whether variables of modules lie there.
bool isInModule(uint64_t address, uint64_t bytes);

Kernel parseKernel(const std::string& name, std::string_view head, std::string_view body, Module& module);

}  // namespace stepsize::ptx
