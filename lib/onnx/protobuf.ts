import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Attribute, OnnxGraph, OnnxNode, OnnxTensor, OnnxType, OnnxValue } from "./graph.js";

// The numbers of fields and types are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).

const irVersion = 8;
const operatorSet = 17;

const typeCodes = { float32: 1, uint8: 2, int32: 6, int64: 7 } as const satisfies Record<OnnxType, number>;

/** A model with what is written beside its graph. */
export interface OnnxModel {
  readonly graph: OnnxGraph;
  readonly producerVersion: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Returns the bytes of a ModelProto. */
export function encodeModel({ graph, producerVersion, metadata }: OnnxModel): Uint8Array {
  const writer = new BinaryWriter();
  int(writer, 1, irVersion);
  text(writer, 2, "stepsize");
  text(writer, 3, producerVersion);
  message(writer, 7, () => writeGraph(writer, graph));
  message(writer, 8, () => {
    text(writer, 1, "");
    int(writer, 2, operatorSet);
  });
  for (const [key, value] of Object.entries(metadata))
    message(writer, 14, () => {
      text(writer, 1, key);
      text(writer, 2, value);
    });
  return writer.finish();
}

function writeGraph(writer: BinaryWriter, { nodes, constants, input, output }: OnnxGraph): void {
  for (const node of nodes) message(writer, 1, () => writeNode(writer, node));
  text(writer, 2, "model");
  for (const constant of constants) message(writer, 5, () => writeTensor(writer, constant));
  message(writer, 11, () => writeValue(writer, input));
  message(writer, 12, () => writeValue(writer, output));
}

function writeNode(writer: BinaryWriter, { operator, name, inputs, outputs, attributes }: OnnxNode): void {
  for (const input of inputs) text(writer, 1, input);
  for (const output of outputs) text(writer, 2, output);
  text(writer, 3, name);
  text(writer, 4, operator);
  for (const [key, value] of Object.entries(attributes)) message(writer, 5, () => writeAttribute(writer, key, value));
}

function writeAttribute(writer: BinaryWriter, name: string, value: Attribute): void {
  const [float, whole, wholes] = [1, 2, 7];
  text(writer, 1, name);
  if (typeof value === "number") {
    int(writer, 3, value);
    int(writer, 20, whole);
  } else if ("float" in value) {
    writer.tag(2, WireType.Bit32).float(value.float);
    int(writer, 20, float);
  } else {
    for (const one of value) int(writer, 8, one);
    int(writer, 20, wholes);
  }
}

function writeTensor(writer: BinaryWriter, { name, type, shape, data }: OnnxTensor): void {
  for (const size of shape) int(writer, 1, size);
  int(writer, 2, typeCodes[type]);
  text(writer, 8, name);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  writer.tag(9, WireType.LengthDelimited).bytes(bytes);
}

function writeValue(writer: BinaryWriter, { name, type, shape }: OnnxValue): void {
  text(writer, 1, name);
  message(writer, 2, () =>
    message(writer, 1, () => {
      int(writer, 1, typeCodes[type]);
      message(writer, 2, () => {
        for (const size of shape)
          message(writer, 1, () => (typeof size === "number" ? int(writer, 1, size) : text(writer, 2, size)));
      });
    }),
  );
}

function message(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function int(writer: BinaryWriter, field: number, value: number): void {
  writer.tag(field, WireType.Varint).int64(value);
}
