// The CPUs and memory that this process may use. Inside control groups, of which containers and batch systems are made,
// this is less than the machine has.
#pragma once

#include <sched.h>

#include <cstdint>
#include <string>

namespace stepsize::cpu {

// The number of threads that this process may keep busy: the affinity mask or the quota of the control groups,
// whichever is less.
int availableThreads();

// The number of CPUs in this process's affinity mask, on machines of any size; 1 if it cannot be read. `read` is the
// system call, so that a test can provide its own.
int affinityCpus(int (*read)(pid_t, size_t, cpu_set_t*) = sched_getaffinity);

// The bytes that are free on the machine and within the limits of the control groups; -1 if unknown.
int64_t availableMemory();

// The CPU time per wall time that the control groups of this process grant, or infinity. A group has at most what each
// enclosing group has, so the least value on the way to the root counts. Supports versions 1 and 2.
//
// `root` is prepended to every path that is read, so that a test can provide its own files.
double grantedCpus(const std::string& root = "");

// The bytes of memory that the control groups of this process have not used up, or infinity. `root` as in
// grantedCpus().
double grantedMemory(const std::string& root = "");

}  // namespace stepsize::cpu
