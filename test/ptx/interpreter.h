// Runs kernels from PTX files instead of the functions that a launch names. If the interpreter is linked in, the
// emulator's launch calls it.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "shadow_memory.h"

namespace stepsize::ptx {

// The lock that is held while a kernel runs and while the state of memory changes.
std::unique_lock<std::mutex> lockMachine();

// The ranges in which this thread's launches may access memory that holds tensors; if empty, they may access all of it.
void restrictLaunches(std::vector<AddressRange> tensors);

// Loads a PTX file. Its kernels are decoded when they are launched.
void loadModule(const std::string& file);
// Decodes all kernels of a file and returns how many there are. Throws for instructions that the interpreter does not
// know.
size_t decodeAll(const std::string& file);

}  // namespace stepsize::ptx
