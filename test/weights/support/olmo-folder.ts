import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { olmo } from "#lib/models/index.js";
import { openDevice } from "#lib/native/index.js";
import { type HostTensor, toTorchWeights, writeSafetensors } from "#lib/weights/index.js";

const golden = fileURLToPath(new URL("../../golden/", import.meta.url));

/** The layouts of published models, with the sizes of a tiny one. Their tokenizers have fewer ids than the model. */
const layouts = {
  // OLMo-1B-hf: a tied embedding in one file.
  "olmo-1b": { model_type: "olmo", tie_word_embeddings: true, shards: 1, tokenizer: "olmo" },
  // OLMo-7B-hf: an output matrix of its own, in two files.
  "olmo-7b": { model_type: "olmo", tie_word_embeddings: false, shards: 2, tokenizer: "olmo" },
  // OLMo-2-0425-1B: in two files here, in one there.
  "olmo2-1b": { model_type: "olmo2", tie_word_embeddings: false, shards: 2, tokenizer: "olmo2" },
} as const;

/** Writes a tiny model with random weights as transformers' `save_pretrained` writes it, and returns its folder. */
export async function olmoFolder(parent: string, layout: keyof typeof layouts): Promise<string> {
  const { shards, tokenizer, ...kind } = layouts[layout];
  const path = join(parent, layout);
  mkdirSync(path);
  const config = {
    ...kind,
    architectures: [kind.model_type === "olmo" ? "OlmoForCausalLM" : "Olmo2ForCausalLM"],
    vocab_size: 416,
    hidden_size: 32,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    max_position_embeddings: 64,
    hidden_act: "silu",
    attention_bias: false,
    attention_dropout: 0,
    rope_theta: kind.model_type === "olmo" ? 10_000 : 500_000,
    ...(kind.model_type === "olmo" ? { clip_qkv: null } : { rms_norm_eps: 1e-6 }),
    eos_token_id: 400,
    pad_token_id: 0,
    torch_dtype: "float32",
    transformers_version: "4.49.0",
  };
  const device = await openDevice("cpu", { threads: 1 });
  const model = olmo({
    vocabulary: config.vocab_size,
    context: config.max_position_embeddings,
    width: config.hidden_size,
    layers: config.num_hidden_layers,
    heads: config.num_attention_heads,
    hidden: config.intermediate_size,
    tied: config.tie_word_embeddings,
    ...(kind.model_type === "olmo2" && { norm: "rmsnorm", normalize: "outputs", normEpsilon: 1e-6, ropeBase: 500_000 }),
    device,
    seed: 5,
  });
  const tensors: [string, HostTensor][] = [];
  for (const [name, one] of await toTorchWeights(model))
    tensors.push([name, { dtype: "float32", shape: one.shape, data: (await one.read()) as Float32Array }]);
  await device.close();
  writeFileSync(join(path, "config.json"), JSON.stringify(config, undefined, 2));
  cpSync(join(golden, "bpe", tokenizer), path, { recursive: true });
  const write = (file: string, part: typeof tensors) =>
    writeSafetensors(join(path, file), new Map(part), { format: "pt" });
  if (shards === 1) await write("model.safetensors", tensors);
  else {
    const files = Array.from({ length: shards }, (_, i) => `model-0000${i + 1}-of-0000${shards}.safetensors`);
    const fileOf = (at: number) => files[Math.floor((at * shards) / tensors.length)]!;
    for (const file of files)
      await write(
        file,
        tensors.filter((_, at) => fileOf(at) === file),
      );
    const total_size = tensors.reduce((sum, [, { data }]) => sum + data.byteLength, 0);
    const weight_map = Object.fromEntries(tensors.map(([name], at) => [name, fileOf(at)]));
    writeFileSync(join(path, "model.safetensors.index.json"), JSON.stringify({ metadata: { total_size }, weight_map }));
  }
  return path;
}
