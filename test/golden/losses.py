"""Writes losses.json: values and gradients of PyTorch's losses in float64, with weights, ignored labels and reductions.

Needs torch 2.6. Run from the repository's root: python3 test/golden/losses.py

Inputs are not stored: Python and TypeScript compute them from an index and a salt (test/support/numbers.ts). Logits are
scaled and shifted, and rounded if they are bfloat16. The gradient is that of sum(output * numbers(salt 99)).
"""

import itertools
import json
import math
import pathlib

import torch
import torch.nn.functional as F

import hashed

STORED = 48  # elements stored of a longer tensor, evenly spaced


def numbers(shape, salt, center=0):
    return torch.from_numpy(hashed.numbers(math.prod(shape), salt, center)).reshape(shape)


def logits_of(shape, scale, shift, dtype):
    x = numbers(shape, 0) * scale + shift
    return (x.bfloat16().double() if dtype == "bfloat16" else x).requires_grad_()


def stored(x):
    flat = x.detach().reshape(-1)
    step = max(1, -(-flat.numel() // STORED))
    return {"shape": list(x.shape), "step": step, "values": [float(f"{v:.9g}") for v in flat[::step].tolist()]}


def differentiated(entry, logits, output):
    (output * numbers(tuple(output.shape), 99)).sum().backward()
    return {**entry, "output": stored(output), "gradient": stored(logits.grad)}


def cross_entropy(shape, scale, shift, dtype, smoothing, ignored, by_class, by_item, reduction):
    rows, classes = shape
    logits = logits_of(shape, scale, shift, dtype)
    labels = torch.from_numpy(hashed.labels(rows, 50, classes))
    if ignored < 0:
        labels[torch.from_numpy(hashed.labels(rows, 51, 4) == 0)] = ignored
    weight = numbers((classes,), 60, 1.25) if by_class else None
    options = {"weight": weight, "ignore_index": ignored, "label_smoothing": smoothing}
    if by_item:
        items = numbers((rows,), 61, 1)
        losses = F.cross_entropy(logits, labels, reduction="none", **options) * items
        counted = labels != ignored
        class_weight = torch.ones(rows, dtype=torch.float64) if weight is None else weight[labels.clamp(min=0)]
        total = (items * class_weight)[counted].sum()
        output = {"none": losses, "sum": losses.sum(), "mean": losses.sum() / total}[reduction]
    else:
        output = F.cross_entropy(logits, labels, reduction=reduction, **options)
    entry = {"loss": "crossEntropy", "shape": shape, "scale": scale, "shift": shift, "dtype": dtype,
             "smoothing": smoothing, "ignoreIndex": ignored, "classWeights": by_class, "itemWeights": by_item,
             "reduction": reduction}
    return differentiated(entry, logits, output)


def binary_cross_entropy(shape, scale, dtype, soft, positive, weighed, reduction):
    logits = logits_of(shape, scale, 0, dtype)
    targets = numbers(shape, 50, 1) / 2
    targets = targets if soft else targets.round()
    output = F.binary_cross_entropy_with_logits(
        logits, targets, weight=numbers(shape, 61, 1) if weighed else None,
        pos_weight=numbers(shape[-1:], 60, 1.25) if positive else None, reduction=reduction)
    entry = {"loss": "binaryCrossEntropy", "shape": shape, "scale": scale, "shift": 0, "dtype": dtype, "soft": soft,
             "posWeight": positive, "weights": weighed, "reduction": reduction}
    return differentiated(entry, logits, output)


def mean_squared_error(shape, dtype, weighed, reduction):
    outputs = logits_of(shape, 4, 0, dtype)
    output = F.mse_loss(outputs, numbers(shape, 50), weight=numbers(shape, 61, 1) if weighed else None,
                        reduction=reduction)
    entry = {"loss": "meanSquaredError", "shape": shape, "scale": 4, "shift": 0, "dtype": dtype, "weights": weighed,
             "reduction": reduction}
    return differentiated(entry, outputs, output)


def rotating(*choices):
    """Returns the choices in turn, without end."""
    return itertools.cycle(choices)


def cases():
    # CUDA has another kernel for rows of more than 512 logits. Scores far from 0 have few digits after the point.
    shapes, reductions, dtypes = rotating((7, 5), (33, 12), (5, 600)), rotating("mean", "sum", "none", "mean"), rotating("float32", "float32", "bfloat16")
    places = rotating((2, 0), (32, 10000), (32, -10000), (8, 0), (32, 150))
    for smoothing, by_class, by_item, ignored in itertools.product((0, 0.1), (False, True), (False, True),
                                                                   (-100, 2, -1)):
        yield cross_entropy(next(shapes), *next(places), next(dtypes), smoothing, ignored, by_class, by_item,
                            next(reductions))
    for smoothing in (0, 0.25, 1):
        yield cross_entropy((9, 10), 4, 0, "float32", smoothing, -100, True, False, "mean")
    shapes, scales = rotating((1,), (7, 5), (3, 4, 6), (70, 33)), rotating(2, 40, 200)
    for soft, positive, weighed, reduction in itertools.product((False, True), (False, True), (False, True),
                                                                ("mean", "sum", "none")):
        yield binary_cross_entropy(next(shapes), next(scales), next(dtypes), soft, positive, weighed, reduction)
    for weighed, reduction in itertools.product((False, True), ("mean", "sum", "none")):
        yield mean_squared_error(next(shapes), next(dtypes), weighed, reduction)


entries = list(cases())
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
print(f"{len(entries)} cases, {path.stat().st_size} bytes")
