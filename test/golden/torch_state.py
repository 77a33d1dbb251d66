"""Writes torch_state.safetensors and torch_state.json: the state of PyTorch's optimizers after 15 steps, and the
parameters after 10 more steps.

Needs torch (1.13 was used) and numpy. Run from the repository's root: python3 test/golden/torch_state.py

All is computed in float64, and gradients are hashed numbers (hashed.py). After 15 steps, parameters and state are rounded
to float32 and stored, and the run continues from the rounded numbers. A program that reads the file therefore continues
from the same numbers as PyTorch. Names are those of `optimizer.state_dict()`, with the name of a parameter in place of its
number. The file format is described in https://huggingface.co/docs/safetensors#format
"""

import json
import pathlib
import struct

import torch

from hashed import numbers

BEFORE, AFTER = 15, 10
SHAPES = {"bias": [9], "weight": [33, 7]}
RUNS = {
    "sgd": ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "adam": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.01, "betas": [0.9, 0.8], "amsgrad": True}),
}


def gradient(shape, step, salt):
    """Returns the gradient of test/optim/support/runs.ts: magnitudes over seven powers of two."""
    count = torch.Size(shape).numel()
    scale = 2.0 ** (torch.arange(count) % 7 - 4)
    return (torch.tensor(numbers(count, salt + step), dtype=torch.float64) * scale).reshape(shape)


def train(optimizer, parameters, first, steps):
    for step in range(first, first + steps):
        for i, parameter in enumerate(parameters.values()):
            parameter.grad = gradient(parameter.shape, step, 100 * (i + 1))
        optimizer.step()


def round_in_place(tensor):
    tensor.copy_(tensor.float().double())


def save(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        size = 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(tensor.detach().float().contiguous().numpy().tobytes() for tensor in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


stored, expected = {}, {}
for run, (name, options) in RUNS.items():
    parameters = {
        key: torch.tensor(numbers(torch.Size(shape).numel(), i + 1, 1.5), dtype=torch.float64).reshape(shape)
        for i, (key, shape) in enumerate(SHAPES.items())
    }
    for parameter in parameters.values():
        parameter.requires_grad_()
    optimizer = getattr(torch.optim, name)(parameters.values(), **options)
    train(optimizer, parameters, 0, BEFORE)
    with torch.no_grad():
        for key, parameter in parameters.items():
            round_in_place(parameter)
            stored[f"{run}/{key}"] = parameter.clone()
            for kept, value in optimizer.state[parameter].items():
                if kept != "step":
                    round_in_place(value)
                stored[f"{run}/{key}.{kept}"] = value.clone()
    train(optimizer, parameters, BEFORE, AFTER)
    expected[run] = {
        "optimizer": name,
        "options": options,
        "parameters": {key: [float(f"{x:.9g}") for x in p.detach().flatten().tolist()] for key, p in parameters.items()},
    }

here = pathlib.Path(__file__)
save(here.with_suffix(".safetensors"), stored)
GOLDEN = {"before": BEFORE, "after": AFTER, "shapes": SHAPES, "runs": expected}
here.with_suffix(".json").write_text(json.dumps(GOLDEN, separators=(",", ":")) + "\n")
