"""Writes huggingface/: tiny random checkpoints in the layout of Hugging Face's OLMo models, and PyTorch's results.

Needs torch (2.6 was used), safetensors and numpy. Run from the repository's root: python3 test/golden/huggingface.py

The models are `Decoder` of torch_models.py, written from the definition of the architectures. Each folder has config.json
and model.safetensors, or two shards with their index, as `save_pretrained` writes them. `expected.json` has, for each
folder, the logits of two windows of tokens, the loss of the next tokens, and for each tensor the norm of the gradient and
its product with hashed numbers. Together they detect any wrong element. All results are computed in float64 from the
numbers in the files.
"""

import json
import math
import pathlib
import shutil

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from hashed import labels, numbers
from torch_models import Decoder

SIZES = {"vocab_size": 19, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
COMMON = {"hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02,
          "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": None, "eos_token_id": 0, "use_cache": True,
          "transformers_version": "4.49.0"}
OLMO = {**SIZES, **COMMON, "architectures": ["OlmoForCausalLM"], "model_type": "olmo", "num_attention_heads": 2,
        "num_key_value_heads": 2, "rope_theta": 10000.0, "rope_scaling": None}
OLMO2 = {**SIZES, **COMMON, "architectures": ["Olmo2ForCausalLM"], "model_type": "olmo2", "num_attention_heads": 4,
         "rms_norm_eps": 1e-6, "rope_theta": 500000, "rope_scaling": None}
CHECKPOINTS = {
    "olmo": ({**OLMO, "tie_word_embeddings": False, "clip_qkv": None}, torch.float32, 1),
    "olmo-clipped": ({**OLMO, "tie_word_embeddings": True, "clip_qkv": 0.75}, torch.bfloat16, 1),
    "olmo2": ({**OLMO2, "tie_word_embeddings": False, "num_key_value_heads": 4}, torch.bfloat16, 2),
    "olmo2-grouped": ({**OLMO2, "tie_word_embeddings": True, "num_key_value_heads": 2, "rms_norm_eps": 1e-2},
                      torch.float32, 2),
}


def random_model(config, dtype):
    model = Decoder(config).double()
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):
            values = torch.tensor(numbers(parameter.numel(), 10 + k), dtype=torch.float64).reshape(parameter.shape)
            values = 1 + values / 2 if parameter.dim() == 1 else values * math.sqrt(3 / parameter.shape[1])
            parameter.copy_(values.to(dtype))
    return model


def save(folder, config, model, dtype, shards):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**config, "torch_dtype": str(dtype)[6:]}, indent=2) + "\n")
    tensors = {name: one.detach().to(dtype).contiguous() for name, one in model.named_parameters()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    placed = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(list(tensors.items())[shard::shards])
        save_file(part, folder / file, {"format": "pt"})
        placed |= {name: file for name in part}
    size = sum(one.numel() * one.element_size() for one in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(placed.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def results(config, model):
    tokens = torch.tensor(labels(2 * 8, 1000, config["vocab_size"])).reshape(2, 8)
    logits = model(tokens[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    gradients = []
    for name, parameter in model.named_parameters():
        flat = parameter.grad.flatten()
        product = flat @ torch.tensor(numbers(flat.numel(), 99), dtype=torch.float64)
        gradients.append([name, float(flat.norm()), float(product)])
    return {"logits": [float(f"{x:.9g}") for x in logits.flatten().tolist()], "loss": float(loss), "gradients": gradients}


here = pathlib.Path(__file__).with_suffix("")
shutil.rmtree(here, ignore_errors=True)
expected = {}
for name, (config, dtype, shards) in CHECKPOINTS.items():
    model = random_model(config, dtype)
    save(here / name, config, model, dtype, shards)
    expected[name] = results(config, model)
(here / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
