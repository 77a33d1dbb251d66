"""Writes olmo.json: losses and gradients along 20 training steps of an OLMo-style decoder in PyTorch, in float64.

Needs torch (1.13 was used) and numpy. Run from the repository's root: python3 test/golden/olmo.py

trajectory.py explains `free` and `checkpoints`. Their model has the nano model's depth and a width of 8, so that 20
checkpoints fit into a file of the repository. `wide` has sums of gradients of the nano model at hashed weights, once as it
is trained and once with RMSNorm on queries and keys and a separate output matrix.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

import trajectory
from hashed import labels, numbers


class LayerNorm(nn.Module):
    """Has no learned parameters."""

    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:], eps=1e-5)


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.gamma


def norm_for(shape):
    return LayerNorm() if shape["norm"] == "layernorm" else RMSNorm(shape["width"])


def rotary(x):
    """Rotates x [batch, heads, length, size]. A pair has one element of the first half and one of the second half."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[2]).double()[:, None] * 1e4 ** (-torch.arange(half).double() / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        width = shape["width"]
        self.heads = shape["heads"]
        self.queries = nn.Linear(width, width, bias=False)
        self.keys = nn.Linear(width, width, bias=False)
        self.values = nn.Linear(width, width, bias=False)
        if shape["norm"] == "rmsnorm":
            self.queryNorm = RMSNorm(width)
            self.keyNorm = RMSNorm(width)
        else:
            self.queryNorm = self.keyNorm = nn.Identity()
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x):
        batch, length, width = x.shape
        split = lambda y: y.reshape(batch, length, self.heads, -1).transpose(1, 2)
        q = rotary(split(self.queryNorm(self.queries(x))))
        k = rotary(split(self.keyNorm(self.keys(x))))
        scores = q @ k.transpose(2, 3) / math.sqrt(width / self.heads)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(future, -math.inf).softmax(-1) @ split(self.values(x))
        return self.output(mixed.transpose(1, 2).reshape(x.shape))


class FeedForward(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.gate = nn.Linear(shape["width"], shape["hidden"], bias=False)
        self.up = nn.Linear(shape["width"], shape["hidden"], bias=False)
        self.down = nn.Linear(shape["hidden"], shape["width"], bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.attentionNorm = norm_for(shape)
        self.attention = Attention(shape)
        self.feedForwardNorm = norm_for(shape)
        self.feedForward = FeedForward(shape)

    def forward(self, x):
        x = x + self.attention(self.attentionNorm(x))
        return x + self.feedForward(self.feedForwardNorm(x))


class Olmo(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.embedding = nn.Embedding(shape["vocabulary"], shape["width"])
        self.blocks = nn.ModuleList([Block(shape) for _ in range(shape["layers"])])
        self.norm = norm_for(shape)
        self.head = None if shape["tied"] else nn.Linear(shape["width"], shape["vocabulary"], bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embedding.weight if self.head is None else self.head.weight)


def hashed_model(shape):
    """The k-th parameter has salt 10 + k. Scales are powers of two near 1/sqrt(inputs). Norms are near 1."""
    model = Olmo(shape).double()
    for k, (name, parameter) in enumerate(model.named_parameters()):
        values = torch.tensor(numbers(parameter.numel(), 10 + k), dtype=torch.float64)
        if name.endswith("gamma"):
            values = 1 + values / 4
        else:
            values = values * 2.0 ** round(math.log2(math.sqrt(2 / parameter.shape[1])))
        parameter.data = values.reshape(parameter.shape)
    return model


def batch(shape, items, step):
    """Returns windows of tokens, and the windows that begin one token later."""
    length = shape["context"] + 1
    tokens = torch.tensor(labels(items * length, 1000 + step, shape["vocabulary"])).reshape(items, length)
    return tokens[:, :-1], tokens[:, 1:]


def loss_of(model, x, y):
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def same(tensor):
    """All tensors have the same layout in PyTorch and stepsize."""
    return tensor


def training(shape, items):
    model = hashed_model(shape)
    rates = trajectory.rates_up_to(0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)
    free, checkpoints = trajectory.training(
        model,
        optimizer,
        rates,
        lambda step: batch(shape, items, step),
        loss_of,
        to_stepsize=same,
        to_torch=lambda values, like: values.reshape(like.shape),
    )
    names = [[name, list(p.shape)] for name, p in model.named_parameters()]
    return {"shape": shape, "items": items, "rates": rates, "parameters": names, "free": free,
            "checkpoints": checkpoints}


def wide(shape, items):
    sums = trajectory.summed_gradients(hashed_model(shape), loss_of, batch(shape, items, 0), same, same)
    return {"shape": shape, "items": items, **sums}


NANO = {"width": 128, "layers": 4, "heads": 4, "hidden": 384, "vocabulary": 257, "context": 128}
NARROW = {"width": 8, "layers": 4, "heads": 2, "hidden": 24, "vocabulary": 29, "context": 10}
TRAINED = {"norm": "layernorm", "tied": True}
GOLDEN = {
    **training({**NARROW, **TRAINED}, 4),
    "wide": [wide({**NANO, **TRAINED}, 2), wide({**NANO, "norm": "rmsnorm", "tied": False}, 2)],
}
trajectory.write(__file__, GOLDEN)
