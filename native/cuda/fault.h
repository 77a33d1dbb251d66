// The log in device memory to which a kernel reports that the data made its operation fail; the work goes on. journal.h
// says how the host uses the log.
#pragma once

namespace stepsize::cuda {

// The message of a fault; see fault_texts.h.
enum class FaultKind : int { label, id, index };

// One reported fault.
struct Fault {
  int kind;  // a FaultKind
  int source, run;
  long long numbers[3];  // the numbers in the message
};

// The faults that the log has room for.
constexpr int kMaxFaults = 128;

// The log holds one fault for each launch that reports any. Launches run one after another, so faults are in launch
// order.
struct FaultLog {
  unsigned long long latest;  // source and run of the last fault
  int count;                  // counts also the faults that found no room
  int run;                    // the number of the current replay; see Journal
  Fault faults[kMaxFaults];
};

// The argument with which a kernel reports faults.
struct FaultReport {
  FaultLog* log;
  int source;  // the number that the host gave the record, never 0
};

}  // namespace stepsize::cuda
