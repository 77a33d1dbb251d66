// What this process may use of the machine: less than there is inside control groups, which containers and batch
// systems are made of.
#pragma once

#include <cstdint>
#include <string>

namespace stepsize::cpu {

// How many threads this process may keep busy: the affinity mask or the control groups' quota, whichever is less.
int availableThreads();

// Bytes that neither the machine nor the control groups have given away; -1 if that is not known.
int64_t availableMemory();

// CPUs' worth of time that the control groups of this process grant, or infinity. A group has at most what each group
// around it has, so the least on the way to the root counts. Versions 1 and 2.
//
// `root` stands before every path that is read: a test gives a folder with files of its own.
double grantedCpus(const std::string& root = "");

// Bytes of memory that the control groups of this process have not used up, or infinity; like grantedCpus.
double grantedMemory(const std::string& root = "");

}  // namespace stepsize::cpu
