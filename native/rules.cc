#include "rules.h"

#include "update/scalars.h"

namespace stepsize::rules {

namespace {

constexpr int64_t kLargestWindow = 1 << 18;

Shape shapeOf(std::initializer_list<int64_t> sizes) {
  Shape shape;
  for (int64_t size : sizes) shape.sizes[shape.rank++] = size;
  return shape;
}

// The last axis: channels, classes or features.
int64_t lastAxis(const Shape& shape) { return shape[shape.rank - 1]; }

// Output positions of a window of `size` that moves by `stride` over `length` elements padded on both sides.
int64_t windows(const Call& call, const char* axis, int64_t length, int64_t size, int64_t stride, int64_t padding) {
  call.expect(length + 2 * padding >= size, "a window of " + std::to_string(size) + " does not fit into the " + axis +
                                                " of " + std::to_string(length) + " padded by " +
                                                std::to_string(padding) + " on both sides");
  return (length + 2 * padding - size) / stride + 1;
}

// Every input is float32 and has this many axes.
void expectFloats(const Call& call, int rank) {
  for (int i = 0; i < call.count(); i++) {
    call.expectType(i, DataType::float32);
    call.expectRank(i, rank);
  }
}

// A backend keeps one window in fast memory.
void expectWindow(const Call& call, int64_t height, int64_t width, int64_t channels) {
  call.expect(height > 0 && width > 0, "the kernel must have at least one row and one column");
  call.expect(channels <= kLargestWindow / height / width, "a kernel of more than " + std::to_string(kLargestWindow) +
                                                               " values per output channel is not supported");
}

}  // namespace

void fill(Call& call) { call.writes(0); }

void copy(Call& call) {
  call.expectType(1, call.input(0).type);
  call.expect(call.input(0).elements() == call.input(1).elements(), "both tensors must have equally many elements");
  call.writes(0);
}

void cast(Call& call) { call.output(static_cast<DataType>(call.integer(attribute::type)), call.input(0).shape); }

void random(Call& call) {
  call.expectType(0, DataType::float32);
  call.writes(0);
}

void uniform(Call& call) {
  random(call);
  call.expect(call.number(attribute::low) <= call.number(attribute::high), "low must not be above high");
}

void sameAsInput(Call& call) {
  call.expectType(0, DataType::float32);
  call.output(DataType::float32, call.input(0).shape);
}

void sameShapes(Call& call) {
  sameAsInput(call);
  call.expectType(1, DataType::float32);
  call.expectShape(1, call.input(0).shape);
}

// One shape must be the tail of the other: broadcasting is over leading axes of the smaller operand only.
void binary(Call& call) {
  call.expectType(0, DataType::float32);
  call.expectType(1, DataType::float32);
  const Shape& a = call.input(0).shape;
  const Shape& b = call.input(1).shape;
  const Shape& large = a.rank >= b.rank ? a : b;
  const Shape& small = a.rank >= b.rank ? b : a;
  for (int axis = 1; axis <= small.rank; axis++)
    call.expect(small[small.rank - axis] == large[large.rank - axis],
                "the shape of one operand must be the last axes of the other's");
  call.output(DataType::float32, large);
}

void sum(Call& call) {
  call.expectType(0, DataType::float32);
  const Shape& shape = call.input(0).shape;
  const auto axis = static_cast<int>(call.integer(attribute::sumAxis));
  const auto count = static_cast<int>(call.integer(attribute::sumCount));
  call.expect(axis + count <= shape.rank, "axes " + std::to_string(axis) + " to " + std::to_string(axis + count) +
                                              " reach past the last of " + std::to_string(shape.rank));
  Shape out;
  for (int i = 0; i < shape.rank; i++)
    if (i < axis || i >= axis + count) out.sizes[out.rank++] = shape[i];
  call.output(DataType::float32, out);
}

void expand(Call& call) {
  call.expectType(0, DataType::float32);
  const Shape& shape = call.input(0).shape;
  const auto axis = static_cast<int>(call.integer(attribute::expandAxis));
  call.expect(axis <= shape.rank,
              "axis " + std::to_string(axis) + " reaches past the last of " + std::to_string(shape.rank));
  call.expect(shape.rank < kMaxRank, "a tensor has at most " + std::to_string(kMaxRank) + " axes");
  Shape out = shape;
  out.rank++;
  for (int i = shape.rank; i > axis; i--) out.sizes[i] = shape[i - 1];
  out.sizes[axis] = call.integer(attribute::expandSize);
  call.output(DataType::float32, out);
}

void argmax(Call& call) {
  call.expectType(0, DataType::float32);
  Shape shape = call.input(0).shape;
  call.expect(shape.rank >= 1 && lastAxis(shape) > 0, "there must be a last axis with at least one element");
  shape.rank--;
  call.output(DataType::int32, shape);
}

void matmul(Call& call) {
  expectFloats(call, 2);
  const bool transposeA = call.integer(attribute::transposeA) != 0;
  const bool transposeB = call.integer(attribute::transposeB) != 0;
  const Shape& a = call.input(0).shape;
  const Shape& b = call.input(1).shape;
  call.expect(a[transposeA ? 0 : 1] == b[transposeB ? 1 : 0],
              "the inner sizes differ: " + std::to_string(a[transposeA ? 0 : 1]) +
                  (transposeA ? " (a transposed)" : "") + " and " + std::to_string(b[transposeB ? 1 : 0]) +
                  (transposeB ? " (b transposed)" : ""));
  call.output(DataType::float32, shapeOf({a[transposeA ? 1 : 0], b[transposeB ? 0 : 1]}));
}

namespace {

// What a convolution of images [batch, height, width, ·] gives.
Shape convolved(const Call& call, int64_t batch, int64_t height, int64_t width, int64_t kernelHeight,
                int64_t kernelWidth, int64_t outputs) {
  const int64_t stride = call.integer(attribute::stride);
  const int64_t padding = call.integer(attribute::padding);
  return shapeOf({batch, windows(call, "height", height, kernelHeight, stride, padding),
                  windows(call, "width", width, kernelWidth, stride, padding), outputs});
}

}  // namespace

// Images [N,H,W,C], weights [outputs, kernelHeight, kernelWidth, C] → [N,H',W',outputs].
void conv2d(Call& call) {
  expectFloats(call, 4);
  const Shape& x = call.input(0).shape;
  const Shape& w = call.input(1).shape;
  call.expect(x[3] == w[3], "the images have " + std::to_string(x[3]) + " channels and the weights " +
                                std::to_string(w[3]) + " (images are NHWC, weights OHWI)");
  expectWindow(call, w[1], w[2], w[3]);
  call.output(DataType::float32, convolved(call, x[0], x[1], x[2], w[1], w[2], w[0]));
}

void conv2dInputGradient(Call& call) {
  expectFloats(call, 4);
  const Shape& g = call.input(0).shape;
  const Shape& w = call.input(1).shape;
  const int64_t height = call.integer(attribute::height);
  const int64_t width = call.integer(attribute::width);
  expectWindow(call, w[1], w[2], w[3]);
  call.expectShape(0, convolved(call, g[0], height, width, w[1], w[2], w[0]));
  call.output(DataType::float32, shapeOf({g[0], height, width, w[3]}));
}

void conv2dWeightGradient(Call& call) {
  expectFloats(call, 4);
  const Shape& x = call.input(0).shape;
  const Shape& g = call.input(1).shape;
  const int64_t height = call.integer(attribute::height);
  const int64_t width = call.integer(attribute::width);
  expectWindow(call, height, width, x[3]);
  call.expectShape(1, convolved(call, x[0], x[1], x[2], height, width, g[3]));
  call.output(DataType::float32, shapeOf({g[3], height, width, x[3]}));
}

namespace {

// Every input is float32, the first has channels last, and those from `from` on are one number per channel.
int64_t expectPerChannel(Call& call, int from) {
  for (int i = 0; i < call.count(); i++) call.expectType(i, DataType::float32);
  const Shape& x = call.input(0).shape;
  call.expect(x.rank >= 2, "x must have at least two axes, the last of them channels");
  for (int i = from; i < call.count(); i++) call.expectShape(i, shapeOf({lastAxis(x)}));
  return lastAxis(x);
}

}  // namespace

void batchNorm(Call& call) {
  const int64_t channels = expectPerChannel(call, 1);
  const Shape& x = call.input(0).shape;
  call.expect(x.product(0, x.rank - 1) != 1, "one value per channel has no variance; train with a larger batch");
  call.output(DataType::float32, x);
  call.output(DataType::float32, shapeOf({channels}));
  call.output(DataType::float32, shapeOf({channels}));
  call.writes(3);
  call.writes(4);
}

void batchNormInference(Call& call) {
  expectPerChannel(call, 1);
  call.output(DataType::float32, call.input(0).shape);
}

void batchNormGradient(Call& call) {
  const int64_t channels = expectPerChannel(call, 2);
  call.expectShape(1, call.input(0).shape);
  call.output(DataType::float32, call.input(0).shape);
  call.output(DataType::float32, shapeOf({channels}));
  call.output(DataType::float32, shapeOf({channels}));
}

namespace {

Shape pooled(Call& call, int64_t batch, int64_t height, int64_t width, int64_t channels) {
  const int64_t size = call.integer(attribute::poolSize);
  const int64_t stride = call.integer(attribute::poolStride);
  const int64_t padding = call.integer(attribute::poolPadding);
  call.expect(height > 0 && width > 0, "an image without pixels has nothing to pool");
  call.expect(2 * padding <= size, "padding may be at most half the window, or a window would see padding alone");
  return shapeOf({batch, windows(call, "height", height, size, stride, padding),
                  windows(call, "width", width, size, stride, padding), channels});
}

Shape poolGradient(Call& call) {
  call.expectType(0, DataType::float32);
  call.expectRank(0, 4);
  const Shape& g = call.input(0).shape;
  const int64_t height = call.integer(attribute::poolHeight);
  const int64_t width = call.integer(attribute::poolWidth);
  call.expectShape(0, pooled(call, g[0], height, width, g[3]));
  return shapeOf({g[0], height, width, g[3]});
}

}  // namespace

void maxPool2d(Call& call) {
  averagePool2d(call);
  call.output(DataType::int32, call.outputs[0].shape);
}

void maxPool2dGradient(Call& call) {
  const Shape out = poolGradient(call);
  call.expectType(1, DataType::int32);
  call.expectShape(1, call.input(0).shape);
  call.output(DataType::float32, out);
}

void averagePool2d(Call& call) {
  call.expectType(0, DataType::float32);
  call.expectRank(0, 4);
  const Shape& x = call.input(0).shape;
  call.output(DataType::float32, pooled(call, x[0], x[1], x[2], x[3]));
}

void averagePool2dGradient(Call& call) { call.output(DataType::float32, poolGradient(call)); }

void logSoftmax(Call& call) {
  call.expect(call.input(0).shape.rank >= 1, "there must be a last axis to normalise over");
  sameAsInput(call);
}

namespace {

void expectLogitsAndLabels(Call& call) {
  call.expectType(0, DataType::float32);
  call.expectRank(0, 2);
  call.expectType(1, DataType::int32);
  call.expectShape(1, shapeOf({call.input(0).shape[0]}));
  call.expect(call.input(0).shape[1] > 0, "there must be at least one class");
}

}  // namespace

void crossEntropy(Call& call) {
  expectLogitsAndLabels(call);
  call.expect(call.input(0).shape[0] > 0, "the mean over an empty batch is not defined");
  call.output(DataType::float32, Shape{});
  call.output(DataType::float32, call.input(0).shape);
}

void crossEntropyGradient(Call& call) {
  expectLogitsAndLabels(call);
  call.expectType(2, DataType::float32);
  call.expectShape(2, Shape{});
  call.output(DataType::float32, call.input(0).shape);
}

void correctCount(Call& call) {
  expectLogitsAndLabels(call);
  call.output(DataType::float32, Shape{});
}

void gradientNorm(Call& call) {
  for (int i = 0; i < call.count(); i++) call.expectType(i, DataType::float32);
  call.output(DataType::float32, Shape{});
}

void prepareStep(Call& call) {
  call.expect(call.count() == 2 || call.count() == 3, "expected 2 or 3 tensors, got " + std::to_string(call.count()));
  call.expectType(0, DataType::float64);
  call.expectRank(0, 2);
  const int64_t groups = call.input(0).shape[0];
  call.expectShape(0, shapeOf({groups, update::kHyperFields}));
  call.expectType(1, DataType::float64);
  call.expectShape(1, shapeOf({update::kStateFields + update::kStateFieldsPerGroup * groups}));
  const bool needsNorm = call.number(attribute::maxNorm) > 0 || call.integer(attribute::checkFinite) != 0;
  call.expect(!needsNorm || call.count() == 3, "clipping and the non-finite check need the norm as third tensor");
  if (call.count() == 3) {
    call.expectType(2, DataType::float32);
    call.expectShape(2, Shape{});
  }
  call.output(DataType::float32, shapeOf({groups, update::kScalarFields}));
  call.writes(1);
}

namespace {

// scalars, groups, then `lists` lists of equally many tensors; the tensors at one place of the lists agree in shape.
void expectUpdateLists(Call& call, int lists) {
  const int64_t tensors = call.integer(attribute::tensors);
  call.expect(call.count() == 2 + tensors * lists, "expected scalars, groups and " + std::to_string(lists) +
                                                       " lists of " + std::to_string(tensors) + " tensors, got " +
                                                       std::to_string(call.count()) + " tensors");
  call.expectType(0, DataType::float32);
  call.expectRank(0, 2);
  call.expectShape(0, shapeOf({call.input(0).shape[0], update::kScalarFields}));
  call.expectType(1, DataType::int32);
  call.expectShape(1, shapeOf({tensors}));
  for (int list = 0; list < lists; list++)
    for (int i = 0; i < tensors; i++) {
      const int index = 2 + list * static_cast<int>(tensors) + i;
      call.expectType(index, DataType::float32);
      call.expectShape(index, call.input(2 + i).shape);
      if (list != 1) call.writes(index);
    }
}

}  // namespace

void sgdUpdate(Call& call) { expectUpdateLists(call, call.integer(attribute::hasMomentum) != 0 ? 3 : 2); }

void adamUpdate(Call& call) { expectUpdateLists(call, call.integer(attribute::amsgrad) != 0 ? 5 : 4); }

}  // namespace stepsize::rules
