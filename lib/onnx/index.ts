import { expectModule, expectObject, expectShape, expectText } from "../arguments.js";
import { invalidArgument, StepsizeError } from "../errors.js";
import { type Module, Preparation, type PreprocessingOptions } from "../nn/index.js";
import { checkedOptions, optionNames } from "../options.js";
import type { Tensor } from "../tensor/index.js";

/** Options of {@link exportOnnx}. */
export interface OnnxOptions {
  /** Shape of one item: [height, width, channels] for images, [context] for tokens. Default: that of `preprocessing`. */
  readonly shape?: readonly number[] | undefined;
  /** Type of the inputs. Ids of tokens are `"int32"`. Default: that of `preprocessing`, or else `"float32"`. */
  readonly dtype?: "float32" | "int32" | "uint8" | undefined;
  /** Preprocessing to include, so that the inputs are raw. Default: none; the inputs are preprocessed. */
  readonly preprocessing?: PreprocessingOptions | undefined;
  /** Texts by name for the metadata of the file. Default: none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

const names = optionNames<OnnxOptions>({ shape: true, dtype: true, preprocessing: true, metadata: true });

const dtypes = ["float32", "int32", "uint8"] as const;

/**
 * Writes a model as an ONNX file, for inference in other programs and in browsers.
 *
 * The file has the operators of version 17, the input `input` with the shape [batch, …shape] for any number of items,
 * and the output `output`. All numbers are float32, also for a model in bf16. Batch normalization uses the running
 * statistics, and dropout does nothing. The operations are recorded in two forward passes, so a custom module can be
 * exported too.
 *
 * @param path path of the file. Missing folders are created, and an existing file is replaced.
 * @throws StepsizeError `invalid-argument` if an argument is invalid or `shape` does not fit the model; `unsupported`
 * with the module and the operation if the model calls an operation that ONNX does not have or depends on the number
 * of items in another way than its first axis, or for more than 2 GiB of weights; `invalid-state` if the model has no
 * parameters; `invalid-file` if the file cannot be written; `device-failed` or `out-of-memory`. A previous file is kept
 * then.
 *
 * @example
 * ```ts
 * import { exportOnnx, models, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const model = models.mlp({ inputs: 784, hidden: [128], classes: 10, device, seed: 0 });
 * await exportOnnx(model, "mlp.onnx", { shape: [28, 28, 1] });
 * ```
 */
export async function exportOnnx(model: Module, path: string, options: OnnxOptions): Promise<void> {
  expectModule("model", model);
  expectText("path", path, "the path of a file");
  const { preprocessing, metadata = {}, ...given } = checkedOptions("exportOnnx", names, options);
  const preparation = new Preparation(model, preprocessing);
  const shape = given.shape ?? preprocessing?.shape;
  if (shape === undefined) return invalidArgument("exportOnnx.shape", "the shape of one item", shape);
  expectShape("exportOnnx.shape", shape);
  const wanted = given.dtype ?? preprocessing?.dtype ?? "float32";
  const dtype = dtypes.find((one) => one === wanted);
  if (dtype === undefined) return invalidArgument("exportOnnx.dtype", dtypes.join(", "), wanted);
  expectObject("exportOnnx.metadata", metadata, "an object of strings");
  for (const [name, value] of Object.entries(metadata))
    if (typeof value !== "string") invalidArgument(`exportOnnx.metadata.${name}`, "a string", value);
  const [first] = model.stateDict().values();
  if (!first)
    throw new StepsizeError("invalid-state", "exportOnnx: expected a model with parameters, whose device it uses");
  // Loaded here, so that programs that do not export do not load it.
  const { writeOnnx } = await import("./write-onnx.js");
  try {
    const input = { device: first.device, shape, dtype, prepare: (raw: Tensor) => preparation.apply(raw) };
    await writeOnnx(model, path, input, metadata);
  } finally {
    preparation.dispose();
  }
}
