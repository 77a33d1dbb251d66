import { StepsizeError } from "../errors.js";
import { writeAtomically } from "../files/atomic-file.js";
import type { Module } from "../nn/index.js";
import { version } from "../package-root.js";
import type { Tensor } from "../tensor/index.js";
import { GraphBuilder, type OnnxGraph } from "./graph.js";
import { convert } from "./operations.js";
import { encodeModel } from "./protobuf.js";
import { sizesIn, type Trace, type TraceInput, trace } from "./trace.js";

/** Limit of protocol buffers, less what the nodes may take. */
const maxConstantBytes = 2 ** 31 - 2 ** 24;

/** Writes a model to a file. The caller has checked the arguments. */
export async function writeOnnx(
  model: Module,
  path: string,
  input: TraceInput,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  // Before the forward passes, which take long for a large model.
  expectBelowLimit([...model.stateDict().values()].reduce((sum, { size }) => sum + size * 4, 0));
  const first = trace(model, 2, input);
  const sizes = sizesIn(first, trace(model, 3, input));
  const paths = new Map([...model.stateDict()].map(([name, tensor]): [Tensor, string] => [tensor, name]));
  const data = new Map<Tensor, ArrayLike<number>>();
  for (const [tensor, values] of first.constants) data.set(tensor, await values);
  const graph = graphOf(first, new GraphBuilder(sizes, data, paths));
  const bytes = graph.constants.reduce((sum, constant) => sum + constant.data.byteLength, 0);
  expectBelowLimit(bytes);
  await writeAtomically(path, [encodeModel({ graph, producerVersion: version, metadata })]);
}

function expectBelowLimit(bytes: number): void {
  if (bytes <= maxConstantBytes) return;
  const size = (bytes / 1e9).toFixed(2);
  throw new StepsizeError(
    "unsupported",
    `exportOnnx: expected at most ${(maxConstantBytes / 1e9).toFixed(2)} GB of float32 weights, the limit of an ONNX file, got ${size} GB; saveTorchWeights, or export --to safetensors, writes weights of any size`,
  );
}

function graphOf({ input, output, operations }: Trace, graph: GraphBuilder): OnnxGraph {
  graph.define(input, { plain: "input" });
  for (const operation of operations) convert(graph, operation);
  const [items] = graph.sizes(output);
  if (typeof items !== "object" || items.perItem !== 1)
    throw new StepsizeError(
      "unsupported",
      `exportOnnx: expected one output per item, got outputs [${output.shape}] for 2`,
    );
  return graph.build({ input, output });
}
