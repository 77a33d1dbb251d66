// Pieces of PTX's text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace stepsize::ptx {

std::string_view trim(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);
// At commas that are in no brackets.
std::vector<std::string_view> splitOperands(std::string_view text);
// Integers, and the bits of floats as PTX writes them (0f3F800000).
uint64_t numberOf(std::string_view text);

}  // namespace stepsize::ptx
