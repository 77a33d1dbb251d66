// Decoders in the layout of Hugging Face's transformers. The checkpoints are from test/golden/huggingface.py.
import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { create, type Olmo } from "#lib/models/index.js";
import type { Device } from "#lib/native/index.js";
import { crossEntropy } from "#lib/nn/index.js";
import { backward, tensor } from "#lib/tensor/index.js";
import { loadHuggingFace, toTorchWeights } from "#lib/weights/index.js";
import { relativeError } from "../optim/support/runs.js";
import { onEveryDevice, physicalDevices } from "../support/devices.js";
import { expectError } from "../support/errors.js";
import { temporaryFolders } from "../support/folders.js";
import { labelsOf, numbers } from "../support/numbers.js";
import { bitsOf } from "../train/support/runs.js";

const folder = temporaryFolders();
const golden = fileURLToPath(new URL("../golden/huggingface/", import.meta.url));

interface Expected {
  readonly logits: readonly number[];
  readonly loss: number;
  /** Name, norm, and scalar product with hashed numbers. */
  readonly gradients: readonly (readonly [string, number, number])[];
}
/** From PyTorch 2.6 in float64. */
const expected = JSON.parse(readFileSync(join(golden, "expected.json"), "utf8")) as Readonly<Record<string, Expected>>;
const checkpoints = Object.keys(expected);

/** Copies a checkpoint, so that a test can change it. */
function copyOf(name: string): string {
  const path = join(folder(), name);
  cpSync(join(golden, name), path, { recursive: true });
  return path;
}

/** Copies a checkpoint and changes fields of its config.json. */
function withConfig(name: string, changes: Readonly<Record<string, unknown>>): string {
  const path = copyOf(name);
  const file = join(path, "config.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...changes }));
  return path;
}

function windows(device: Device, from: number) {
  const tokens = [...labelsOf(16, 1000, 19)];
  return tensor(device, Int32Array.from([0, 8].flatMap((at) => tokens.slice(at + from, at + from + 7))), [2, 7]);
}

const logitsOf = (model: Olmo, device: Device) => model.forward(windows(device, 0)).read();

await onEveryDevice("a Hugging Face checkpoint", (device) => {
  // Float32 compared with float64 from the same weights. The largest observed errors are 4e-7 for logits and 3e-6 for
  // gradients.
  test.each(checkpoints)("%s: logits, loss and all gradients match PyTorch", async (name) => {
    const { model } = await loadHuggingFace(join(golden, name), { device });
    const { logits, loss: wanted, gradients } = expected[name]!;
    expect(relativeError(await logitsOf(model, device), logits)).toBeLessThan(2e-6);
    const loss = crossEntropy(model.forward(windows(device, 0)), windows(device, 1));
    backward(loss);
    expect(Math.abs((await loss.item()) / wanted - 1)).toBeLessThan(2e-6);
    const { names } = model.torchNames();
    const parameters = new Map([...model.namedParameters()].map(([path, one]) => [names.get(path), one]));
    expect([...parameters.keys()].sort()).toEqual(gradients.map(([one]) => one).sort());
    for (const [one, norm, product] of gradients) {
      const got = await parameters.get(one)!.grad!.read();
      const hashed = numbers(got.length, 99);
      const dot = (by: ArrayLike<number>) => Array.from(got).reduce((sum, value, i) => sum + value * by[i]!, 0);
      const [squares, products] = [dot(got), dot(hashed)];
      expect(Math.abs(Math.sqrt(squares) / norm - 1), one).toBeLessThan(2e-5);
      expect(Math.abs(products - product) / norm, one).toBeLessThan(2e-5);
    }
  });

  test("has similar logits in bf16", async () => {
    const { model } = await loadHuggingFace(join(golden, "olmo2-grouped"), { device, precision: "bf16" });
    expect(model.precision).toBe("bf16");
    const logits = model.forward(windows(device, 0));
    // Eight significant bits through about a dozen operations.
    expect(relativeError(await logits.read().then(fromBits), expected["olmo2-grouped"]!.logits)).toBeLessThan(0.05);
  });
});

const fromBits = (bits: ArrayLike<number>) => new Float32Array(Uint32Array.from(bits, (half) => half * 2 ** 16).buffer);

await onEveryDevice(
  "a Hugging Face folder",
  (device) => {
    test("has a configuration that builds the model again", async () => {
      for (const name of checkpoints) {
        const { model, config } = await loadHuggingFace(join(golden, name), { device });
        const again = create(JSON.parse(JSON.stringify(config)), { device }) as Olmo;
        again.loadStateDict(model.stateDict());
        expect(await logitsOf(again, device)).toEqual(await logitsOf(model, device));
      }
    });

    test("has weights that are written again with the same names, shapes and values", async () => {
      const { model } = await loadHuggingFace(join(golden, "olmo2-grouped"), { device });
      const written = await toTorchWeights(model);
      expect(written.get("model.layers.0.self_attn.k_proj.weight")!.shape).toEqual([8, 16]);
      expect(written.get("model.layers.1.post_feedforward_layernorm.weight")!.shape).toEqual([16]);
      expect([...written.keys()].sort()).toEqual(expected["olmo2-grouped"]!.gradients.map(([name]) => name).sort());
    });

    test("may contain an output matrix next to a tied embedding only if both are equal", async () => {
      const path = withConfig("olmo", { tie_word_embeddings: true });
      const before = device.memory().tensors;
      await expectError(() => loadHuggingFace(path, { device }), "invalid-file", "lm_head.weight is not");
      expect(device.memory().tensors).toBeLessThanOrEqual(before);
    });

    test("may have rope_parameters of newer versions instead of rope_theta", async () => {
      const path = withConfig("olmo2", {
        rope_theta: null,
        rope_parameters: { rope_type: "default", rope_theta: 500000 },
      });
      const [a, b] = [
        await loadHuggingFace(path, { device }),
        await loadHuggingFace(join(golden, "olmo2"), { device }),
      ];
      expect(a.config).toEqual(b.config);
      expect(await bitsOf(a.model.stateDict())).toEqual(await bitsOf(b.model.stateDict()));
    });

    test("uses the defaults of transformers", async () => {
      const path = withConfig("olmo2", {
        rope_theta: undefined,
        rms_norm_eps: undefined,
        max_position_embeddings: null,
      });
      const { config } = await loadHuggingFace(path, { device });
      expect(config).toMatchObject({ ropeBase: 1e4, normEpsilon: 1e-5, context: 2048, keyValueHeads: 4, tied: false });
    });

    test("refuses an unknown option", async () => {
      const options = { device, precison: "bf16" };
      await expectError(() => loadHuggingFace(join(golden, "olmo"), options), "invalid-argument", "precision");
    });

    describe("is refused with the name of the problem:", () => {
      test.each<[string, Record<string, unknown>, string]>([
        ["olmo2", { model_type: "llama" }, 'model_type: expected "olmo" or "olmo2", got "llama"'],
        ["olmo2", { hidden_act: "gelu" }, 'hidden_act: expected "silu", got "gelu"'],
        ["olmo2", { attention_bias: true }, "attention_bias: expected false, got true"],
        ["olmo", { attention_dropout: 0.1 }, "attention_dropout: expected 0, got 0.1"],
        ["olmo2", { rope_scaling: { rope_type: "yarn", factor: 2 } }, "rope_scaling: expected null"],
        ["olmo2", { rope_parameters: { rope_type: "linear" } }, 'rope_type: expected "default", got "linear"'],
        ["olmo2", { rope_parameters: { rope_theta: 1e4, factor: 8 } }, "rope_parameters.factor"],
        ["olmo2", { head_dim: 8 }, "head_dim: expected 4, got 8"],
        ["olmo2", { clip_qkv: 8 }, "clip_qkv"],
        ["olmo2", { quantization_config: { bits: 4 } }, "quantization_config"],
        ["olmo2", { sliding_window: 4096 }, "sliding_window"],
      ])("%s with %j", async (name, changes, words) => {
        await expectError(() => loadHuggingFace(withConfig(name, changes), { device }), "unsupported", words);
      });

      test.each<[Record<string, unknown>, string]>([
        [{ hidden_size: undefined }, "hidden_size: expected a number above 0, got undefined"],
        [{ num_hidden_layers: 1.5 }, "num_hidden_layers: expected a whole number, got 1.5"],
        [{ tie_word_embeddings: "no" }, 'tie_word_embeddings: expected true or false, got "no"'],
      ])("a config.json with %j", async (changes, words) => {
        await expectError(() => loadHuggingFace(withConfig("olmo2", changes), { device }), "invalid-file", words);
      });

      test("another number of layers, or another width of the keys", async () => {
        const load = (changes: Record<string, unknown>) => loadHuggingFace(withConfig("olmo2", changes), { device });
        await expectError(() => load({ num_hidden_layers: 1 }), "invalid-file", "left over: model.layers.1.");
        await expectError(() => load({ num_hidden_layers: 3 }), "invalid-file", "missing: model.layers.2.");
        await expectError(
          () => load({ num_key_value_heads: 2 }),
          "invalid-file",
          "model.layers.0.self_attn.k_proj.weight is [16,16], the model needs [8,16]",
        );
      });

      test("a missing file, or an index that does not match", async () => {
        const shard = "model-00002-of-00002.safetensors";
        const index = "model.safetensors.index.json";
        const change = (path: string, edit: (map: Record<string, unknown>) => void) => {
          const json = JSON.parse(readFileSync(join(path, index), "utf8"));
          edit(json.weight_map);
          writeFileSync(join(path, index), JSON.stringify(json));
          return path;
        };
        const swap = (map: Record<string, unknown>, name: string) => {
          map[name] = map[name] === shard ? "model-00001-of-00002.safetensors" : shard;
        };
        const load = (path: string) => () => loadHuggingFace(path, { device });
        const [a, b, c, d] = [copyOf("olmo2"), copyOf("olmo2"), copyOf("olmo"), copyOf("olmo")];
        rmSync(join(a, shard));
        await expectError(load(a), "not-found", shard);
        rmSync(join(b, index));
        await expectError(load(b), "not-found", "model.safetensors.index.json");
        rmSync(join(c, "config.json"));
        await expectError(load(c), "not-found", "config.json");
        renameSync(join(d, "model.safetensors"), join(d, "pytorch_model.bin"));
        await expectError(load(d), "not-found", "torch.save", "safetensors");
        const edits: [(map: Record<string, unknown>) => void, string][] = [
          [(map) => swap(map, "model.norm.weight"), "model.norm.weight is not in model-0000"],
          [(map) => void delete map["model.norm.weight"], "model.norm.weight of model-0000"],
          [
            (map) => Object.assign(map, { "model.norm.weight": `../${shard}` }),
            "expected the name of a file beside it",
          ],
        ];
        for (const [edit, words] of edits)
          await expectError(load(change(copyOf("olmo2"), edit)), "invalid-file", words);
      });
    });
  },
  physicalDevices.slice(-1),
);
