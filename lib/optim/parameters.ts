import { types } from "node:util";
import { invalidArgument, StepsizeError } from "../errors.js";
import { itemAt, zip } from "../lookup.js";
import { type DataType, type Device, type DevicePointer, openDeviceSync } from "../native/index.js";
import { givenOptions } from "../options.js";
import { isOfAnotherCopy } from "../realms.js";
import { type HasTorchNames, Tensor } from "../tensor/index.js";

/** A tensor that an optimizer updates. */
export type Trainable = Tensor & {
  /** The tensor's path in its model, if it has one. */
  readonly name?: string;
  /** The model that the path is in. */
  readonly listedBy?: HasTorchNames | undefined;
};

/**
 * Caller-owned memory that an optimizer updates in place: a `Float32Array`, a `Uint16Array` with the bits of bfloat16
 * numbers, or a pointer to memory of the device.
 */
export type Foreign = Float32Array | Uint16Array | DevicePointer;

/** A parameter of an optimizer: a tensor, or caller-owned memory. */
export type ParameterLike = Trainable | Foreign;

/** Name, type and shape of a parameter, for tensors and caller-owned memory alike. */
export interface ParameterFacts {
  /** The parameter's path in its model; empty if it has none. */
  readonly name: string;
  /** The parameter's type: `"float32"` or `"bfloat16"`. */
  readonly dtype: DataType;
  /** The parameter's shape; `[length]` for caller-owned memory. */
  readonly shape: readonly number[];
}

/** Returns the model in which a parameter's name is a path. */
export function listedBy(parameter: ParameterLike): HasTorchNames | undefined {
  return parameter instanceof Tensor ? parameter.listedBy : undefined;
}

/** Returns the name, type and shape of a parameter. */
export function factsOf(parameter: ParameterLike): ParameterFacts {
  if (parameter instanceof Tensor) {
    const { name = "", dtype, shape } = parameter;
    return { name, dtype, shape };
  }
  const dtype = ArrayBuffer.isView(parameter) ? typeOf(parameter) : (parameter.dtype ?? "float32");
  return { name: "", dtype, shape: [parameter.length] };
}

/** Returns what a native list of tensors takes for a parameter: a tensor's handle, or the memory itself. */
export function elementOf(parameter: ParameterLike) {
  return parameter instanceof Tensor ? parameter.handle : parameter;
}

/**
 * Checks the parameters of an optimizer: at least one, all of one kind, one device and one type, and none given twice.
 * The type is float32 or bfloat16. Tensors must be leaves that require a gradient.
 *
 * @param given the option `device`, for caller-owned memory
 * @returns the device of the tensors, or `given`, or the CPU for arrays
 * @throws StepsizeError `invalid-argument` if a check fails, or if the device of a device pointer is missing
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
    const name = parameter instanceof Tensor && factsOf(parameter).name;
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
    if (parameter instanceof Tensor !== own) fail("tensors and caller-owned memory cannot be mixed");
    const { dtype } = factsOf(parameter);
    if (dtype !== "float32" && dtype !== "bfloat16") fail(`expected float32 or bfloat16, got ${dtype}`);
    if (dtype !== factsOf(first).dtype) fail(`is ${dtype}, the first ${factsOf(first).dtype}`);
    if (ArrayBuffer.isView(parameter) && isDetached(parameter)) fail("the array is detached");
    if (seen.has(parameter)) fail(`this ${own ? "tensor" : "array"} was given twice`);
    if (parameter instanceof Tensor && own && parameter.device !== first.device)
      fail("is on another device than the first");
    seen.add(parameter);
  });
  if (own) {
    parameters.forEach((parameter, i) => {
      const problem = parameter instanceof Tensor ? whyNotLearned(parameter) : undefined;
      if (problem !== undefined) failAt(i, problem);
    });
    return first.device;
  }
  if (given) return given;
  if (!ArrayBuffer.isView(first)) invalidArgument("device", "the device whose memory it is", given);
  return openDeviceSync("cpu");
}

/** Returns why a tensor can never have a gradient, in which case no step would change it; `undefined` if it can. */
function whyNotLearned({ node, requiresGrad }: Tensor): string | undefined {
  if (node) {
    const advice = "give the tensors it was computed from, or a copy of its values that requires a gradient";
    return `is the result of ${node.operation}, so backward() leaves no gradient on it; ${advice}`;
  }
  if (requiresGrad) return undefined;
  const advice = "give only what is learned, such as model.parameters().filter((p) => p.requiresGrad)";
  return `has requiresGrad false, so it never gets a gradient; ${advice}. What is to be learned later may be frozen once the optimizer is made`;
}

/** Returns whether a value is caller-owned memory. */
export function isForeign(value: unknown): value is Foreign {
  // `instanceof` is not used: an object can pass it without being a typed array.
  if (types.isFloat32Array(value) || types.isUint16Array(value)) return true;
  // A tensor has a devicePointer too. A tensor of another copy of the package is not an instance of this copy's class.
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

/**
 * A group of parameters and the options that differ for them. A parameter belongs to the first group whose `where`
 * accepts it. A parameter that no group accepts has the optimizer's own options.
 *
 * @example
 * ```ts
 * import { AdamW, type AdamGroupOptions, models, openDevice, type ParameterGroup } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 4, hidden: [8], classes: 2, device, seed: 0 });
 * const noDecay: ParameterGroup<AdamGroupOptions> = { where: (_, { shape }) => shape.length === 1, weightDecay: 0 };
 * const optimizer = new AdamW(model.parameters(), { lr: 1e-3, groups: [noDecay] });
 * ```
 */
export type ParameterGroup<Options> = Partial<Options> & {
  /**
   * Returns whether a parameter belongs to the group. `name` is the parameter's path in its model, or its index in the
   * list of parameters if it has no path.
   */
  readonly where: (name: string, parameter: ParameterFacts) => boolean;
};

/**
 * A group of parameters in PyTorch's form: a list of parameters, and the options that differ for them.
 *
 * @example
 * ```ts
 * import { models, openDevice, SGD } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 4, hidden: [8], classes: 2, device, seed: 0 });
 * const [first, ...rest] = model.parameters();
 * const optimizer = new SGD([{ params: [first!], lr: 1e-3 }, { params: rest }], { lr: 1e-2 });
 * ```
 */
export type ParameterList<Options> = Partial<Options> & {
  /** The parameters of the group, at least one. */
  readonly params: readonly ParameterLike[];
};

/** The parameters of an optimizer: a list, or several lists with options of their own. */
export type GivenParameters<Options> = readonly ParameterLike[] | readonly ParameterList<Options>[];

/** Returns the lists if the parameters were given as lists; `undefined` if they are one list of parameters. */
export function listsOf<Options>(given: GivenParameters<Options>): readonly ParameterList<Options>[] | undefined {
  // The first one decides. An array may be as long as JavaScript allows, and its parameters are checked later.
  const first: unknown = Array.isArray(given) ? given[0] : undefined;
  const isList = typeof first === "object" && first !== null && "params" in first && !(first instanceof Tensor);
  return isList ? (given as readonly ParameterList<Options>[]) : undefined;
}

/**
 * Returns all parameters in the order in which they were given.
 *
 * @throws StepsizeError `invalid-argument` if a group's `params` is not an array with at least one parameter
 */
export function parametersIn(given: GivenParameters<unknown>): readonly ParameterLike[] {
  const lists = listsOf(given);
  if (lists === undefined) return given as readonly ParameterLike[];
  return lists.flatMap(({ params }, i) => {
    if (!Array.isArray(params) || params.length === 0)
      invalidArgument(`parameters[${i}].params`, "an array of at least one parameter", params);
    return params;
  });
}

/** The parameters of a group with their complete options. */
export interface ResolvedGroup<Options> {
  readonly parameters: readonly ParameterLike[];
  readonly options: Options;
}

/**
 * Divides parameters into groups. Lists are groups already. Otherwise the parameters that no group accepts come first,
 * with the shared options.
 *
 * @throws StepsizeError `invalid-argument` if a group accepts no parameter, which is most likely a mistake in its
 * `where`, or if there are both lists and groups
 */
export function resolveGroups<Options extends object>(
  given: GivenParameters<Options>,
  shared: Options,
  groups: readonly ParameterGroup<Options>[],
): ResolvedGroup<Options>[] {
  const lists = listsOf(given);
  if (lists && groups.length > 0)
    invalidArgument(
      "groups",
      "no groups, because the parameters were given as lists with options of their own",
      groups,
    );
  if (lists)
    return lists.map(({ params: parameters, ...options }) => ({
      parameters,
      options: { ...shared, ...givenOptions(options) },
    }));
  const parameters = parametersIn(given);
  const chosen: ParameterLike[][] = groups.map(() => []);
  const rest: ParameterLike[] = [];
  parameters.forEach((parameter, i) => {
    const facts = factsOf(parameter);
    const group = groups.findIndex(({ where }) => where(facts.name || String(i), facts));
    (chosen[group] ?? rest).push(parameter);
  });
  const resolved: ResolvedGroup<Options>[] = rest.length > 0 ? [{ parameters: rest, options: shared }] : [];
  for (const [i, [{ where: _, ...options }, members]] of [...zip(groups, chosen)].entries()) {
    if (members.length === 0)
      throw new StepsizeError(
        "invalid-argument",
        `groups[${i}].where: chooses none of ${parameters.length} parameters (the first is named "${factsOf(itemAt(parameters, 0)).name || "0"}")`,
      );
    resolved.push({ parameters: members, options: { ...shared, ...givenOptions(options) } });
  }
  return resolved;
}
