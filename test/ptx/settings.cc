#include "settings.h"

#include <cstdlib>
#include <string>

namespace stepsize::ptx {

namespace {

std::string textFrom(const char* variable) {
  const char* text = getenv(variable);
  return text ? text : "";
}

uint64_t numberFrom(const char* variable, uint64_t otherwise) {
  const std::string text = textFrom(variable);
  return text.empty() ? otherwise : strtoull(text.c_str(), nullptr, 10);
}

Settings fromEnvironment() {
  constexpr std::pair<const char*, Schedule> kSchedules[] = {{"in-order", Schedule::inOrder},
                                                             {"random", Schedule::random},
                                                             {"switching", Schedule::switching},
                                                             {"diverging", Schedule::diverging}};
  Settings chosen;
  const std::string schedule = textFrom("STEPSIZE_PTX_SCHEDULE");
  bool isKnown = schedule.empty();
  for (const auto& [name, value] : kSchedules) {
    if (schedule != name) continue;
    chosen.schedule = value;
    isKnown = true;
  }
  if (!isKnown)
    throw Error("STEPSIZE_PTX_SCHEDULE: expected in-order, random, switching or diverging, got " + schedule);
  chosen.seed = numberFrom("STEPSIZE_PTX_SEED", chosen.seed);
  chosen.checks = numberFrom("STEPSIZE_PTX_CHECKS", 0) != 0;
  chosen.ulps = static_cast<unsigned>(numberFrom("STEPSIZE_PTX_ULPS", 0));
  return chosen;
}

}  // namespace

Settings& settings() {
  static Settings settings = fromEnvironment();
  return settings;
}

}  // namespace stepsize::ptx
