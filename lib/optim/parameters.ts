import { types } from "node:util";
import { invalidArgument, StepsizeError } from "../errors.js";
import type { DataType, DevicePointer } from "../native/index.js";
import { type Device, openDeviceSync } from "../native/index.js";
import { isOfAnotherCopy } from "../realms.js";
import { type HasTorchNames, Tensor } from "../tensor/index.js";

/** A tensor that an optimizer updates. */
export type Trainable = Tensor & {
  /** Its path in its model, if it has one. */
  readonly name?: string;
  /** The model that the path is in. */
  readonly listedBy?: HasTorchNames | undefined;
};

/**
 * Numbers that belong to somebody else, updated where they are: an array (a `Uint16Array` holds bfloat16 bits), or
 * memory of the device.
 */
export type Foreign = Float32Array | Uint16Array | DevicePointer;

/** What an optimizer updates. */
export type ParameterLike = Trainable | Foreign;

/** What is known of a parameter, whoever owns it. */
export interface ParameterFacts {
  /** Its path in the model; empty where it has none. */
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
}

/** The model that a parameter's name is a path in. */
export function listedBy(parameter: ParameterLike): HasTorchNames | undefined {
  return parameter instanceof Tensor ? (parameter as Trainable).listedBy : undefined;
}

export function factsOf(parameter: ParameterLike): ParameterFacts {
  if (parameter instanceof Tensor) {
    const { name = "", dtype, shape } = parameter as Trainable;
    return { name, dtype, shape };
  }
  const dtype = ArrayBuffer.isView(parameter) ? typeOf(parameter) : (parameter.dtype ?? "float32");
  return { name: "", dtype, shape: [parameter.length] };
}

/** What a list of tensors of the native surface takes for it. */
export function elementOf(parameter: ParameterLike) {
  return parameter instanceof Tensor ? parameter.handle : parameter;
}

/**
 * Throws unless all are of one kind, on one device, of one type that can be trained, and none is given twice. Tensors
 * must be leaves that require a gradient.
 * @returns the device: that of the tensors, the one given, or for arrays the CPU
 */
export function validateParameters(parameters: readonly ParameterLike[], given: Device | undefined): Device {
  if (!Array.isArray(parameters)) invalidArgument("parameters", "an array of tensors or of Float32Arrays", parameters);
  const [first] = parameters;
  if (first === undefined)
    throw new StepsizeError("invalid-argument", "parameters: expected at least one, got an empty list");
  const own = first instanceof Tensor;
  const seen = new Set<ParameterLike>();
  const failAt = (i: number, problem: string): never => {
    const parameter = parameters[i];
    const name = parameter instanceof Tensor && (parameter as Trainable).name;
    throw new StepsizeError("invalid-argument", `parameters[${i}]${name ? ` (${name})` : ""}: ${problem}`);
  };
  parameters.forEach((parameter: ParameterLike, i) => {
    const fail = (problem: string) => failAt(i, problem);
    if (!(parameter instanceof Tensor) && !isForeign(parameter))
      invalidArgument(
        `parameters[${i}]`,
        "a tensor, a Float32Array, a Uint16Array of bfloat16 bits, or { devicePointer, length, dtype }",
        parameter,
      );
    if (parameter instanceof Tensor !== own) fail("tensors and memory of others cannot be mixed");
    const { dtype } = factsOf(parameter);
    if (dtype !== "float32" && dtype !== "bfloat16") fail(`expected float32 or bfloat16, got ${dtype}`);
    if (dtype !== factsOf(first).dtype) fail(`is ${dtype}, the first ${factsOf(first).dtype}`);
    if (ArrayBuffer.isView(parameter) && isDetached(parameter)) fail("the array is detached");
    if (seen.has(parameter)) fail(`this ${own ? "tensor" : "array"} was given twice`);
    if (own && (parameter as Tensor).device !== first.device) fail("is on another device than the first");
    seen.add(parameter);
  });
  if (own) {
    parameters.forEach((parameter, i) => {
      const problem = whyNotLearned(parameter as Tensor);
      if (problem !== undefined) failAt(i, problem);
    });
    return first.device;
  }
  if (given) return given;
  if (!ArrayBuffer.isView(first)) invalidArgument("device", "the device whose memory it is", given);
  return openDeviceSync("cpu");
}

/** What keeps a tensor from ever having a gradient: a step would leave it as it is, in silence. */
function whyNotLearned({ node, requiresGrad }: Tensor): string | undefined {
  if (node) {
    const advice = "give the tensors it was computed from, or a copy of its values that requires a gradient";
    return `is the result of ${node.operation}, so backward() leaves no gradient on it; ${advice}`;
  }
  if (requiresGrad) return undefined;
  const advice = "give only what is learned, such as model.parameters().filter((p) => p.requiresGrad)";
  return `has requiresGrad false, so it never gets a gradient; ${advice}. What is to be learned later may be frozen once the optimizer is made`;
}

export function isForeign(value: unknown): value is Foreign {
  // Not instanceof: an object may claim to be one.
  if (types.isFloat32Array(value) || types.isUint16Array(value)) return true;
  // A tensor has a devicePointer too, and one of another copy of the package is no `instanceof` ours.
  if (value instanceof Tensor || isOfAnotherCopy(value)) return false;
  return typeof value === "object" && value !== null && "devicePointer" in value && !ArrayBuffer.isView(value);
}

function isDetached({ buffer }: ArrayBufferView): boolean {
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true;
  }
}

function typeOf(array: Float32Array | Uint16Array): DataType {
  return types.isFloat32Array(array) ? "float32" : "bfloat16";
}
