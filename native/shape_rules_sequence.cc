// The shape rules of sequence operations, the parts of a transformer. See shape_rules.h.
#include "shape_rule_helpers.h"
#include "shape_rules.h"

namespace stepsize::shape_rule {

namespace {

// Backends keep a block of rows of a head in fast memory, so the size of a head is limited.
constexpr int64_t kLargestHead = 256;

Shape append(const Shape& shape, int64_t size) {
  Shape longer = shape;
  longer.sizes[longer.rank++] = size;
  return longer;
}

Shape withoutLast(const Shape& shape) {
  Shape shorter = shape;
  shorter.rank--;
  return shorter;
}

// Checks that there are `plain` tensors, or these and all `learned` parameters per column; returns whether there are
// learned parameters.
bool expectLearned(const Call& call, int plain, int learned) {
  call.expect(call.count() == plain || call.count() == plain + learned,
              "expected " + std::to_string(plain) + " or " + std::to_string(plain + learned) + " tensors, got " +
                  std::to_string(call.count()));
  const Shape& x = call.input(0).shape;
  call.expect(x.rank >= 1, "x must have a last axis to normalise over");
  for (int i = plain; i < call.count(); i++) call.expectShape(i, shapeOf({lastAxis(x)}));
  return call.count() > plain;
}

}  // namespace

void embedding(Call& call) {
  call.expectType(0, DataType::int32);
  const DataType type = call.expectFloat(1);
  call.expectRank(1, 2);
  call.expect(call.input(0).shape.rank < kMaxRank, "the ids have too many axes for another one");
  call.output(type, append(call.input(0).shape, call.input(1).shape[1]));
}

void embeddingGradient(Call& call) {
  call.expectType(0, DataType::int32);
  const DataType type = call.expectFloat(1);
  const Shape& ids = call.input(0).shape;
  const Shape& gradient = call.input(1).shape;
  call.expect(gradient.rank == ids.rank + 1, "the gradient must have one axis more than the ids");
  call.expectShape(1, append(ids, lastAxis(gradient)));
  call.output(type, shapeOf({call.integer(attribute::embeddingGradient::rows), lastAxis(gradient)}));
}

void layerNorm(Call& call) {
  expectLearned(call, 1, 2);
  const DataType type = expectFloats(call);
  const Shape& x = call.input(0).shape;
  call.output(type, x);
  call.output(DataType::float32, withoutLast(x));
  call.output(DataType::float32, withoutLast(x));
}

void rmsNorm(Call& call) {
  expectLearned(call, 1, 1);
  const DataType type = expectFloats(call);
  const Shape& x = call.input(0).shape;
  call.output(type, x);
  call.output(DataType::float32, withoutLast(x));
}

namespace {

void normGradient(Call& call, int statistics) {
  const bool learned = expectLearned(call, 2 + statistics, 1);
  const DataType type = expectFloats(call, 2);
  expectStatistics(call, 2, 2 + statistics);
  if (learned) call.expectType(2 + statistics, type);
  const Shape& x = call.input(0).shape;
  call.expectShape(1, x);
  for (int i = 0; i < statistics; i++) call.expectShape(2 + i, withoutLast(x));
  call.output(type, x);
  // The gradient of gamma, and of beta if there is a mean.
  for (int i = 0; learned && i < statistics; i++) call.output(type, shapeOf({lastAxis(x)}));
}

}  // namespace

void layerNormGradient(Call& call) { normGradient(call, 2); }
void rmsNormGradient(Call& call) { normGradient(call, 1); }

void rotary(Call& call) {
  const DataType type = call.expectFloat(0);
  call.expectRank(0, 4);
  const Shape& x = call.input(0).shape;
  call.expect(x[3] % 2 == 0, "a head must have an even size, its numbers are turned in pairs; got " +
                                 std::to_string(x[3]) + " (x is [batch, length, heads, size])");
  call.output(type, x);
}

void swigluGradient(Call& call) {
  const DataType type = expectFloats(call);
  const Shape& gate = call.input(0).shape;
  call.expectShape(1, gate);
  call.expectShape(2, gate);
  call.output(type, gate);
  call.output(type, gate);
}

namespace {

// Fails unless the first `tensors` inputs share one shape [batch, length, heads, size]. Returns [batch, heads, length],
// the shape of one number per head and position.
Shape expectHeads(const Call& call, int tensors) {
  for (int i = 0; i < tensors; i++) call.expectRank(i, 4);
  const Shape& q = call.input(0).shape;
  for (int i = 1; i < tensors; i++) call.expectShape(i, q);
  call.expect(q[3] >= 1 && q[3] <= kLargestHead, "heads must have a size from 1 to " + std::to_string(kLargestHead) +
                                                     " (tensors are [batch, length, heads, size])");
  return shapeOf({q[0], q[2], q[1]});
}

}  // namespace

void attention(Call& call) {
  const DataType type = expectFloats(call);
  const Shape perRow = expectHeads(call, 3);
  call.output(type, call.input(0).shape);
  call.output(DataType::float32, perRow);
  call.output(DataType::float32, perRow);
}

void attentionGradient(Call& call) {
  const DataType type = expectFloats(call, 5);
  expectStatistics(call, 5, 7);
  const Shape perRow = expectHeads(call, 5);
  call.expectShape(5, perRow);
  call.expectShape(6, perRow);
  for (int i = 0; i < 3; i++) call.output(type, call.input(i).shape);
}

}  // namespace stepsize::shape_rule
