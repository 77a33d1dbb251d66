#include "text.h"

#include <cstdlib>

namespace stepsize::ptx {

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string_view> splitOperands(std::string_view text) {
  std::vector<std::string_view> operands;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (c == '{' || c == '[' || c == '(') depth++;
    if (c == '}' || c == ']' || c == ')') depth--;
    if (c != ',' || depth > 0) continue;
    operands.push_back(trim(text.substr(begin, i - begin)));
    begin = i + 1;
  }
  if (const auto last = trim(text.substr(begin)); !last.empty()) operands.push_back(last);
  return operands;
}

uint64_t numberOf(std::string_view text) {
  const std::string digits(text);
  const bool isBits =
      text.size() > 2 && text[0] == '0' && std::string_view("fFdD").find(text[1]) != std::string_view::npos;
  if (isBits) return strtoull(digits.c_str() + 2, nullptr, 16);
  const bool isNegative = !text.empty() && text[0] == '-';
  const uint64_t value = strtoull(digits.c_str() + (isNegative ? 1 : 0), nullptr, 0);
  return isNegative ? 0 - value : value;
}

}  // namespace stepsize::ptx
