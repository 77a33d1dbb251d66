// The contract between the binding and the backends: the table of operations.
//
// An operation is a name, its tensors and its attributes. Its rule checks them at the call, on the caller's thread, and
// says what comes out; a backend then runs it in stream order. To add one: an enumerator here, a rule in rules.cc, a
// line in operations.cc, a kernel per backend, and a gradient in lib/tensor/.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "operations_attributes.h"
#include "tensor_list.h"
#include "tensor_spec.h"

namespace stepsize {

// A choice is one of several names, and its value that name's place among them.
enum class AttributeKind : uint8_t { integer, number, flag, choice };

struct Attribute {
  const char* name;
  AttributeKind kind;
  double least;
  double most;
  bool required = true;
  double otherwise = 0;
  const char* const* choices = nullptr;  // most + 1 names
};

constexpr int kMaxAttributes = 6;

// A tensor of more elements than this cannot be meant, and products of sizes stay far from overflowing.
constexpr double kMostElements = 1e12;
// Counts an axis without elements as one: the other axes are multiplied too, somewhere.
bool fits(const Shape& shape);

// A call that its rule refuses. The binding turns it into the error that JavaScript sees.
struct CallError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Operation;

// The most tensors of a call, and lists: as many as Writes has bits for.
constexpr uint32_t kMostOperands = 32;

// What a record writes in place, as bits: of its inputs and of its lists.
struct Writes {
  uint32_t inputs = 0;
  uint32_t overwritten = 0;  // of these inputs: as a whole, whatever was there
  uint32_t lists = 0;
  uint32_t zeroed = 0;  // of these lists: zeros in the end, whatever was there
};

// What a rule sees (inputs, lists and attributes) and says (outputs, and what is written in place).
class Call {
 public:
  Call(const Operation& operation, std::vector<TensorSpec> inputs, const Lists& lists, const double* attributes)
      : operation_(operation), inputs_(std::move(inputs)), lists_(lists), attributes_(attributes) {}

  int count() const { return static_cast<int>(inputs_.size()); }
  const TensorSpec& input(int index) const { return inputs_[static_cast<size_t>(index)]; }
  int listCount() const { return static_cast<int>(lists_.size()); }
  const TensorList& list(int index) const { return *lists_[static_cast<size_t>(index)]; }
  int64_t integer(int attribute) const { return static_cast<int64_t>(attributes_[attribute]); }
  double number(int attribute) const { return attributes_[attribute]; }

  // Throws a CallError that names the operation and the shapes it was called with, unless `holds`.
  void expect(bool holds, const std::string& message) const {
    if (!holds) fail(message);
  }
  [[noreturn]] void fail(const std::string& message) const;
  void expectType(int input, DataType type) const;
  // float32 or bfloat16; returns which.
  DataType expectFloat(int input) const;
  void expectRank(int input, int rank) const;
  void expectShape(int input, const Shape& shape) const;

  void output(DataType type, const Shape& shape);
  // Changes the input.
  void updates(int input) { writes.inputs |= 1u << input; }
  // Replaces the input, without a look at what was there.
  void overwrites(int input) {
    updates(input);
    writes.overwritten |= 1u << input;
  }
  void updatesList(int list) { writes.lists |= 1u << list; }
  void zeroesList(int list) {
    updatesList(list);
    writes.zeroed |= 1u << list;
  }

  std::vector<TensorSpec> outputs;
  Writes writes;

 private:
  const Operation& operation_;
  std::vector<TensorSpec> inputs_;
  const Lists& lists_;
  const double* attributes_;
};

struct Operation {
  OperationId id;
  const char* name;
  int inputs;  // how many tensors; kAnyNumber where the rule counts them itself
  const char* inputNames;
  void (*rule)(Call&);
  std::vector<Attribute> attributes;
  int lists = 0;  // how many lists of tensors, likewise
  const char* listNames = "";
};
constexpr int kAnyNumber = -1;

const Operation& operation(OperationId id);
const char* const* dataTypeNames();
const char* nameOf(DataType type);
std::string describe(const Shape& shape);
std::string describe(const TensorSpec& spec);
// The operation's name with the shapes of its tensors, as errors show it: matmul(float32[2,3], float32[4,5]).
std::string describe(const Operation& operation, const std::vector<TensorSpec>& inputs, const Lists& lists);

}  // namespace stepsize
