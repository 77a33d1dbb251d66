// The contract between the binding and the backends: the table of operations.
//
// An operation has a name, tensors, lists of tensors, and attributes. Its shape rule checks them on the caller's thread
// and determines the outputs. A backend then runs the operation in stream order.
//
// operations.def is the table. CONTRIBUTING.md lists the steps for a new operation.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "operations_attributes.h"
#include "tensor_list.h"
#include "tensor_spec.h"

namespace stepsize {

// The kinds of attributes. The value of a choice is the index of the chosen name.
enum class AttributeKind : uint8_t { integer, number, flag, choice };

// What values an attribute may have.
struct AttributeType {
  AttributeKind kind;
  double min;
  double max;
  bool required = true;
  double otherwise = 0;                  // the value of an attribute that is not required and not given
  const char* const* choices = nullptr;  // max + 1 names, for a choice

  // The same type with a default.
  AttributeType orElse(double value) const { return {kind, min, max, false, value, choices}; }
};

// An attribute of an operation.
struct Attribute : AttributeType {
  Attribute(const char* attributeName, const AttributeType& type) : AttributeType(type), name(attributeName) {}
  const char* name;
};

// The most attributes of an operation.
constexpr int kMaxAttributes = 6;

// The most elements of a tensor. The limit is far above any real tensor, and keeps products of sizes far from overflow.
constexpr double kMaxElements = 1e12;
// Whether a tensor of this shape has at most kMaxElements elements. An axis of size 0 counts as 1, because other code
// multiplies the remaining sizes.
bool fits(const Shape& shape);

// A call that its shape rule refuses. The binding turns it into an error in JavaScript.
struct CallError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Operation;

// The most tensors, and the most lists, of a call: the number of bits in each field of Writes.
constexpr uint32_t kMaxOperands = 32;

// The inputs and lists that a record writes in place, as bit masks by position.
struct Writes {
  uint32_t inputs = 0;
  uint32_t overwritten = 0;  // the inputs that are written as a whole and not read
  uint32_t lists = 0;
  uint32_t zeroed = 0;  // the lists that are all zeros afterwards, whatever they held before
};

// What a shape rule reads (inputs, lists, attributes) and what it sets (outputs and in-place writes).
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

  // Throws a CallError with the operation's name, the shapes of its inputs and this message, unless `holds`.
  void expect(bool holds, const std::string& message) const {
    if (!holds) fail(message);
  }
  // Throws that CallError.
  [[noreturn]] void fail(const std::string& message) const;
  // Fails unless this input has this type.
  void expectType(int input, DataType type) const;
  // Fails unless this input is float32 or bfloat16; returns its type.
  DataType expectFloat(int input) const;
  // Fails unless this input has this many axes.
  void expectRank(int input, int rank) const;
  // Fails unless this input has this shape.
  void expectShape(int input, const Shape& shape) const;

  // Adds an output.
  void output(DataType type, const Shape& shape);
  // Declares that the operation reads and changes an input.
  void updates(int input) { writes.inputs |= 1u << input; }
  // Declares that the operation writes an input as a whole without reading it.
  void overwrites(int input) {
    updates(input);
    writes.overwritten |= 1u << input;
  }
  // Declares that the operation changes the tensors of a list.
  void updatesList(int list) { writes.lists |= 1u << list; }
  // Declares that the operation leaves the tensors of a list all zero.
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

// An entry of the table of operations, in the order of operations.def.
struct Operation {
  OperationId id;
  const char* name;
  int inputs;  // how many tensors; kAnyNumber if the rule counts them
  const char* inputNames;
  void (*shapeRule)(Call&);
  std::vector<Attribute> attributes;
  int lists;  // how many lists of tensors; kAnyNumber if the rule counts them
  const char* listNames;
};
constexpr int kAnyNumber = -1;

// The entry of an operation in the table.
const Operation& operation(OperationId id);
// The names of the data types, in the order of DataType.
const char* const* dataTypeNames();
// The name of a data type.
const char* nameOf(DataType type);
// A shape as text: [2,3].
std::string describe(const Shape& shape);
// A type and shape as text: float32[2,3].
std::string describe(const TensorSpec& spec);
// The operation's name and the shapes of its tensors, for error messages: matmul(float32[2,3], float32[4,5]).
std::string describe(const Operation& operation, const std::vector<TensorSpec>& inputs, const Lists& lists);

}  // namespace stepsize
