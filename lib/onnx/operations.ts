import { elementCount } from "../shapes.js";
import type { Tensor } from "../tensor/index.js";
import type { GraphBuilder } from "./graph.js";
import type { TracedOperation } from "./trace.js";

/** An operation while it is converted. */
interface Call {
  readonly graph: GraphBuilder;
  readonly name: string;
  /** The first input. */
  readonly x: Tensor;
  /** The inputs after the first. */
  readonly rest: readonly Tensor[];
  readonly result: Tensor;
  /** Returns a numeric attribute. */
  readonly number: (name: string, fallback?: number) => number;
  readonly attributes: TracedOperation["attributes"];
}

/** Adds the nodes of an operation to the graph. */
type Converter = (call: Call) => void;

/**
 * The operations that can be exported. Operators are those of version 17 of the default set of ONNX
 * (https://onnx.ai/onnx/operators/).
 */
const converters: Readonly<Record<string, Converter>> = {
  reshape: ({ graph, x, result }) => {
    const sizes = graph.sizes(result);
    const dynamic = sizes.filter((size) => typeof size !== "number").length;
    if (dynamic > 1) graph.refuse("reshape", "has two axes that depend on the number of items");
    const shape = graph.whole(sizes.map((size) => (typeof size === "number" ? size : -1)));
    graph.define(result, { plain: graph.add("Reshape", [graph.plain(x), shape]) });
  },
  cast: ({ graph, x, result }) => {
    const isFloat = ({ dtype }: Tensor) => dtype === "float32" || dtype === "bfloat16" || dtype === "float64";
    // All floating-point numbers are float32 in the file.
    if (isFloat(x) && isFloat(result)) return graph.alias(result, x);
    const to = { float32: 1, float64: 1, bfloat16: 1, uint8: 2, int32: 6 }[result.dtype];
    graph.define(result, { plain: graph.add("Cast", [graph.plain(x)], { to }) });
  },

  add: binary("Add"),
  subtract: binary("Sub"),
  multiply: binary("Mul"),
  divide: binary("Div"),
  addRelu: (call) => binary("Add", "Relu")(call),
  exp: unary((graph, x) => graph.add("Exp", [x])),
  log: unary((graph, x) => graph.add("Log", [x])),
  sqrt: unary((graph, x) => graph.add("Sqrt", [x])),
  square: unary((graph, x) => graph.add("Mul", [x, x])),
  tanh: unary((graph, x) => graph.add("Tanh", [x])),
  sigmoid: unary((graph, x) => graph.add("Sigmoid", [x])),
  relu: unary((graph, x) => graph.add("Relu", [x])),
  gelu: unary(gelu),
  silu: unary(silu),
  affine: (call) =>
    unary((graph, x) => {
      const [scale, shift] = [call.number("scale", 1), call.number("shift", 0)];
      const scaled = scale === 1 ? x : graph.add("Mul", [x, graph.number(scale)]);
      return shift === 0 && scale !== 1 ? scaled : graph.add("Add", [scaled, graph.number(shift)]);
    })(call),

  sum: ({ graph, x, result, number }) => {
    const [axis, count, scale] = [number("axis"), number("count"), number("scale", 1)];
    const range = Array.from({ length: count }, (_, i) => axis + i);
    // The mean over images is taken in the order of axes that convolutions have.
    const isImage = graph.isChannelsFirst(x) && axis === 1 && count === 2;
    const input = isImage ? graph.channelsFirst(x) : graph.plain(x);
    const axes = isImage ? [2, 3] : range;
    const length = elementCount(x.shape.slice(axis, axis + count));
    if (count === 0) return graph.define(result, { plain: graph.add("Mul", [input, graph.number(scale)]) });
    if (scale === 1 / length)
      return graph.define(result, { plain: graph.add("ReduceMean", [input], { axes, keepdims: 0 }) });
    const sum = graph.add("ReduceSum", [input, graph.whole(axes)], { keepdims: 0 });
    graph.define(result, { plain: scale === 1 ? sum : graph.add("Mul", [sum, graph.number(scale)]) });
  },
  argmax: ({ graph, x, result }) => {
    const index = graph.add("ArgMax", [graph.plain(x)], { axis: -1, keepdims: 0 });
    graph.define(result, { plain: graph.add("Cast", [index], { to: 6 }) });
  },
  logSoftmax: ({ graph, x, result }) => {
    graph.define(result, { plain: graph.add("LogSoftmax", [graph.plain(x)], { axis: -1 }) });
  },

  matmul: ({ graph, x, rest, result, attributes }) => {
    const [b, ...epilogue] = rest;
    if (!b) throw new Error("a product has no second matrix");
    const bias = attributes["bias"] ? epilogue[0] : undefined;
    const residual = attributes["bias"] ? epilogue[1] : epilogue[0];
    const inputs = [graph.plain(x), graph.plain(b), ...(bias ? [graph.plain(bias)] : [])];
    const transposed = { transA: attributes["transposeA"] ? 1 : 0, transB: attributes["transposeB"] ? 1 : 0 };
    const product = graph.add("Gemm", inputs, transposed);
    const activated = activation(graph, product, attributes["activation"]);
    graph.define(result, { plain: residual ? graph.add("Add", [activated, graph.plain(residual)]) : activated });
  },
  conv2d: ({ graph, x, rest: [weights], result, number }) => {
    if (!weights) throw new Error("a convolution has no weights");
    const [stride, padding] = [number("stride", 1), number("padding", 0)];
    const kernel_shape = [graph.fixed(weights, 1), graph.fixed(weights, 2)];
    const window = { kernel_shape, strides: [stride, stride], pads: [padding, padding, padding, padding] };
    const inputs = [graph.channelsFirst(x), graph.convolutionWeights(weights)];
    graph.define(result, { channelsFirst: graph.add("Conv", inputs, window) });
  },
  batchNormInference: ({ graph, x, rest, result, number, attributes }) => {
    const statistics = rest.map((tensor) => graph.plain(tensor));
    const epsilon = { float: number("epsilon", 1e-5) };
    const normalize = (input: string) => {
      const normalized = graph.add("BatchNormalization", [input, ...statistics], { epsilon });
      return attributes["relu"] ? graph.add("Relu", [normalized]) : normalized;
    };
    if (x.shape.length === 4) return graph.define(result, { channelsFirst: normalize(graph.channelsFirst(x)) });
    if (x.shape.length === 2) return graph.define(result, { plain: normalize(graph.plain(x)) });
    graph.refuse("batchNormInference", `has inputs with ${x.shape.length} axes; 2 and 4 can be exported`);
  },
  maxPool2d: pooling("MaxPool", {}),
  averagePool2d: pooling("AveragePool", { count_include_pad: 1 }),
  normalizeImages: ({ graph, x, rest: [factor, offset, moves], result }) => {
    if (!factor || !offset || moves) return graph.refuse("normalizeImages", "moves images");
    const raw = x.dtype === "uint8" ? graph.add("Cast", [graph.plain(x)], { to: 1 }) : graph.plain(x);
    const scaled = graph.add("Mul", [raw, graph.plain(factor)]);
    graph.define(result, { plain: graph.add("Add", [scaled, graph.plain(offset)]) });
  },

  embedding: ({ graph, x: ids, rest: [table], result }) => {
    if (!table) throw new Error("an embedding has no table");
    graph.define(result, { plain: graph.add("Gather", [graph.plain(table), graph.plain(ids)], { axis: 0 }) });
  },
  layerNorm: ({ graph, x, rest: [gamma, beta], result, number }) => {
    const width = graph.fixed(x, x.shape.length - 1);
    const scale = gamma ? graph.plain(gamma) : graph.numbers(`ones[${width}]`, [width], () => 1);
    const inputs = [graph.plain(x), scale, ...(beta ? [graph.plain(beta)] : [])];
    const epsilon = { float: number("epsilon", 1e-5) };
    graph.define(result, { plain: graph.add("LayerNormalization", inputs, { axis: -1, epsilon }) });
  },
  rmsNorm: ({ graph, x, rest: [gamma], result, number }) => {
    const input = graph.plain(x);
    const square = graph.add("ReduceMean", [graph.add("Mul", [input, input])], { axes: [-1], keepdims: 1 });
    const root = graph.add("Sqrt", [graph.add("Add", [square, graph.number(number("epsilon", 1e-5))])]);
    const normalized = graph.add("Div", [input, root]);
    graph.define(result, { plain: gamma ? graph.add("Mul", [normalized, graph.plain(gamma)]) : normalized });
  },
  swiglu: ({ graph, x: gate, rest: [up], result }) => {
    if (!up) throw new Error("swiglu has one input");
    graph.define(result, { plain: graph.add("Mul", [silu(graph, graph.plain(gate)), graph.plain(up)]) });
  },
  rotary: ({ graph, x, result, number, attributes }) => {
    const [length, half] = [graph.fixed(x, 1), graph.fixed(x, 3) / 2];
    const base = number("base", 1e4);
    const sign = attributes["inverse"] ? -1 : 1;
    const angle = (i: number) => Math.floor(i / half) * base ** (-(i % half) / half);
    const table = (name: string, value: (angle: number) => number) =>
      graph.numbers(`${name}[${length},${half},${base}]`, [length, 1, half], (i) => value(angle(i)));
    const cos = table("cos", Math.cos);
    const sin = table(sign < 0 ? "minus sin" : "sin", (at) => sign * Math.sin(at));
    const [first, second] = graph.addPair("Split", [graph.plain(x), graph.whole([half, half])], { axis: -1 });
    const times = (a: string, b: string) => graph.add("Mul", [a, b]);
    const turned = [
      graph.add("Sub", [times(first, cos), times(second, sin)]),
      graph.add("Add", [times(second, cos), times(first, sin)]),
    ];
    graph.define(result, { plain: graph.add("Concat", turned, { axis: -1 }) });
  },
  attention: ({ graph, x: queries, rest: [keys, values], result, number }) => {
    if (!keys || !values) throw new Error("attention has no keys or values");
    const length = graph.fixed(queries, 1);
    const heads = (tensor: Tensor, perm: readonly number[]) => graph.add("Transpose", [graph.plain(tensor)], { perm });
    const products = graph.add("MatMul", [heads(queries, [0, 2, 1, 3]), heads(keys, [0, 2, 3, 1])]);
    const scores = graph.add("Mul", [products, graph.number(number("scale"))]);
    // Positions after the present one get a weight of 0.
    const hidden = (i: number) => (i % length > Math.floor(i / length) ? Number.NEGATIVE_INFINITY : 0);
    const mask = graph.numbers(`causal mask[${length}]`, [length, length], hidden);
    const weights = graph.add("Softmax", [graph.add("Add", [scores, mask])], { axis: -1 });
    const mixed = graph.add("MatMul", [weights, heads(values, [0, 2, 1, 3])]);
    graph.define(result, { plain: graph.add("Transpose", [mixed], { perm: [0, 2, 1, 3] }) });
  },
};

/**
 * Adds the nodes of an operation to the graph.
 *
 * @throws StepsizeError `unsupported` with the module and the operation if it cannot be exported
 */
export function convert(graph: GraphBuilder, operation: TracedOperation): void {
  const { name, inputs, attributes, results } = operation;
  graph.enter(operation);
  const converter = Object.hasOwn(converters, name) ? converters[name] : undefined;
  const [x, ...rest] = inputs;
  const [result] = results;
  if (!converter || !x || !result) {
    const known = Object.keys(converters).join(", ");
    graph.refuse(name, `cannot be exported; those that can are ${known}`);
  }
  const number = (attribute: string, fallback?: number) => {
    const value = attributes[attribute] ?? fallback;
    if (typeof value !== "number") throw new Error(`${name} has no number ${attribute}`);
    return value;
  };
  converter({ graph, name, x, rest, result, number, attributes });
}

function unary(apply: (graph: GraphBuilder, x: string) => string): Converter {
  return ({ graph, x, result }) => {
    if (graph.isChannelsFirst(x)) graph.define(result, { channelsFirst: apply(graph, graph.channelsFirst(x)) });
    else graph.define(result, { plain: apply(graph, graph.plain(x)) });
  };
}

function binary(...operators: readonly [string, ...string[]]): Converter {
  const [first, ...then] = operators;
  return ({ graph, x, rest: [y], result }) => {
    if (!y) throw new Error(`${first} has one input`);
    const apply = (a: string, b: string) =>
      then.reduce((value, operator) => graph.add(operator, [value]), graph.add(first, [a, b]));
    const areImages = x.shape.length === 4 && y.shape.length === 4;
    if (areImages && (graph.isChannelsFirst(x) || graph.isChannelsFirst(y)))
      return graph.define(result, { channelsFirst: apply(graph.channelsFirst(x), graph.channelsFirst(y)) });
    if (graph.isChannelsFirst(x) && y.shape.length === 1) {
      // One number per channel.
      const perChannel = graph.add("Reshape", [graph.plain(y), graph.whole([-1, 1, 1])]);
      return graph.define(result, { channelsFirst: apply(graph.channelsFirst(x), perChannel) });
    }
    graph.define(result, { plain: apply(graph.plain(x), graph.plain(y)) });
  };
}

function pooling(operator: string, more: Readonly<Record<string, number>>): Converter {
  return ({ graph, x, result, number }) => {
    const size = number("size");
    const [stride, padding] = [number("stride", size), number("padding", 0)];
    const window = {
      kernel_shape: [size, size],
      strides: [stride, stride],
      pads: [padding, padding, padding, padding],
      ...more,
    };
    graph.define(result, { channelsFirst: graph.add(operator, [graph.channelsFirst(x)], window) });
  };
}

function activation(graph: GraphBuilder, x: string, name: unknown): string {
  if (name === "relu") return graph.add("Relu", [x]);
  if (name === "gelu") return gelu(graph, x);
  return name === "silu" ? silu(graph, x) : x;
}

/** x·Φ(x), with the distribution function Φ from the error function. */
function gelu(graph: GraphBuilder, x: string): string {
  const erf = graph.add("Erf", [graph.add("Mul", [x, graph.number(Math.SQRT1_2)])]);
  const twice = graph.add("Mul", [x, graph.add("Add", [erf, graph.number(1)])]);
  return graph.add("Mul", [twice, graph.number(0.5)]);
}

function silu(graph: GraphBuilder, x: string): string {
  return graph.add("Mul", [x, graph.add("Sigmoid", [x])]);
}
