// Prints what control groups grant in a file system of files, or how many CPUs of a machine the affinity mask has:
//   available_resources_program <root>
//   available_resources_program <CPUs that the machine may have> <CPUs in the mask>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "../../../native/cpu/available_resources.h"

namespace {

int possible, allowed;

// Like the kernel, it refuses a set that is too small for all CPUs. The mask has the last CPUs.
int readAffinity(pid_t, size_t bytes, cpu_set_t* set) {
  errno = EINVAL;
  if (8 * bytes < static_cast<size_t>(possible)) return -1;
  for (int cpu = possible - allowed; cpu < possible; cpu++) CPU_SET_S(cpu, bytes, set);
  return 0;
}

int refuse(pid_t, size_t, cpu_set_t*) {
  errno = EPERM;
  return -1;
}

}  // namespace

int main(int count, char** arguments) {
  using namespace stepsize::cpu;
  if (count == 2) {
    std::printf("{\"cpus\": \"%g\", \"memory\": \"%g\"}\n", grantedCpus(arguments[1]), grantedMemory(arguments[1]));
    return 0;
  }
  possible = std::atoi(arguments[1]);
  allowed = std::atoi(arguments[2]);
  std::printf("%d\n", affinityCpus(possible == 0 ? refuse : readAffinity));
}
