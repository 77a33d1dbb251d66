#include "shape_rules.h"

#include <utility>

#include "broadcast.h"
#include "epilogue.h"
#include "shape_rule_helpers.h"
#include "update/rules.h"
#include "update/scalars.h"

namespace stepsize::shape_rule {

namespace {

constexpr int64_t kLargestWindow = 1 << 18;

// The number of positions of a window of `size` that moves by `stride` over `length` elements, padded on both sides.
int64_t windows(const Call& call, const char* axis, int64_t length, int64_t size, int64_t stride, int64_t padding) {
  call.expect(length + 2 * padding >= size, "a window of " + std::to_string(size) + " does not fit into the " + axis +
                                                " of " + std::to_string(length) + " padded by " +
                                                std::to_string(padding) + " on both sides");
  return (length + 2 * padding - size) / stride + 1;
}

// Fails unless every input has this many axes and all have one floating-point type; returns the type.
DataType expectFloatsOfRank(const Call& call, int rank) {
  const DataType type = expectFloats(call);
  for (int i = 0; i < call.count(); i++) call.expectRank(i, rank);
  return type;
}

// Fails if a window is too large: backends keep one window in fast memory.
void expectWindow(const Call& call, int64_t height, int64_t width, int64_t channels) {
  call.expect(height > 0 && width > 0, "the kernel must have at least one row and one column");
  call.expect(channels <= kLargestWindow / height / width, "a kernel of more than " + std::to_string(kLargestWindow) +
                                                               " values per output channel is not supported");
}

}  // namespace

// `cause` is a tensor that is not read. If it is spoiled, so are the filled values, because they depend on it.
void fill(Call& call) {
  call.expect(call.count() == 1 || call.count() == 2, "expected 1 or 2 tensors, got " + std::to_string(call.count()));
  call.overwrites(0);
}

void copy(Call& call) {
  call.expectType(1, call.input(0).type);
  call.expect(call.input(0).elements() == call.input(1).elements(), "both tensors must have equally many elements");
  call.overwrites(0);
}

void cast(Call& call) { call.output(static_cast<DataType>(call.integer(attribute::cast::dtype)), call.input(0).shape); }

// Writes `values` into row `count` modulo the number of rows; with `last`, `count` then grows by one.
void writeRow(Call& call) {
  call.expectType(0, DataType::float64);
  call.expectRank(0, 2);
  call.expectType(1, DataType::int32);
  call.expectRank(1, 0);
  const Shape& ring = call.input(0).shape;
  call.expect(ring[0] > 0, "the ring must have at least one row");
  const int64_t column = call.integer(attribute::writeRow::column), values = call.input(2).elements();
  call.expect(values <= ring[1] - column, std::to_string(values) + " values from column " + std::to_string(column) +
                                              " on do not fit into rows of " + std::to_string(ring[1]));
  call.updates(0);
  call.updates(1);
}

void random(Call& call) {
  call.expectType(0, DataType::float32);
  call.overwrites(0);
}

void uniform(Call& call) {
  random(call);
  call.expect(call.number(attribute::uniform::low) <= call.number(attribute::uniform::high),
              "low must not be above high");
}

// `calls` is a number on the device that is added to the random stream.
void dropout(Call& call) {
  call.expect(call.count() == 1 || call.count() == 2, "expected 1 or 2 tensors, got " + std::to_string(call.count()));
  sameAsInput(call);
  if (call.count() == 1) return;
  call.expectType(1, DataType::float32);
  call.expectRank(1, 0);
}

void sameAsInput(Call& call) { call.output(call.expectFloat(0), call.input(0).shape); }

void sameShapes(Call& call) {
  const DataType type = expectFloats(call);
  call.expectShape(1, call.input(0).shape);
  call.output(type, call.input(0).shape);
}

void binary(Call& call) {
  const DataType type = expectFloats(call);
  const Shape &a = call.input(0).shape, &b = call.input(1).shape;
  Shape result;
  call.expect(
      broadcastShapes(a, b, result),
      "the shapes do not broadcast: counted from the last, each axis must have the same size in both, or size 1 "
      "in one of them");
  call.output(type, result);
}

void sum(Call& call) {
  const DataType type = call.expectFloat(0);
  const Shape& shape = call.input(0).shape;
  const auto axis = static_cast<int>(call.integer(attribute::sum::axis));
  const auto count = static_cast<int>(call.integer(attribute::sum::count));
  call.expect(axis + count <= shape.rank, "axes " + std::to_string(axis) + " to " + std::to_string(axis + count) +
                                              " reach past the last of " + std::to_string(shape.rank));
  Shape out;
  for (int i = 0; i < shape.rank; i++)
    if (i < axis || i >= axis + count) out.sizes[out.rank++] = shape[i];
  call.output(type, out);
}

void expand(Call& call) {
  const DataType type = call.expectFloat(0);
  const Shape& shape = call.input(0).shape;
  const auto axis = static_cast<int>(call.integer(attribute::expand::axis));
  call.expect(axis <= shape.rank,
              "axis " + std::to_string(axis) + " reaches past the last of " + std::to_string(shape.rank));
  call.expect(shape.rank < kMaxRank, "a tensor has at most " + std::to_string(kMaxRank) + " axes");
  Shape out = shape;
  out.rank++;
  for (int i = shape.rank; i > axis; i--) out.sizes[i] = shape[i - 1];
  out.sizes[axis] = call.integer(attribute::expand::size);
  call.output(type, out);
}

void argmax(Call& call) {
  call.expectFloat(0);
  Shape shape = call.input(0).shape;
  call.expect(shape.rank >= 1 && lastAxis(shape) > 0, "there must be a last axis with at least one element");
  shape.rank--;
  call.output(DataType::int32, shape);
}

// act(a·b + bias) + residual; everything but the product is optional.
void matmul(Call& call) {
  const bool biased = call.integer(attribute::matmul::bias) != 0;
  const EpilogueTensors epilogue(call.count(), biased);
  const int expected = 2 + (biased ? 1 : 0) + (epilogue.residual >= 0 ? 1 : 0);
  call.expect(call.count() == expected, "expected a, b" + std::string(biased ? ", the bias" : "") +
                                            " and perhaps a residual, got " + std::to_string(call.count()) +
                                            " tensors");
  const DataType type = expectFloats(call);
  for (int i = 0; i < 2; i++) call.expectRank(i, 2);
  const bool transposeA = call.integer(attribute::matmul::transposeA) != 0;
  const bool transposeB = call.integer(attribute::matmul::transposeB) != 0;
  const Shape& a = call.input(0).shape;
  const Shape& b = call.input(1).shape;
  call.expect(a[transposeA ? 0 : 1] == b[transposeB ? 1 : 0],
              "the inner sizes differ: " + std::to_string(a[transposeA ? 0 : 1]) +
                  (transposeA ? " (a transposed)" : "") + " and " + std::to_string(b[transposeB ? 1 : 0]) +
                  (transposeB ? " (b transposed)" : ""));
  const Shape out = shapeOf({a[transposeA ? 1 : 0], b[transposeB ? 0 : 1]});
  if (biased) call.expectShape(epilogue.bias, shapeOf({out[1]}));
  if (epilogue.residual >= 0) call.expectShape(epilogue.residual, out);
  call.output(type, out);
}

namespace {

// The output shape of a convolution of images [batch, height, width, ·].
Shape convolved(const Call& call, int64_t batch, int64_t height, int64_t width, int64_t kernelHeight,
                int64_t kernelWidth, int64_t outputs) {
  const int64_t stride = call.integer(attribute::conv2d::stride);
  const int64_t padding = call.integer(attribute::conv2d::padding);
  return shapeOf({batch, windows(call, "height", height, kernelHeight, stride, padding),
                  windows(call, "width", width, kernelWidth, stride, padding), outputs});
}

}  // namespace

// Images are [N,H,W,C] and weights [outputs, kernelHeight, kernelWidth, C]; the output is [N,H',W',outputs].
void conv2d(Call& call) {
  const DataType type = expectFloatsOfRank(call, 4);
  const Shape& x = call.input(0).shape;
  const Shape& w = call.input(1).shape;
  call.expect(x[3] == w[3], "the images have " + std::to_string(x[3]) + " channels and the weights " +
                                std::to_string(w[3]) + " (images are NHWC, weights OHWI)");
  expectWindow(call, w[1], w[2], w[3]);
  call.output(type, convolved(call, x[0], x[1], x[2], w[1], w[2], w[0]));
}

void conv2dInputGradient(Call& call) {
  const DataType type = expectFloatsOfRank(call, 4);
  const Shape& g = call.input(0).shape;
  const Shape& w = call.input(1).shape;
  const int64_t height = call.integer(attribute::conv2dInputGradient::height);
  const int64_t width = call.integer(attribute::conv2dInputGradient::width);
  expectWindow(call, w[1], w[2], w[3]);
  call.expectShape(0, convolved(call, g[0], height, width, w[1], w[2], w[0]));
  call.output(type, shapeOf({g[0], height, width, w[3]}));
}

void conv2dWeightGradient(Call& call) {
  const DataType type = expectFloatsOfRank(call, 4);
  const Shape& x = call.input(0).shape;
  const Shape& g = call.input(1).shape;
  const int64_t height = call.integer(attribute::conv2dWeightGradient::height);
  const int64_t width = call.integer(attribute::conv2dWeightGradient::width);
  expectWindow(call, height, width, x[3]);
  call.expectShape(1, convolved(call, x[0], x[1], x[2], height, width, g[3]));
  call.output(type, shapeOf({g[3], height, width, x[3]}));
}

namespace {

// Fails unless the first input has channels last and the inputs from `from` on have one number per channel; returns the
// number of channels.
int64_t expectPerChannel(Call& call, int from) {
  const Shape& x = call.input(0).shape;
  call.expect(x.rank >= 2, "x must have at least two axes, the last of them channels");
  for (int i = from; i < call.count(); i++) call.expectShape(i, shapeOf({lastAxis(x)}));
  return lastAxis(x);
}

}  // namespace

void batchNorm(Call& call) {
  const DataType type = expectFloats(call, 3);
  expectStatistics(call, 3, 5);
  const int64_t channels = expectPerChannel(call, 1);
  const Shape& x = call.input(0).shape;
  call.expect(x.product(0, x.rank - 1) != 1, "one value per channel has no variance; train with a larger batch");
  call.output(type, x);
  call.output(DataType::float32, shapeOf({channels}));
  call.output(DataType::float32, shapeOf({channels}));
  call.updates(3);
  call.updates(4);
}

void batchNormInference(Call& call) {
  const DataType type = expectFloats(call, 3);
  expectStatistics(call, 3, 5);
  expectPerChannel(call, 1);
  call.output(type, call.input(0).shape);
}

void batchNormGradient(Call& call) {
  const DataType type = expectFloats(call, 3);
  expectStatistics(call, 3, 5);
  const int64_t channels = expectPerChannel(call, 2);
  call.expectShape(1, call.input(0).shape);
  call.output(type, call.input(0).shape);
  call.output(type, shapeOf({channels}));
  call.output(type, shapeOf({channels}));
}

namespace {

Shape pooled(Call& call, int64_t batch, int64_t height, int64_t width, int64_t channels) {
  const int64_t size = call.integer(attribute::averagePool2d::size);
  const int64_t stride = call.integer(attribute::averagePool2d::stride);
  const int64_t padding = call.integer(attribute::averagePool2d::padding);
  call.expect(height > 0 && width > 0, "an image without pixels has nothing to pool");
  call.expect(2 * padding <= size, "padding may be at most half the window, or a window would see padding alone");
  return shapeOf({batch, windows(call, "height", height, size, stride, padding),
                  windows(call, "width", width, size, stride, padding), channels});
}

Shape poolGradient(Call& call) {
  call.expectFloat(0);
  call.expectRank(0, 4);
  const Shape& g = call.input(0).shape;
  const int64_t height = call.integer(attribute::averagePool2dGradient::height);
  const int64_t width = call.integer(attribute::averagePool2dGradient::width);
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
  call.output(call.input(0).type, out);
}

void averagePool2d(Call& call) {
  const DataType type = call.expectFloat(0);
  call.expectRank(0, 4);
  const Shape& x = call.input(0).shape;
  call.output(type, pooled(call, x[0], x[1], x[2], x[3]));
}

void averagePool2dGradient(Call& call) {
  const Shape out = poolGradient(call);
  call.output(call.input(0).type, out);
}

// Each row of `moves` belongs to one image: the window's offset down and across, and whether it is mirrored.
void normalizeImages(Call& call) {
  call.expect(call.count() == 3 || call.count() == 4, "expected 3 or 4 tensors, got " + std::to_string(call.count()));
  const TensorSpec& raw = call.input(0);
  call.expect(raw.type == DataType::uint8 || raw.type == DataType::float32,
              std::string("the raw values must be uint8 or float32, got ") + nameOf(raw.type));
  call.expect(raw.shape.rank >= 1, "the raw values must have a last axis of channels");
  expectStatistics(call, 1, 3);
  for (int i = 1; i < 3; i++) call.expectShape(i, shapeOf({lastAxis(raw.shape)}));
  if (call.count() == 4) {
    call.expectRank(0, 4);
    call.expectType(3, DataType::int32);
    call.expectShape(3, shapeOf({raw.shape[0], 3}));
  }
  const auto type = static_cast<DataType>(call.integer(attribute::normalizeImages::dtype));
  call.expect(type == DataType::float32 || type == DataType::bfloat16,
              std::string("the result must be float32 or bfloat16, not ") + nameOf(type));
  call.output(type, raw.shape);
}

void logSoftmax(Call& call) {
  call.expect(call.input(0).shape.rank >= 1, "there must be a last axis to normalise over");
  sameAsInput(call);
}

namespace {

void expectLogitsAndLabels(Call& call) {
  call.expectFloat(0);
  call.expectRank(0, 2);
  call.expectType(1, DataType::int32);
  call.expectShape(1, shapeOf({call.input(0).shape[0]}));
  call.expect(call.input(0).shape[1] > 0, "there must be at least one class");
}

}  // namespace

namespace {

// Fails unless the number of tensors is `least` plus the number of flags that are set.
void expectCount(const Call& call, int least, std::initializer_list<bool> given) {
  int expected = least;
  for (const bool one : given) expected += one ? 1 : 0;
  call.expect(call.count() == expected,
              "expected " + std::to_string(expected) + " tensors, got " + std::to_string(call.count()));
}

// Checks logits, labels[, class weights][, item weights], which are followed by `more` tensors. Returns how many
// tensors come before those.
int expectCrossEntropy(Call& call, int more) {
  const bool byClass = call.integer(attribute::crossEntropy::classWeights) != 0,
             byItem = call.integer(attribute::crossEntropy::itemWeights) != 0;
  expectCount(call, 2 + more, {byClass, byItem});
  expectLogitsAndLabels(call);
  int next = 2;
  for (const auto& [given, shape] :
       {std::pair{byClass, shapeOf({call.input(0).shape[1]})}, std::pair{byItem, call.input(1).shape}}) {
    if (!given) continue;
    call.expectType(next, DataType::float32);
    call.expectShape(next++, shape);
  }
  return next;
}

}  // namespace

// The outputs are the losses of the rows, their sum, the total weight, the mean, and two statistics per row.
void crossEntropy(Call& call) {
  expectCrossEntropy(call, 0);
  const Shape rows = call.input(1).shape;
  call.expect(rows[0] > 0, "the mean over an empty batch is not defined");
  call.output(DataType::float32, rows);
  for (int i = 0; i < 3; i++) call.output(DataType::float32, Shape{});
  for (int i = 0; i < 2; i++) call.output(DataType::float32, rows);
}

void crossEntropyGradient(Call& call) {
  const int first = expectCrossEntropy(call, 4);
  const Shape& rows = call.input(1).shape;
  expectStatistics(call, first, first + 4);
  call.expectShape(first, Shape{});
  call.expectShape(first + 1, rows);
  call.expectShape(first + 2, rows);
  const bool ofMean = call.integer(attribute::crossEntropyGradient::mean) != 0;
  if (ofMean || call.input(first + 3).shape.rank != 1) call.expectShape(first + 3, Shape{});
  if (call.input(first + 3).shape.rank == 1) call.expectShape(first + 3, rows);
  call.output(call.input(0).type, call.input(0).shape);
}

namespace {

// Checks logits, targets[, weights of the positive class][, weights], and `more` tensors of the shape of the logits.
void expectBinary(Call& call, int more) {
  const bool positives = call.integer(attribute::binaryCrossEntropy::positiveWeights) != 0;
  expectCount(call, 2 + more, {positives, call.integer(attribute::binaryCrossEntropy::weights) != 0});
  call.expectFloat(0);
  expectStatistics(call, 1, call.count());
  const Shape& logits = call.input(0).shape;
  for (int i = 1; i < call.count(); i++)
    if (i != 2 || !positives) call.expectShape(i, logits);
  if (!positives) return;
  const Shape& weights = call.input(2).shape;
  call.expect(weights.rank <= logits.rank, "the weights of the positive class have more axes than the logits");
  for (int axis = 1; axis <= weights.rank; axis++)
    call.expect(weights[weights.rank - axis] == logits[logits.rank - axis],
                "the shape of the weights of the positive class must be the last axes of the logits'");
}

}  // namespace

void binaryCrossEntropy(Call& call) {
  expectBinary(call, 0);
  call.output(DataType::float32, call.input(0).shape);
}

void binaryCrossEntropyGradient(Call& call) {
  expectBinary(call, 1);
  call.output(call.input(0).type, call.input(0).shape);
}

void correctCount(Call& call) {
  expectLogitsAndLabels(call);
  call.output(DataType::float32, Shape{});
}

namespace {

// Fails unless all tensors of a list have one type, float32 or bfloat16; returns the type, float32 for an empty list.
DataType typeOfList(const Call& call, int list, const char* name) {
  const std::vector<TensorView>& tensors = call.list(list).tensors;
  const DataType type = tensors.empty() ? DataType::float32 : tensors[0].type;
  call.expect(type == DataType::float32 || type == DataType::bfloat16,
              std::string(name) + "[0] must be float32 or bfloat16, got " + nameOf(type));
  // A step checks thousands of tensors, so the message is only made for the tensor that is wrong.
  for (size_t i = 1; i < tensors.size(); i++)
    if (tensors[i].type != type)
      call.fail(std::string(name) + "[" + std::to_string(i) + "] must be " + nameOf(type) + " like the first, got " +
                nameOf(tensors[i].type));
  return type;
}

}  // namespace

void gradientNorm(Call& call) {
  typeOfList(call, 0, "gradients");
  call.output(DataType::float64, Shape{});
}

void prepareStep(Call& call) {
  const bool scheduled = call.integer(attribute::prepareStep::scheduled) != 0;
  const bool needsNorm =
      call.number(attribute::prepareStep::maxNorm) > 0 || call.integer(attribute::prepareStep::checkFinite) != 0;
  const bool weighed = call.integer(attribute::prepareStep::weighed) != 0;
  const int expected = 4 + (needsNorm ? 1 : 0) + (weighed ? 1 : 0) + (scheduled ? 1 : 0);
  call.expect(call.count() == expected,
              "expected hyper, state, updates, groups" +
                  std::string(needsNorm ? ", the norm for clipping or the non-finite check" : "") +
                  (weighed ? ", weight" : "") + (scheduled ? ", schedule" : "") + ", got " +
                  std::to_string(call.count()) + " tensors");
  call.expectType(0, DataType::float64);
  call.expectRank(0, 2);
  const int64_t groups = call.input(0).shape[0];
  call.expectShape(0, shapeOf({groups, update::kHyperFields}));
  call.expectType(1, DataType::float64);
  call.expectShape(1, shapeOf({update::kStateFields + update::kStateFieldsPerGroup * groups}));
  call.expectType(2, DataType::int32);
  call.expectRank(2, 1);
  const int64_t parameters = call.input(2).shape[0];
  call.expectType(3, DataType::int32);
  call.expectShape(3, shapeOf({parameters}));
  call.expect(groups > 0 || parameters == 0, "parameters need a group");
  for (int i = 4; i < expected - (scheduled ? 1 : 0); i++) {
    // The norm is float64 and comes first; the weight is float32.
    call.expectType(i, needsNorm && i == 4 ? DataType::float64 : DataType::float32);
    call.expectShape(i, Shape{});
  }
  if (scheduled) {
    const int last = expected - 1;
    call.expectType(last, DataType::float64);
    call.expectRank(last, 3);
    call.expectShape(last, shapeOf({call.input(last).shape[0], groups, update::kScheduledFields}));
    call.expect(call.input(last).shape[0] > 0, "the schedule must have at least one step");
  }
  call.output(DataType::float32, shapeOf({groups + parameters, update::kScalarFields}));
  call.updates(1);
  call.updates(2);
}

namespace {

// Checks the lists of an update rule: their number, their types, and the sizes of their tensors.
void expectListsOfRule(const Call& call, int rule) {
  const int moments = update::kMomentsOfRule[rule];
  const bool copies = call.listCount() == moments + 3;
  call.expect(copies || call.listCount() == moments + 2, "expected parameters, gradients, " + std::to_string(moments) +
                                                             " lists of moments and perhaps copies, got " +
                                                             std::to_string(call.listCount()) + " lists");
  const DataType parameters = typeOfList(call, 0, "parameters");
  const DataType gradients = typeOfList(call, 1, "gradients");
  for (int list = 2; list < moments + 2; list++)
    call.expect(typeOfList(call, list, "moments") == typeOfList(call, 2, "moments"), "all moments must have one type");
  // A bfloat16 model has bfloat16 gradients. Its parameters are bfloat16 themselves, or bfloat16 copies of float32
  // master weights.
  const bool lowPrecision = copies || parameters == DataType::bfloat16;
  call.expect(gradients == (lowPrecision ? DataType::bfloat16 : DataType::float32) || call.list(1).tensors.empty(),
              std::string("gradients must be ") + (lowPrecision ? "bfloat16" : "float32") + " for these parameters");
  if (copies)
    call.expect(parameters == DataType::float32 &&
                    (typeOfList(call, moments + 2, "copies") == DataType::bfloat16 || call.list(0).tensors.empty()),
                "copies are bfloat16, of float32 parameters");

  const std::vector<TensorView>& like = call.list(0).tensors;
  for (int list = 1; list < call.listCount(); list++) {
    const std::vector<TensorView>& tensors = call.list(list).tensors;
    call.expect(tensors.size() == like.size(), "list " + std::to_string(list) + " has " +
                                                   std::to_string(tensors.size()) + " tensors, the parameters are " +
                                                   std::to_string(like.size()));
    for (size_t i = 0; i < like.size(); i++)
      if (tensors[i].elements() != like[i].elements())
        call.fail("tensor " + std::to_string(i) + " of list " + std::to_string(list) + " is " +
                  describe(tensors[i].shape) + ", its parameter " + describe(like[i].shape));
  }
}

}  // namespace

void update(Call& call) {
  expectListsOfRule(call, static_cast<int>(call.integer(attribute::update::rule)));
  call.expectType(0, DataType::float32);
  call.expectRank(0, 2);
  const int64_t rows = call.input(0).shape[0];
  call.expectShape(0, shapeOf({rows, update::kScalarFields}));
  call.expectType(1, DataType::int32);
  call.expectRank(1, 1);
  const int64_t parameters = call.input(1).shape[0];
  call.expect(parameters <= rows,
              "scalars has " + std::to_string(rows) + " rows for " + std::to_string(parameters) + " parameters");
  for (size_t i = 0; i < call.list(0).tensors.size(); i++)
    if (call.list(0).placeOf(i) >= parameters)
      call.fail("parameter " + std::to_string(i) + " has place " + std::to_string(call.list(0).placeOf(i)) + " of " +
                std::to_string(parameters));
  call.updates(1);
  for (int list = 0; list < call.listCount(); list++)
    if (list != 1) call.updatesList(list);
  if (call.integer(attribute::update::zeroGradients) != 0) call.zeroesList(1);
}

void traffic(Call& call) {
  expectListsOfRule(call, static_cast<int>(call.integer(attribute::traffic::rule)));
  for (int list = 0; list < call.listCount(); list++)
    if (list != 1) call.updatesList(list);
}

}  // namespace stepsize::shape_rule
