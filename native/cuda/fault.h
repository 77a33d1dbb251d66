// How a kernel tells that the data made an operation fail. The first to do so is kept until the next wait; the work
// goes on.
#pragma once

namespace stepsize::cuda {

// What was wrong: which sentence, and the numbers in it.
enum class FaultKind : int { none, label, id, index };

struct Fault {
  int kind;  // FaultKind; the first thread to change it from none fills in the rest
  int source;
  long long numbers[3];
};

// What a kernel is given to tell it.
struct FaultReport {
  Fault* fault;
  int source;  // the number under which the device knows the call
};

}  // namespace stepsize::cuda
