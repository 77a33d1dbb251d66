// How a kernel reports that the data made its operation fail: it adds to a log in device memory, and the work goes on.
// journal.h says what the host makes of it.
#pragma once

namespace stepsize::cuda {

// Which sentence tells it; see fault_texts.h.
enum class FaultKind : int { label, id, index };

struct Fault {
  int kind;  // a FaultKind
  int source, run;
  long long numbers[3];  // in the sentence
};

constexpr int kMostFaults = 128;

// Launches follow one another, so that faults stand in their order: one for each that reports any.
struct FaultLog {
  unsigned long long latest;  // source and run of the last one
  int count;                  // also of those that found no room
  int run;                    // the number of the replay that is under way; see Journal
  Fault faults[kMostFaults];
};

// What a kernel is given to report with.
struct FaultReport {
  FaultLog* log;
  int source;  // the number under which the host knows the record, never 0
};

}  // namespace stepsize::cuda
