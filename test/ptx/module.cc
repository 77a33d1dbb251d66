// Finds the kernels and variables of a PTX file.
#include <algorithm>
#include <cstring>

#include "program.h"
#include "text.h"

namespace stepsize::ptx {

namespace {

struct Range {
  uint64_t begin, end;
};
// The ranges of the variables of all modules, which live as long as the process.
std::vector<Range>& moduleRanges() {
  static auto& ranges = *new std::vector<Range>;
  return ranges;
}

std::string withoutComments(const std::string& text) {
  std::string kept;
  kept.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    if (text.compare(i, 2, "//") == 0) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.compare(i, 2, "/*") == 0) {
      i = std::min(text.find("*/", i) + 2, text.size());
    } else {
      kept += text[i] == '\t' ? ' ' : text[i];
      i++;
    }
  }
  return kept;
}

// The position after the brace that closes the one at `open`.
size_t endOfBraces(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); i++) {
    if (text[i] == '{') depth++;
    if (text[i] == '}' && --depth == 0) return i + 1;
  }
  throw Error("PTX: a brace that is not closed");
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

bool isInModule(uint64_t address, uint64_t bytes) {
  return std::any_of(moduleRanges().begin(), moduleRanges().end(),
                     [&](const Range& range) { return address >= range.begin && address + bytes <= range.end; });
}

Variable variableOf(std::string_view declaration) {
  Variable variable;
  std::string name;
  const auto words = split(declaration, ' ');
  for (size_t i = 0; i < words.size(); i++) {
    const std::string_view word = trim(words[i]);
    if (word.empty()) continue;
    if (word == ".align") {
      variable.alignment = static_cast<uint32_t>(numberOf(words[++i]));
    } else if (word[0] == '.') {
      if (const Type type = typeNamed(word.substr(1)); type != Type::none) variable.type = type;
    } else {
      name += word;
    }
  }
  uint64_t count = 1;
  if (const size_t bracket = name.find('['); bracket != std::string::npos) {
    variable.isOpen = name[bracket + 1] == ']';
    count = variable.isOpen ? 0 : numberOf(name.substr(bracket + 1));
    name.resize(bracket);
  }
  const auto size = static_cast<uint32_t>(bytesOf(variable.type));
  variable.name = name;
  variable.bytes = static_cast<uint32_t>(count) * size;
  variable.alignment = std::max(variable.alignment, size);
  return variable;
}

Module::Module(std::string text) : text_(withoutComments(text)) {
  const std::string_view all = text_;
  for (size_t i = all.find_first_not_of(" \n\r"); i < all.size(); i = all.find_first_not_of(" \n\r", i)) {
    const auto startsWith = [&](std::string_view word) { return all.compare(i, word.size(), word) == 0; };
    if (startsWith(".version") || startsWith(".target") || startsWith(".address_size")) {
      i = std::min(all.find('\n', i), all.size());
      continue;
    }
    const size_t semicolon = all.find(';', i), brace = all.find('{', i);
    const std::string_view head = all.substr(i, std::min(semicolon, brace) - i);
    if (has(head, ".func")) throw Error("PTX: device functions are not interpreted: " + std::string(trim(head)));
    if (has(head, ".entry")) {
      const size_t end = endOfBraces(all, brace), name = head.find(".entry") + 6;
      const std::string_view named = trim(head.substr(name, head.find('(') - name));
      entries_[std::string(named)] = {head, all.substr(brace + 1, end - brace - 2), nullptr};
      i = end;
      continue;
    }
    const std::string_view declaration = trim(all.substr(i, semicolon - i));
    if (has(head, ".shared")) shared_.emplace_back(declaration);
    if (has(head, ".global") || has(head, ".const")) addGlobal(declaration);
    i = semicolon + 1;
  }
}

void Module::addGlobal(std::string_view declaration) {
  const size_t equals = declaration.find('=');
  const Variable variable = variableOf(trim(declaration.substr(0, equals)));
  std::vector<uint8_t>& bytes = globals_[variable.name];
  bytes.assign(variable.bytes + size_t{16}, 0);
  if (equals != std::string_view::npos) {
    std::string_view values = trim(declaration.substr(equals + 1));
    if (values[0] == '{') values = values.substr(1, values.size() - 2);
    const auto size = static_cast<size_t>(bytesOf(variable.type));
    size_t at = 0;
    for (const std::string_view value : split(values, ',')) {
      const uint64_t number = numberOf(trim(value));
      std::memcpy(bytes.data() + at, &number, size);
      at += size;
    }
  }
  const auto begin = reinterpret_cast<uint64_t>(bytes.data());
  moduleRanges().push_back({begin, begin + variable.bytes});
}

std::vector<std::string> Module::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

uint8_t* Module::global(const std::string& name) {
  const auto found = globals_.find(name);
  return found == globals_.end() ? nullptr : found->second.data();
}

const Kernel* Module::kernel(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  Entry& entry = found->second;
  if (!entry.kernel) entry.kernel = std::make_unique<Kernel>(parseKernel(name, entry.head, entry.body, *this));
  return entry.kernel.get();
}

}  // namespace stepsize::ptx
