#include "available_resources.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

namespace stepsize::cpu {

namespace {

// Far more than Linux can be built for.
constexpr int kMostCpus = 1 << 20;

enum class Version { kOne, kTwo };

// A mounted hierarchy of control groups that governs the requested resource.
struct Mount {
  Version version;
  // The group at the mount point; in a container this is often the container's own group.
  std::string group;
  std::string point;
};

// The folder with the files of one group.
struct Group {
  Version version;
  std::string folder;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Undoes the kernel's octal escapes in paths, such as \040 for a space.
std::string unescaped(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); i++) {
    const bool isEscape = text[i] == '\\' && i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3';
    if (isEscape) {
      result += static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

// The mounted hierarchies with this controller, from lines like
//   31 30 0:28 /docker/ab /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
std::vector<Mount> mountsOf(const std::string& root, const std::string& controller) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 5 || fields.end() - dash < 2) continue;
    const std::string& type = dash[1];
    const std::string group = unescaped(fields[3]), point = unescaped(fields[4]);
    if (type == "cgroup2") mounts.push_back({Version::kTwo, group, point});
    const bool governs = type == "cgroup" && fields.end() - dash >= 4 && contains(split(dash[3], ','), controller);
    if (governs) mounts.push_back({Version::kOne, group, point});
  }
  return mounts;
}

// The path of this process's group, from a line like 4:cpu,cpuacct:/user.slice, or 0::/user.slice for version 2.
std::optional<std::string> groupOf(const std::string& root, Version version, const std::string& controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool matches = version == Version::kTwo ? controllers.empty() : contains(split(controllers, ','), controller);
    if (matches) return line.substr(second + 1);
  }
  return std::nullopt;
}

// The path of a group relative to the mount point: empty for the mounted group itself, nullopt for a group that is not
// below it.
std::optional<std::string> placeIn(const Mount& mount, const std::string& group) {
  const std::string above = mount.group == "/" ? "" : mount.group;
  // A path that leads out of a namespace cannot be followed inside it.
  if (group.find("/..") != std::string::npos || group.compare(0, above.size(), above) != 0) return std::nullopt;
  const std::string below = group.substr(above.size());
  if (!below.empty() && below[0] != '/') return std::nullopt;
  return below == "/" ? "" : below;
}

// The groups of this process, from its own to the outermost visible one.
std::vector<Group> groupsOf(const std::string& root, const std::string& controller) {
  std::vector<Group> groups;
  for (const Mount& mount : mountsOf(root, controller)) {
    const std::string group = groupOf(root, mount.version, controller).value_or("/");
    const std::string top = root + mount.point;
    std::string place = placeIn(mount, group).value_or("");
    for (;;) {
      groups.push_back({mount.version, top + place});
      if (place.empty()) break;
      place.erase(place.rfind('/'));
    }
  }
  return groups;
}

// One of the numbers in a file. A missing file, and a word that is not a number, such as max, count as infinity.
double numberIn(const std::string& path, int place = 0) {
  std::ifstream file(path);
  std::string word;
  for (int i = 0; i <= place; i++)
    if (!(file >> word)) return INFINITY;
  char* end = nullptr;
  const double value = std::strtod(word.c_str(), &end);
  return end == word.c_str() ? INFINITY : value;
}

}  // namespace

double grantedCpus(const std::string& root) {
  double least = INFINITY;
  for (const auto& [version, folder] : groupsOf(root, "cpu")) {
    const bool isTwo = version == Version::kTwo;
    const double quota = numberIn(folder + (isTwo ? "/cpu.max" : "/cpu.cfs_quota_us"));
    const double period = isTwo ? numberIn(folder + "/cpu.max", 1) : numberIn(folder + "/cpu.cfs_period_us");
    // Version 1 writes -1 for no limit.
    if (quota > 0 && period > 0 && std::isfinite(period)) least = std::min(least, quota / period);
  }
  return least;
}

double grantedMemory(const std::string& root) {
  double least = INFINITY;
  for (const auto& [version, folder] : groupsOf(root, "memory")) {
    const bool isTwo = version == Version::kTwo;
    const double limit = numberIn(folder + (isTwo ? "/memory.max" : "/memory.limit_in_bytes"));
    const double used = numberIn(folder + (isTwo ? "/memory.current" : "/memory.usage_in_bytes"));
    if (limit >= 0 && std::isfinite(used)) least = std::min(least, std::max(0.0, limit - used));
  }
  return least;
}

int affinityCpus(int (*read)(pid_t, size_t, cpu_set_t*)) {
  // The kernel refuses a set without room for every CPU that the machine may have, and does not say how many these are.
  for (int room = CPU_SETSIZE; room <= kMostCpus; room *= 2) {
    cpu_set_t* set = CPU_ALLOC(room);
    if (set == nullptr) return 1;
    const size_t bytes = CPU_ALLOC_SIZE(room);
    CPU_ZERO_S(bytes, set);
    const bool isRead = read(0, bytes, set) == 0;
    const bool isTooSmall = !isRead && errno == EINVAL;
    const int cpus = isRead ? CPU_COUNT_S(bytes, set) : 1;
    CPU_FREE(set);
    if (!isTooSmall) return cpus;
  }
  return 1;
}

int availableThreads() {
  return static_cast<int>(std::max(1.0, std::min<double>(affinityCpus(), std::floor(grantedCpus() + 0.5))));
}

int64_t availableMemory() {
  const int64_t pages = sysconf(_SC_AVPHYS_PAGES);
  if (pages < 0) return -1;
  return static_cast<int64_t>(std::min(static_cast<double>(pages) * sysconf(_SC_PAGESIZE), grantedMemory()));
}

}  // namespace stepsize::cpu
