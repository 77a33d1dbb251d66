"""Writes resnet8.json: losses and gradients along 20 training steps of a ResNet-8 in PyTorch, in float64.

Needs torch (1.13 was used) and numpy. Run from the repository's root: python3 test/golden/resnet8.py

The network has the real depth: three stages of one block, and shortcuts if the shape changes. Its width is small (4, 8 and
16 channels), so that the weights and gradients of 20 checkpoints fit into a file of the repository.

- `free`, `checkpoints`: see trajectory.py.
- `wide`: the loss and the sums of gradients at hashed weights, with the usual width of 16.
- `afterFive`: the running statistics of the first norm after five steps, and logits in evaluation mode.

In the file images are NHWC, weights are OHWI and names are stepsize's. This script converts from PyTorch's layout.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

import trajectory
from hashed import labels, numbers

CLASSES = 10


class Norm(nn.BatchNorm2d):
    pass


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = Norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = Norm(outputs)
        self.changes = stride != 1 or inputs != outputs
        if self.changes:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcutNorm = Norm(outputs)

    def forward(self, x):
        inner = F.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(inner))
        return F.relu(residual + (self.shortcutNorm(self.shortcut(x)) if self.changes else x))


class ResNet8(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.stemNorm = Norm(width)
        self.blocks = nn.ModuleList(
            [Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)]
        )
        self.classifier = nn.Linear(4 * width, CLASSES)

    def forward(self, x):
        x = F.relu(self.stemNorm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean((2, 3)))


def stepsize_name(model, name):
    """Returns stepsize's name: BatchNorm calls its parameters gamma and beta."""
    path, kind = name.rsplit(".", 1)
    if isinstance(model.get_submodule(path), Norm):
        return f"{path}.{ {'weight': 'gamma', 'bias': 'beta'}[kind] }"
    return name


def to_stepsize(tensor):
    """Converts OIHW to OHWI."""
    tensor = tensor.detach()
    return (tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor).contiguous()


def to_torch(values, like):
    """Converts flat OHWI to OIHW."""
    if like.dim() != 4:
        return values.reshape(like.shape)
    o, i, h, w = like.shape
    return values.reshape(o, h, w, i).permute(0, 3, 1, 2).contiguous()


def hashed_model(channels, width):
    """The k-th parameter has salt 10 + k. Scales are powers of two near He's deviation. Norms are near 1 and 0."""
    model = ResNet8(channels, width).double()
    for k, (name, parameter) in enumerate(model.named_parameters()):
        values = torch.tensor(numbers(parameter.numel(), 10 + k), dtype=torch.float64)
        kind = stepsize_name(model, name).rsplit(".", 1)[1]
        if kind == "gamma":
            values = 1 + values / 4
        elif kind in ("beta", "bias"):
            values = values / 8
        else:
            fan_out = parameter.numel() // parameter.shape[1]
            values = values * 2.0 ** round(math.log2(math.sqrt(6 / fan_out)))
        parameter.data = to_torch(values, parameter)
    return model


def batch(shape, step):
    """Returns images, converted from NHWC to NCHW, and labels."""
    x = torch.tensor(numbers(math.prod(shape), 1000 + step), dtype=torch.float64).reshape(shape)
    return x.permute(0, 3, 1, 2).contiguous(), torch.tensor(labels(shape[0], 2000 + step, CLASSES))


def loss_of(model, x, y):
    return F.cross_entropy(model(x), y)


def training(shape, width):
    model = hashed_model(shape[-1], width)
    rates = trajectory.rates_up_to(0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=0, momentum=0.9)
    after_five = {}

    def after_step(step):
        if step != 4:
            return
        norm = model.stemNorm
        after_five["running"] = {"mean": norm.running_mean.tolist(), "variance": norm.running_var.tolist()}
        images, _ = batch(shape, trajectory.BATCHES)
        after_five["logits"] = copy.deepcopy(model).eval()(images).detach().reshape(-1).tolist()

    free, checkpoints = trajectory.training(
        model, optimizer, rates, lambda step: batch(shape, step), loss_of, to_stepsize, to_torch, after_step
    )
    names = [[stepsize_name(model, name), list(to_stepsize(p).shape)] for name, p in model.named_parameters()]
    return {
        "shape": shape,
        "width": width,
        "momentum": 0.9,
        "rates": rates,
        "parameters": names,
        "free": free,
        "afterFive": after_five,
        "checkpoints": checkpoints,
    }


def wide(shape, width):
    model = hashed_model(shape[-1], width)
    name_of = lambda name: stepsize_name(model, name)
    sums = trajectory.summed_gradients(model, loss_of, batch(shape, 0), name_of, to_stepsize)
    return {"shape": shape, "width": width, **sums}


trajectory.write(__file__, {**training([8, 12, 12, 1], 4), "wide": wide([4, 16, 16, 3], 16)})
