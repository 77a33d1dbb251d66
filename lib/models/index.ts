import { expectObject, expectShape, hasAxes } from "../arguments.js";
import { invalidArgument } from "../errors.js";
import type { Module } from "../nn/index.js";
import { checkedOptions } from "../options.js";
import { elementCount } from "../shapes.js";
import { type ImageNetResNetOptions, resnet18, resnet34, resnet50, stemFor } from "./imagenet-resnet.js";
import { type MLPOptions, mlp } from "./mlp.js";
import { type OlmoOptions, olmo, olmoShapes } from "./olmo.js";
import { type PlaceOptions, placeNames } from "./place.js";
import { type ResNetOptions, resnet } from "./resnet.js";

export type { HasTorchNames, TorchLayout, TorchNames } from "../tensor/index.js";
export { type ImageNetResNetOptions, resnet18, resnet34, resnet50 } from "./imagenet-resnet.js";
export { MLP, type MLPOptions, mlp } from "./mlp.js";
export { Olmo, type OlmoOptions, olmo, olmoShapes } from "./olmo.js";
export type { PlaceOptions } from "./place.js";
export { ResNet } from "./residual-network.js";
export { type ResNetOptions, resnet } from "./resnet.js";

const imageNetResNets = { resnet18, resnet34, resnet50 } as const;
type ImageNetKind = keyof typeof imageNetResNets;

/** Configuration of a model as plain JSON. {@link create} builds the model from it, without trained weights. */
export type ModelConfig =
  | ({ readonly kind: "resnet" } & ResNetOptions)
  | ({ readonly kind: ImageNetKind } & ImageNetResNetOptions)
  | ({ readonly kind: "mlp" } & MLPOptions)
  | ({ readonly kind: "olmo" } & OlmoOptions);

function isImageNetKind(name: string): name is ImageNetKind {
  return Object.hasOwn(imageNetResNets, name);
}

/**
 * Builds a model from its configuration, with initial weights.
 *
 * @param place device and seed of the weights
 * @throws StepsizeError `invalid-argument` for an unknown kind, or if an option is unknown or invalid; `out-of-memory`
 *
 * @example
 * ```ts
 * import { models, openDevice } from "stepsize";
 *
 * const device = await openDevice("cpu");
 * const config = models.configOf("resnet8", [32, 32, 3], 10);
 * const model = models.create(config, { device, seed: 0 });
 * ```
 */
export function create(config: ModelConfig, place: PlaceOptions): Module {
  expectObject("config", config, 'a model\'s configuration, such as { kind: "mlp", … }');
  const { device, seed = 0 } = checkedOptions("create", placeNames, place);
  const kind: string = config.kind;
  if (config.kind === "resnet") return resnet({ ...optionsIn(config), device, seed });
  if (config.kind === "mlp") return mlp({ ...optionsIn(config), device, seed });
  if (config.kind === "olmo") return olmo({ ...optionsIn(config), device, seed });
  if (isImageNetKind(config.kind)) return imageNetResNets[config.kind]({ ...optionsIn(config), device, seed });
  const kinds = ["resnet", ...Object.keys(imageNetResNets), "mlp", "olmo"];
  return invalidArgument("model.kind", kinds.join(", "), kind);
}

function optionsIn<Config extends ModelConfig>({ kind: _, ...options }: Config): Omit<Config, "kind"> {
  return options;
}

/** The names of models that {@link configOf} and the command line accept, such as `resnet20` and `mlp`. */
export const names: readonly string[] = [
  "resnet8",
  "resnet20",
  "resnet32",
  ...Object.keys(imageNetResNets),
  "mlp",
  ...Object.keys(olmoShapes),
];

/**
 * Returns the configuration of a named model for a data set.
 *
 * `resnet18`, `resnet34` and `resnet50` have the stem `cifar` if no side of the images has more than 64 pixels.
 *
 * @param name one of {@link names}
 * @param itemShape shape of one item: [height, width, channels] for images, [context] for windows of tokens
 * @param classes number of classes, or of distinct tokens
 * @throws StepsizeError `invalid-argument` for an unknown name, or items that do not fit the model
 */
export function configOf(name: string, itemShape: readonly number[], classes: number): ModelConfig {
  expectShape("itemShape", itemShape);
  if (name === "mlp") return { kind: "mlp", inputs: elementCount(itemShape), classes };
  if (!names.includes(name)) invalidArgument("model", names.join(", "), name);
  if (isOlmo(name)) {
    const [context, ...rest] = itemShape;
    if (context === undefined || rest.length > 0)
      invalidArgument("data", `windows of tokens [context] for ${name}`, itemShape);
    return { kind: "olmo", vocabulary: classes, context, ...olmoShapes[name] };
  }
  if (!hasAxes(itemShape, 3)) return invalidArgument("data", `images [height, width, channels] for ${name}`, itemShape);
  const [height, width, channels] = itemShape;
  if (!isImageNetKind(name)) return { kind: "resnet", depth: Number(name.slice("resnet".length)), classes, channels };
  return { kind: name, classes, channels, stem: stemFor(height, width) };
}

function isOlmo(name: string): name is keyof typeof olmoShapes {
  return Object.hasOwn(olmoShapes, name);
}
