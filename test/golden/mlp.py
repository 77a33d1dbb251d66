"""Writes mlp.json: the losses of 20 training steps of a multi-layer perceptron in PyTorch, in float64.

Needs torch (1.13 was used) and numpy. Run from the repository's root: python3 test/golden/mlp.py

Weights, images and labels are hashed numbers (hashed.py) times powers of two, which are exact in float32. Python and
TypeScript start from the same numbers, so only losses are stored. Four batches are used in turn, so that the losses fall.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

from hashed import labels, numbers

STEPS = 20
BATCHES = 4
BATCH = 16
SIZES = [784, 64, 32, 10]
SCALES = [2**-4, 2**-2, 2**-2]


def tensor(shape, salt, scale):
    values = numbers(math.prod(shape), salt) * scale
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def parameters():
    """Returns the weight and the bias of each layer in turn. The k-th tensor has salt 10 + k."""
    made = []
    for layer, (inputs, outputs) in enumerate(zip(SIZES, SIZES[1:])):
        made.append(tensor([outputs, inputs], 10 + 2 * layer, SCALES[layer]))
        made.append(tensor([outputs], 11 + 2 * layer, 2**-4))
    return [values.requires_grad_() for values in made]


def forward(x, made):
    for layer in range(len(SIZES) - 1):
        x = F.linear(x, made[2 * layer], made[2 * layer + 1])
        if layer < len(SIZES) - 2:
            x = F.relu(x)
    return x


def rates(max_lr, phi=5, warmup=4):
    """Returns a linear warm-up followed by UBA, as in training."""
    made = [max_lr * (step + 1) / (warmup + 1) for step in range(warmup)]
    for step in range(STEPS - warmup):
        c = 1 + math.cos(math.pi * (2 * step + 1) / (2 * (STEPS - warmup)))
        made.append(max_lr * 2 * c / (2 * phi + (2 - phi) * c))
    return made


def run(make, max_lr):
    made = parameters()
    optimizer = make(made)
    losses = []
    for step, rate in enumerate(rates(max_lr)):
        # Half of the pixels are 0, as in images of digits.
        x = tensor([BATCH, SIZES[0]], 1000 + step % BATCHES, 1).relu()
        y = torch.tensor(labels(BATCH, 2000 + step % BATCHES, SIZES[-1]))
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(x, made), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return {"rates": rates(max_lr), "losses": losses}


GOLDEN = {
    "sgd": {"momentum": 0.9, **run(lambda p: torch.optim.SGD(p, lr=0, momentum=0.9), 0.05)},
    "adamw": {"weightDecay": 0.05, **run(lambda p: torch.optim.AdamW(p, lr=0, weight_decay=0.05), 2e-3)},
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(GOLDEN, indent=1) + "\n")
