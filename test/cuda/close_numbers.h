// Inputs for kernel tests, and comparisons of results with sums in double.
#pragma once

#include <cmath>
#include <functional>

#include "../../native/element_types.h"
#include "../emulator/kernel_test.h"

using stepsize::emulator::Buffer;

// Pseudo-random numbers from −1 to 1, the same in every run.
inline std::vector<float> numbers(size_t count, unsigned salt) {
  std::vector<float> values(count);
  unsigned state = salt * 2654435761u + 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
  }
  return values;
}

// The same numbers, rounded to T.
template <class T>
std::vector<T> numbersOf(size_t count, unsigned salt) {
  std::vector<T> values;
  for (const float value : numbers(count, salt)) values.push_back(stepsize::castElement<T>(value));
  return values;
}

template <class T>
double product(T a, T b) {
  return static_cast<double>(stepsize::toFloat(a)) * static_cast<double>(stepsize::toFloat(b));
}

// The tolerance is a few rounding errors of sums of this length. A missing or duplicated part differs by much more.
inline bool isClose(float got, double expected) {
  return std::abs(static_cast<double>(got) - expected) <= 2e-5 * (1 + std::abs(expected));
}

inline void expectAll(Buffer<float>& got, const char* what, const std::function<double(size_t)>& expected) {
  for (size_t i = 0; i < got.size(); i++)
    if (!isClose(got[i], expected(i))) {
      stepsize::emulator::expect(false, std::string(what) + " at " + std::to_string(i), __FILE__, __LINE__);
      return;
    }
}
