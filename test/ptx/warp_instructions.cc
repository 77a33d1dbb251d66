// Instructions that a warp executes together: shuffles, votes and tensor-core instructions.
#include "floats.h"
#include "memory_access.h"
#include "semantics.h"
#include "text.h"

namespace stepsize::ptx {

namespace {

void synchronize(Warp& warp, const Instruction&, uint32_t) { warp.phase++; }

enum class Shuffle { up, down, butterfly, index };

// As the PTX ISA says under shfl.sync: the lower bits of the clamp are the last lane of a segment, the bits above them
// are the bits of a lane that choose the segment.
void shuffle(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint32_t results[kLanes] = {}, valid = 0;
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    const int by = static_cast<int>(bitsOf(warp, i.from[1], lane)) & 31;
    const auto clamp = static_cast<int>(bitsOf(warp, i.from[2], lane));
    const int segment = clamp >> 8 & 31, first = lane & segment, last = first | (clamp & 31 & ~segment);
    int source = 0;
    bool isInside = true;
    switch (static_cast<Shuffle>(i.operation)) {
      case Shuffle::up:
        source = lane - by;
        isInside = source >= last;  // for this mode the clamp is the first lane
        break;
      case Shuffle::down:
        source = lane + by;
        isInside = source <= last;
        break;
      case Shuffle::butterfly:
        source = lane ^ by;
        isInside = source <= last;
        break;
      case Shuffle::index:
        source = first | (by & ~segment);
        isInside = source <= last;
        break;
    }
    if (!isInside) source = lane;
    if (!(lanes >> source & 1)) fail(warp, "a shuffle from lane " + std::to_string(source) + ", which takes no part");
    results[lane] = static_cast<uint32_t>(bitsOf(warp, i.from[0], source));
    valid |= static_cast<uint32_t>(isInside) << lane;
  }
  forLanes(lanes, [&](int lane) { setBits(warp, i.to[0], lane, results[lane]); });
  setPredicate(warp, i.to[1], lanes, valid);
}

enum class Vote { all, any, uniform, ballot };
void vote(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t votes = predicate(warp, i, 0) & lanes;
  const auto operation = static_cast<Vote>(i.operation);
  if (operation == Vote::ballot) return forLanes(lanes, [&](int lane) { warp.words(i.to[0])[lane] = votes; });
  const bool holds = operation == Vote::all   ? votes == lanes
                     : operation == Vote::any ? votes != 0
                                              : votes == 0 || votes == lanes;
  setPredicate(warp, i.to[0], lanes, holds ? kAllLanes : 0);
}

// operation: 1 if all lanes must have the same value; otherwise the result is the lanes with this lane's value.
void match(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint32_t equal[kLanes] = {}, same = 0;
  forLanes(lanes, [&](int lane) {
    for (uint32_t left = lanes; left != 0; left &= left - 1) {
      const int other = __builtin_ctz(left);
      if (bitsOf(warp, i.from[0], other) == bitsOf(warp, i.from[0], lane)) equal[lane] |= 1u << other;
    }
    if (equal[lane] == lanes) same |= 1u << lane;
  });
  forLanes(lanes, [&](int lane) {
    const uint32_t ifAll = same >> lane & 1 ? lanes : 0;
    setBits(warp, i.to[0], lane, i.operation ? ifAll : equal[lane]);
  });
  setPredicate(warp, i.to[1], lanes, same);
}

enum class Reduction { add, min, max, conjunction, disjunction, difference };
constexpr std::pair<const char*, Reduction> kReductions[] = {
    {"add", Reduction::add},         {"min", Reduction::min},        {"max", Reduction::max},
    {"and", Reduction::conjunction}, {"or", Reduction::disjunction}, {"xor", Reduction::difference}};
uint32_t reduced(const Instruction& i, uint32_t a, uint32_t b) {
  const bool isBelow = i.type == Type::s32 ? static_cast<int32_t>(a) < static_cast<int32_t>(b) : a < b;
  switch (static_cast<Reduction>(i.operation)) {
    case Reduction::add: return a + b;
    case Reduction::min: return isBelow ? a : b;
    case Reduction::max: return isBelow ? b : a;
    case Reduction::conjunction: return a & b;
    case Reduction::disjunction: return a | b;
    default: return a ^ b;
  }
}
void reduce(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t* x = warp.words(i.from[0]);
  uint32_t total = x[__builtin_ctz(lanes)];
  for (uint32_t left = lanes & (lanes - 1); left != 0; left &= left - 1)
    total = reduced(i, total, x[__builtin_ctz(left)]);
  forLanes(lanes, [&](int lane) { setBits(warp, i.to[0], lane, total); });
}

void activeLanes(Warp& warp, const Instruction& i, uint32_t lanes) {
  forLanes(lanes, [&](int lane) { warp.words(i.to[0])[lane] = lanes; });
}

// Loads matrices of 8 × 8 halves; lanes 8m to 8m + 7 have the addresses of the rows of matrix m. operation: 1 to
// transpose.
void loadMatrices(Warp& warp, const Instruction& i, uint32_t lanes) {
  if (lanes != kAllLanes) fail(warp, "ldmatrix with a part of a warp");
  uint32_t results[4][kLanes];
  for (int matrix = 0; matrix < i.elements; matrix++) {
    Place rows[8];
    for (int row = 0; row < 8; row++) {
      const int lane = matrix * 8 + row;
      rows[row] = placeAt(warp, lane, addressOf(warp, i, lane), Space::shared, 16, false);
    }
    for (int lane = 0; lane < kLanes; lane++) {
      uint32_t halves[2] = {};
      for (int half = 0; half < 2; half++) {
        const int along = lane / 4, across = lane % 4 * 2 + half;
        const int row = i.operation ? across : along, column = i.operation ? along : across;
        Place place = rows[row];
        place.data += 2 * column;
        place.byte = static_cast<uint32_t>(2 * column % 4);
        if (place.shadow) place.shadow += 2 * column / 4;
        note(warp, lane, place, 2, false, false);
        std::memcpy(&halves[half], place.data, 2);
      }
      results[matrix][lane] = halves[0] | halves[1] << 16;
    }
  }
  for (int matrix = 0; matrix < i.elements; matrix++)
    for (int lane = 0; lane < kLanes; lane++) setBits(warp, i.to[matrix], lane, results[matrix][lane]);
}

// The elements of a word of an mma: two halves, or one TF32.
template <float (*Widen)(uint32_t)>
struct Halves {
  static constexpr int kPerWord = 2;
  static float element(Warp&, uint32_t word, int e) { return Widen(word >> (16 * e) & 0xffff); }
};
struct Tf32 {
  static constexpr int kPerWord = 1;
  static float element(Warp& warp, uint32_t word, int) {
    if ((word & kBelowTf32) != 0) fail(warp, "mma of a number that is not rounded to TF32");
    float x = 0;
    std::memcpy(&x, &word, sizeof x);
    return x;
  }
};

// D[16, 8] = A[16, k] · B[k, 8] + C with k = 16 for halves and 8 for TF32, summed in float64 and rounded once. The PTX
// ISA says under "Matrix Fragments for mma.m16n8k16" and "for mma.m16n8k8" where the elements are.
template <class Operand>
void multiplyMatrices(Warp& warp, const Instruction& i, uint32_t lanes) {
  constexpr int perWord = Operand::kPerWord, depths = 8 * perWord;
  if (lanes != kAllLanes) fail(warp, "mma with a part of a warp");
  float a[16][depths], b[8][depths], d[4][kLanes];  // b by columns
  for (int lane = 0; lane < kLanes; lane++) {
    const int group = lane / 4, first = lane % 4 * perWord;
    for (int e = 0; e < perWord; e++) {
      for (int r = 0; r < 4; r++)
        a[group + 8 * (r % 2)][first + e + depths / 2 * (r / 2)] =
            Operand::element(warp, warp.words(i.from[r])[lane], e);
      for (int r = 0; r < 2; r++)
        b[group][first + e + depths / 2 * r] = Operand::element(warp, warp.words(i.from[4 + r])[lane], e);
    }
  }
  for (int lane = 0; lane < kLanes; lane++)
    for (int e = 0; e < 4; e++) {
      const int row = lane / 4 + 8 * (e / 2), column = lane % 4 * 2 + e % 2;
      double sum = 0;
      for (int k = 0; k < depths; k++) sum += static_cast<double>(a[row][k]) * static_cast<double>(b[column][k]);
      d[e][lane] = static_cast<float>(sum + static_cast<double>(laneOf<float>(warp.words(i.from[6 + e]), lane)));
    }
  for (int e = 0; e < 4; e++)
    for (int lane = 0; lane < kLanes; lane++) setLane(warp.words(i.to[e]), lane, d[e][lane]);
}

void decodeMatrixProduct(Operands& operands) {
  Instruction& i = operands.instruction();
  const Opcode& opcode = operands.opcode();
  int next = 0;
  for (size_t at = 1; at < operands.count(); at++)
    for (const std::string_view name : Operands::vector(operands.text(at)))
      if (next < 10) i.from[next++] = operands.read(name, at < 3 ? Type::b32 : Type::f32);
  const auto results = Operands::vector(operands.text(0));
  const bool isTf32 = opcode.has("m16n8k8") && opcode.has("tf32"), isHalf = opcode.has("m16n8k16");
  const bool isKnown = (isTf32 || isHalf) && opcode.has("row") && opcode.has("col") && opcode.has("f32");
  if (!isKnown || results.size() != 4 || next != 10) return;
  for (size_t e = 0; e < 4; e++) i.to[e] = operands.read(results[e], Type::f32);
  i.execute = isTf32               ? multiplyMatrices<Tf32>
              : opcode.has("bf16") ? multiplyMatrices<Halves<floatOfBFloat16>>
                                   : multiplyMatrices<Halves<floatOfHalf>>;
}

template <class Operation, size_t N>
int operationNamed(const Opcode& opcode, const std::pair<const char*, Operation> (&names)[N]) {
  for (const auto& [name, operation] : names)
    if (opcode.has(name)) return static_cast<int>(operation);
  return -1;
}

}  // namespace

bool decodeWarp(Operands& operands) {
  const Opcode& opcode = operands.opcode();
  Instruction& i = operands.instruction();
  const std::string_view name = opcode.name();
  const auto members = [&](size_t at) { i.members = operands.read(operands.text(at), Type::u32); };
  i.kind = Kind::warp;
  if (name == "bar" && opcode.has("warp")) {
    members(0);
    i.execute = synchronize;
  } else if (name == "shfl") {
    constexpr std::pair<const char*, Shuffle> kNames[] = {
        {"up", Shuffle::up}, {"down", Shuffle::down}, {"bfly", Shuffle::butterfly}, {"idx", Shuffle::index}};
    operands.toPair(0, i.type);
    for (int at = 0; at < 3; at++) operands.from(at, static_cast<size_t>(at) + 1, Type::b32);
    members(4);
    i.operation = operationNamed(opcode, kNames);
    i.execute = shuffle;
  } else if (name == "vote") {
    constexpr std::pair<const char*, Vote> kNames[] = {
        {"all", Vote::all}, {"any", Vote::any}, {"uni", Vote::uniform}, {"ballot", Vote::ballot}};
    i.operation = operationNamed(opcode, kNames);
    operands.to(0, 0, i.operation == static_cast<int>(Vote::ballot) ? Type::b32 : Type::predicate);
    operands.from(0, 1, Type::predicate);
    members(2);
    i.execute = vote;
  } else if (name == "match") {
    operands.toPair(0, Type::b32);
    operands.from(0, 1, i.type);
    members(2);
    i.operation = opcode.has("all");
    i.execute = match;
  } else if (name == "redux") {
    operands.to(0, 0, i.type);
    operands.from(0, 1, i.type);
    members(2);
    i.operation = operationNamed(opcode, kReductions);
    i.execute = isFloat(i.type) ? nullptr : reduce;
  } else if (name == "ldmatrix") {
    const auto results = Operands::vector(operands.text(0));
    i.elements = static_cast<int>(results.size());
    for (size_t e = 0; e < results.size(); e++) i.to[e] = operands.read(results[e], Type::b32);
    i.from[0] = operands.address(1, i.offset);
    i.operation = opcode.has("trans");
    i.execute = opcode.has("m8n8") && opcode.has("b16") ? loadMatrices : nullptr;
  } else if (name == "mma") {
    decodeMatrixProduct(operands);
  } else if (name == "activemask") {
    i.kind = Kind::lanes;
    operands.to(0, 0, i.type);
    i.execute = activeLanes;
  } else {
    i.kind = Kind::lanes;
    return false;
  }
  return true;
}

}  // namespace stepsize::ptx
