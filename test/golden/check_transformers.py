"""Compares huggingface/expected.json with the models of transformers.

Needs transformers (5.18 was used), torch (2.13) and safetensors. Run from the repository's root:
python3 test/golden/check_transformers.py

The results in expected.json are those of `Decoder` in torch_models.py. This script loads the same folders with
transformers in float64. Its rotary tables are float32, so results differ by about 2e-7. It fails if logits, losses or norms
of gradients differ by more than 1e-6 of their size.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from hashed import labels

here = pathlib.Path(__file__).parent / "huggingface"
for name, expected in json.loads((here / "expected.json").read_text()).items():
    model = AutoModelForCausalLM.from_pretrained(here / name, dtype=torch.float64, attn_implementation="eager").eval()
    tokens = torch.tensor(labels(2 * 8, 1000, model.config.vocab_size)).reshape(2, 8)
    logits = model(tokens[:, :-1]).logits
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    wanted = torch.tensor(expected["logits"], dtype=torch.float64)
    parameters = dict(model.named_parameters())
    differences = {
        "logits": float((logits.detach().flatten() - wanted).norm() / wanted.norm()),
        "loss": abs(loss.item() / expected["loss"] - 1),
        "gradients": max(abs(parameters[one].grad.norm().item() / norm - 1) for one, norm, _ in expected["gradients"]),
    }
    print(f"{name} ({type(model).__name__}): " + ", ".join(f"{key} {value:.1e}" for key, value in differences.items()))
    assert max(differences.values()) < 1e-6, name
