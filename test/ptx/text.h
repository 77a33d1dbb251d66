// Helpers for the text of PTX.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace stepsize::ptx {

// The text without leading and trailing white space.
std::string_view trim(std::string_view text);
// The parts between separators.
std::vector<std::string_view> split(std::string_view text, char separator);
// Splits at commas outside brackets.
std::vector<std::string_view> splitOperands(std::string_view text);
// The value of an integer, or the bits of a float as PTX writes it (0f3F800000).
uint64_t numberOf(std::string_view text);

}  // namespace stepsize::ptx
