// Prints what control groups grant in a file system of files: available_resources_program <root>
#include <cstdio>

#include "../../../native/cpu/available_resources.h"

int main(int, char** arguments) {
  using namespace stepsize::cpu;
  std::printf("{\"cpus\": \"%g\", \"memory\": \"%g\"}\n", grantedCpus(arguments[1]), grantedMemory(arguments[1]));
}
