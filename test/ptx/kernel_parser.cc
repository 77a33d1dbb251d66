#include "kernel_parser.h"

#include <algorithm>
#include <cctype>

#include "text.h"

namespace stepsize::ptx {

namespace {

constexpr uint32_t roundUp(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

bool startsWith(std::string_view text, std::string_view word) { return text.substr(0, word.size()) == word; }

uint8_t widthOf(Type type) {
  if (type == Type::predicate) return 1;
  return bytesOf(type) == 8 ? 8 : 4;
}

// Splits a body into statements without semicolons, braces that open and close a scope, and labels with their colons.
// Braces inside a statement belong to a vector.
std::vector<std::string> statementsOf(std::string_view body) {
  std::vector<std::string> statements;
  std::string current;
  int vector = 0;
  const auto finish = [&] {
    if (const auto text = trim(current); !text.empty()) statements.emplace_back(text);
    current.clear();
  };
  for (const char c : body) {
    const bool inStatement = !trim(current).empty();
    if (c == '{' && inStatement) vector++;
    const bool isScope = (c == '{' || c == '}') && vector == 0;
    if (c == '}' && vector > 0) vector--;
    if (isScope) {
      finish();
      statements.emplace_back(1, c);
    } else if (c == ';') {
      finish();
    } else if (c == ':' && startsWith(trim(current), "$") && current.find_first_of("{[") == std::string::npos) {
      current += c;
      finish();
    } else {
      current += c == '\n' ? ' ' : c;
    }
  }
  return statements;
}

}  // namespace

Kernel parseKernel(const std::string& name, std::string_view head, std::string_view body, Module& module) {
  return KernelParser(name, module).parse(head, body);
}

Kernel KernelParser::parse(std::string_view head, std::string_view body) {
  if (const size_t open = head.find('('); open != std::string_view::npos)
    declareParameters(head.substr(open + 1, head.find(')', open) - open - 1));
  if (const size_t position = head.find(".maxntid"); position != std::string_view::npos)
    kernel_.maxThreads = static_cast<uint32_t>(numberOf(trim(split(head.substr(position + 8), ',')[0])));
  const std::vector<std::string> statements = statementsOf(body);
  declareShared(body, statements);
  for (const std::string& statement : statements)
    if (startsWith(statement, ".local")) place(variableOf(statement), kernel_.localBytes);
  for (const std::string& statement : statements) {
    if (statement == "{") {
      scopes_.emplace_back();
    } else if (statement == "}") {
      scopes_.pop_back();
    } else if (statement.back() == ':') {
      labels_[statement.substr(0, statement.size() - 1)] = static_cast<int>(kernel_.instructions.size());
    } else if (startsWith(statement, ".reg")) {
      declareRegisters(trim(std::string_view(statement).substr(4)));
    } else if (statement[0] != '.') {
      addInstruction(statement);
    }
  }
  resolveBranches();
  addInstruction("exit");
  kernel_.words = static_cast<int>(roundUp(static_cast<uint32_t>(kernel_.words), 16));
  return std::move(kernel_);
}

void KernelParser::declareParameters(std::string_view list) {
  for (const std::string_view text : split(list, ',')) {
    const std::string_view declaration = trim(text);
    if (declaration.empty()) continue;
    Variable variable;
    if (declaration.find(".ptr") != std::string_view::npos) {
      // A pointer parameter also states the alignment of its target.
      variable.name = std::string(split(declaration, ' ').back());
      variable.bytes = variable.alignment = 8;
    } else {
      variable = variableOf(declaration);
    }
    const uint32_t offset = roundUp(kernel_.parameterBytes, variable.alignment);
    kernel_.parameters.push_back({offset, variable.bytes});
    addresses_[variable.name] = offset;
    kernel_.parameterBytes = offset + variable.bytes;
  }
}

void KernelParser::place(const Variable& variable, uint32_t& end) {
  if (addresses_.count(variable.name) != 0) return;
  end = roundUp(end, variable.alignment);
  addresses_[variable.name] = end;
  end += variable.bytes;
}

// First the variables of the file that the kernel mentions, then the kernel's variables, then dynamic shared memory.
void KernelParser::declareShared(std::string_view body, const std::vector<std::string>& statements) {
  std::string dynamic;
  for (const std::string& declaration : module_.sharedDeclarations()) {
    const Variable variable = variableOf(declaration);
    if (body.find(variable.name) == std::string_view::npos) continue;
    if (variable.isOpen || startsWith(declaration, ".extern"))
      dynamic = variable.name;
    else
      place(variable, kernel_.sharedBytes);
  }
  for (const std::string& statement : statements)
    if (startsWith(statement, ".shared")) place(variableOf(statement), kernel_.sharedBytes);
  if (dynamic.empty()) return;
  kernel_.sharedBytes = roundUp(kernel_.sharedBytes, 128);
  addresses_[dynamic] = kernel_.sharedBytes;
  kernel_.takesDynamicShared = true;
}

// Declares registers: ".f32 %f<12>" or ".b32 low, high".
void KernelParser::declareRegisters(std::string_view declaration) {
  const size_t space = declaration.find(' ');
  const uint8_t bytes = widthOf(typeNamed(declaration.substr(1, space - 1)));
  for (const std::string_view text : split(declaration.substr(space), ',')) {
    const std::string_view name = trim(text);
    const size_t bracket = name.find('<');
    const std::string stem(name.substr(0, bracket));
    if (bracket == std::string_view::npos) {
      scopes_.back()[stem] = newRegister(bytes);
      continue;
    }
    const uint64_t count = numberOf(name.substr(bracket + 1));
    for (uint64_t i = 0; i < count; i++) scopes_.back()[stem + std::to_string(i)] = newRegister(bytes);
  }
}

Register KernelParser::newRegister(uint8_t bytes) {
  if (bytes == 8) kernel_.words = (kernel_.words + 1) & ~1;
  const Register made{kernel_.words, bytes};
  kernel_.words += bytes == 8 ? 64 : bytes == 4 ? 32 : 1;
  return made;
}

Register KernelParser::constant(uint64_t value, uint8_t bytes) {
  if (bytes == 4) value = static_cast<uint32_t>(value);
  Register& known = constants_[{value, bytes}];
  if (known) return known;
  known = newRegister(bytes);
  kernel_.constants.push_back({known, value});
  return known;
}

Register KernelParser::operand(std::string_view text, Type type) {
  if (text == "_") return {};
  const std::string name(text);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
    if (const auto found = scope->find(name); found != scope->end()) return found->second;
  for (int i = 0; i < kSpecialCount; i++) {
    if (name != kSpecialRegisters[i]) continue;
    if (!kernel_.special[i]) kernel_.special[i] = newRegister(4);
    return kernel_.special[i];
  }
  if (isdigit(static_cast<unsigned char>(name[0])) != 0 || name[0] == '-')
    return constant(numberOf(name), widthOf(type));
  if (const auto found = addresses_.find(name); found != addresses_.end())
    return constant(found->second, widthOf(type == Type::none ? Type::b64 : type));
  if (const uint8_t* global = module_.global(name)) return constant(reinterpret_cast<uint64_t>(global), 8);
  throw Error("PTX: unknown operand " + name + " in " + kernel_.name);
}

void KernelParser::addInstruction(const std::string& statement) {
  std::string_view text = statement;
  Register guard;
  bool isNegated = false;
  if (text[0] == '@') {
    const size_t space = text.find(' ');
    std::string_view name = text.substr(1, space - 1);
    isNegated = name[0] == '!';
    if (isNegated) name.remove_prefix(1);
    guard = operand(name, Type::predicate);
    text = trim(text.substr(space));
  }
  std::string target;
  Instruction instruction = decode(*this, text, target);
  instruction.guard = guard;
  instruction.guardIsNegated = isNegated;
  instruction.text = statement;
  if (!target.empty()) branches_.emplace_back(kernel_.instructions.size(), target);
  kernel_.instructions.push_back(std::move(instruction));
}

void KernelParser::resolveBranches() {
  for (const auto& [at, label] : branches_) {
    const auto found = labels_.find(label);
    if (found == labels_.end()) throw Error("PTX: no label " + label + " in " + kernel_.name);
    kernel_.instructions[at].target = found->second;
  }
}

}  // namespace stepsize::ptx
