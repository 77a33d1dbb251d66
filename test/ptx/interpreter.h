// Runs kernels from files of PTX in place of the functions that a launch names: the emulator's launch comes here where
// the interpreter is linked in.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "shadow_memory.h"

namespace stepsize::ptx {

// Held while a kernel runs, and while what is known of memory changes.
std::unique_lock<std::mutex> lockMachine();

// Where this thread's launches may touch memory that holds tensors; everywhere while it is empty.
void restrictLaunches(std::vector<AddressRange> tensors);

// Takes up a file of PTX, whose kernels are decoded when they are launched.
void loadModule(const std::string& file);
// Decodes all kernels of a file, and says how many there are. Throws for what the interpreter does not know.
size_t decodeAll(const std::string& file);

}  // namespace stepsize::ptx
