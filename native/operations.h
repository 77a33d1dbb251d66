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
#include "tensor_spec.h"

namespace stepsize {

enum class AttributeKind : uint8_t { integer, number, flag, dataType };

struct Attribute {
  const char* name;
  AttributeKind kind;
  double least;
  double most;
  bool required = true;
  double otherwise = 0;
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

// What a rule sees (inputs and attributes) and says (outputs, and which inputs are written in place).
class Call {
 public:
  Call(const Operation& operation, std::vector<TensorSpec> inputs, const double* attributes)
      : operation_(operation), inputs_(std::move(inputs)), attributes_(attributes) {}

  int count() const { return static_cast<int>(inputs_.size()); }
  const TensorSpec& input(int index) const { return inputs_[static_cast<size_t>(index)]; }
  int64_t integer(int attribute) const { return static_cast<int64_t>(attributes_[attribute]); }
  double number(int attribute) const { return attributes_[attribute]; }

  // Throws a CallError that names the operation and the shapes it was called with, unless `holds`.
  void expect(bool holds, const std::string& message) const {
    if (!holds) fail(message);
  }
  [[noreturn]] void fail(const std::string& message) const;
  void expectType(int input, DataType type) const;
  void expectRank(int input, int rank) const;
  void expectShape(int input, const Shape& shape) const;

  void output(DataType type, const Shape& shape);
  void writes(int input) { written.push_back(input); }

  std::vector<TensorSpec> outputs;
  std::vector<int> written;

 private:
  const Operation& operation_;
  std::vector<TensorSpec> inputs_;
  const double* attributes_;
};

struct Operation {
  OperationId id;
  const char* name;
  int inputs;  // how many tensors; kAnyNumber where the rule counts them itself
  const char* inputNames;
  void (*rule)(Call&);
  std::vector<Attribute> attributes;
};
constexpr int kAnyNumber = -1;

const Operation& operation(OperationId id);
const char* nameOf(DataType type);
std::string describe(const Shape& shape);
std::string describe(const TensorSpec& spec);
// The operation's name with the shapes of its tensors, as errors show it: matmul(float32[2,3], float32[4,5]).
std::string describe(const Operation& operation, const std::vector<TensorSpec>& inputs);

}  // namespace stepsize
