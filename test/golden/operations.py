"""Writes operations.json: results and gradients of PyTorch's operations in float64.

Needs torch (1.13 was used). Run from the repository's root: python3 test/golden/operations.py

Inputs are not stored: Python and TypeScript compute them from an index and a salt (test/support/numbers.ts). In the file
images are NHWC and weights are OHWI, as in stepsize. This script converts from PyTorch's NCHW and OIHW. The gradient is
that of sum(output * numbers(salt 99)).
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

MASK = 0xFFFFFFFF
STORED = 160  # elements stored of a longer tensor, evenly spaced


def hashed(index, salt):
    h = ((index + 1) * 0x9E3779B1 + salt * 0x85EBCA77) & MASK
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & MASK
    return (h ^ (h >> 16)) >> 16


def numbers(shape, salt, center=0):
    flat = [hashed(i, salt) / 32768 - 1 + center for i in range(math.prod(shape))]
    return torch.tensor(flat, dtype=torch.float64).reshape(shape)


def labels_of(count, salt, below):
    return torch.tensor([hashed(i, salt) % below for i in range(count)], dtype=torch.int64)


def stored(x):
    flat = x.detach().reshape(-1)
    step = max(1, -(-flat.numel() // STORED))
    return {"shape": list(x.shape), "step": step, "values": [float(f"{v:.9g}") for v in flat[::step].tolist()]}


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def case(operation, shapes, run, options=None, centers=None, labels=None, more=None):
    """Runs `run(*inputs)` forward and backward. `more()` returns further results to store."""
    centers = centers or [0] * len(shapes)
    inputs = [numbers(s, salt, c).requires_grad_() for salt, (s, c) in enumerate(zip(shapes, centers))]
    output = run(*inputs)
    (output * numbers(tuple(output.shape), 99)).sum().backward()
    entry = {
        "operation": operation,
        "options": options or {},
        "inputs": [{"shape": list(s), "center": c} for s, c in zip(shapes, centers)],
        "output": stored(output),
        "gradients": [stored(x.grad) for x in inputs],
    }
    if labels is not None:
        entry["labels"] = labels
    if more is not None:
        entry["more"] = {name: stored(value) for name, value in more().items()}
    return entry


def matmul(m, k, n, ta, tb):
    run = lambda a, b: (a.T if ta else a) @ (b.T if tb else b)
    shapes = [(k, m) if ta else (m, k), (n, k) if tb else (k, n)]
    return case("matmul", shapes, run, {"transposeA": ta, "transposeB": tb})


def conv2d(n, h, w, c, o, kh, kw, stride, padding):
    run = lambda x, k: nhwc(F.conv2d(nchw(x), nchw(k), stride=stride, padding=padding))
    return case("conv2d", [(n, h, w, c), (o, kh, kw, c)], run, {"stride": stride, "padding": padding})


def pool(operation, shape, size, stride, padding):
    function = F.max_pool2d if operation == "maxPool2d" else F.avg_pool2d
    run = lambda x: nhwc(function(nchw(x), size, stride, padding))
    return case(operation, [shape], run, {"size": size, "stride": stride, "padding": padding})


def batch_norm(shape, momentum, epsilon):
    channels = shape[-1]
    mean, variance = numbers((channels,), 3), numbers((channels,), 4, 2)

    def run(x, gamma, beta):
        flat = F.batch_norm(x.reshape(-1, channels), mean, variance, gamma, beta, True, momentum, epsilon)
        return flat.reshape(shape)

    return case("batchNorm", [shape, (channels,), (channels,)], run, {"momentum": momentum, "epsilon": epsilon},
                more=lambda: {"runningMean": mean, "runningVariance": variance})


def batch_norm_inference(shape, epsilon):
    channels = shape[-1]
    mean, variance = numbers((channels,), 3), numbers((channels,), 4, 2)
    run = lambda x, gamma, beta: F.batch_norm(x.reshape(-1, channels), mean, variance, gamma, beta, False, 0.1,
                                              epsilon).reshape(shape)
    return case("batchNormInference", [shape, (channels,), (channels,)], run, {"epsilon": epsilon})


def cross_entropy(rows, classes, smoothing):
    run = lambda x: F.cross_entropy(x, labels_of(rows, 50, classes), label_smoothing=smoothing)
    return case("crossEntropy", [(rows, classes)], run, {"smoothing": smoothing}, labels=classes)


def embedding(ids, rows, width):
    picked = labels_of(math.prod(ids), 50, rows).reshape(ids)
    return case("embedding", [(rows, width)], lambda table: F.embedding(picked, table), {"ids": list(ids)}, labels=rows)


def layer_norm(shape, learned, epsilon):
    width = (shape[-1],)
    run = lambda x, *rest: F.layer_norm(x, width, *(rest or (None, None)), eps=epsilon)
    return case("layerNorm", [shape, *([width, width] if learned else [])], run, {"epsilon": epsilon})


def rms_norm(shape, learned, epsilon):
    run = lambda x, *gamma: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * (gamma[0] if gamma else 1)
    return case("rmsNorm", [shape, *([(shape[-1],)] if learned else [])], run, {"epsilon": epsilon})


def rotary(shape, base):
    half = shape[-1] // 2
    angles = torch.arange(shape[1], dtype=torch.float64)[:, None] * base ** (-torch.arange(half).double() / half)
    turn = torch.polar(torch.ones_like(angles), angles)[None, :, None]

    def run(x):
        turned = torch.complex(x[..., :half], x[..., half:]) * turn
        return torch.cat([turned.real, turned.imag], -1)

    return case("rotary", [shape], run, {"base": base})


def attention(shape, scale):
    length = shape[1]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)

    def run(q, k, v):
        scores = torch.einsum("nqhd,nkhd->nhqk", q, k) * scale
        return torch.einsum("nhqk,nkhd->nqhd", scores.masked_fill(future, -math.inf).softmax(-1), v)

    return case("causalAttention", [shape] * 3, run, {"scale": scale})


def reduction(operation, shape, axes):
    function = getattr(torch, operation)
    run = (lambda x: function(x)) if axes is None else lambda x: function(x, dim=axes)
    return case(operation, [shape], run, {} if axes is None else {"axes": list(axes)})


UNARY = {"exp": 0, "log": 1.5, "sqrt": 1.5, "square": 0, "tanh": 0, "sigmoid": 0, "relu": 0, "gelu": 0, "silu": 0}
BINARY = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div}
BROADCASTS = [((1,), (1,)), ((7,), (7,)), ((3, 5, 9), (9,)), ((17,), (2, 17)), ((2, 33), ()), ((), (8,)),
              ((2, 3, 1), (3, 1))]

CASES = [
    *[matmul(m, k, n, ta, tb)
      for ta in (False, True) for tb in (False, True)
      for m, k, n in ((1, 1, 1), (7, 9, 8), (15, 17, 16), (31, 1, 33), (1, 257, 5), (33, 31, 17))],
    conv2d(1, 1, 1, 1, 1, 1, 1, 1, 0),
    conv2d(2, 5, 7, 3, 16, 3, 3, 1, 1),
    conv2d(1, 8, 6, 1, 17, 5, 5, 1, 2),
    conv2d(2, 9, 7, 16, 3, 3, 3, 2, 1),
    conv2d(1, 7, 9, 17, 16, 1, 1, 1, 0),
    conv2d(2, 8, 9, 3, 17, 1, 1, 2, 0),
    conv2d(1, 10, 11, 3, 3, 3, 3, 3, 2),
    conv2d(1, 11, 8, 16, 1, 1, 1, 3, 1),
    conv2d(1, 7, 8, 3, 7, 5, 3, 2, 2),
    conv2d(1, 6, 5, 1, 1, 3, 5, 1, 0),
    conv2d(3, 5, 5, 2, 9, 5, 5, 3, 0),
    *[pool(operation, *arguments)
      for operation in ("maxPool2d", "averagePool2d")
      for arguments in (((1, 1, 1, 1), 1, 1, 0), ((2, 4, 6, 3), 2, 2, 0), ((1, 7, 5, 17), 3, 2, 1),
                        ((1, 6, 7, 1), 3, 1, 1), ((2, 9, 8, 2), 2, 3, 0), ((1, 5, 4, 8), 2, 1, 1))],
    batch_norm((2, 1), 0.1, 1e-5),
    batch_norm((31, 7), 0.25, 1e-5),
    batch_norm((2, 3, 5, 17), 0.1, 1e-3),
    batch_norm((5, 33), 1.0, 1e-5),
    batch_norm_inference((1, 1), 1e-5),
    batch_norm_inference((2, 3, 5, 17), 1e-3),
    *[case("logSoftmax", [shape], lambda x: F.log_softmax(x, -1)) for shape in ((1,), (7,), (5, 33), (2, 3, 10))],
    *[cross_entropy(*arguments)
      for arguments in ((1, 1, 0), (1, 7, 0), (9, 10, 0), (17, 33, 0.1), (8, 5, 1), (3, 257, 0.25))],
    *[embedding(*arguments) for arguments in (((7,), 1, 1), ((3, 5), 9, 16), ((40,), 17, 33), ((), 4, 8))],
    *[layer_norm(*arguments) for arguments in (((7,), False, 1e-5), ((5, 33), True, 1e-5), ((2, 3, 128), False, 1e-3),
                                               ((40, 344), True, 1e-5))],
    *[rms_norm(*arguments) for arguments in (((7,), False, 1e-5), ((5, 33), True, 1e-5), ((2, 3, 128), False, 1e-3),
                                             ((40, 344), True, 1e-5))],
    *[rotary(*arguments) for arguments in (((1, 1, 1, 2), 1e4), ((2, 9, 3, 16), 1e4), ((1, 70, 1, 18), 5e5))],
    # The shapes have one or several blocks of queries and of keys. Head sizes include odd ones and the largest one.
    *[attention(*arguments)
      for arguments in (((1, 1, 1, 1), 1), ((2, 7, 3, 16), 0.25), ((1, 130, 2, 32), 0.2), ((1, 300, 1, 33), 2),
                        ((1, 530, 1, 8), 4), ((1, 20, 1, 256), 0.5))],
    *[case("swiglu", [shape, shape], lambda gate, up: F.silu(gate) * up, centers=[center, 0])
      for shape, center in (((1,), 0), ((9,), -3), ((3, 35), 2))],
    *[reduction(operation, shape, axes)
      for operation in ("sum", "mean")
      for shape, axes in (((1,), None), ((257,), None), ((3, 5, 7), None), ((3, 5, 7), (0,)), ((3, 5, 7), (1,)),
                          ((3, 5, 7), (2,)), ((3, 5, 7), (0, 1)), ((3, 5, 7), (1, 2)), ((2, 3, 4, 5), (1, 2)))],
    *[case(name, [(count,)], getattr(torch, name, None) or getattr(F, name), centers=[center])
      for name, center in UNARY.items() for count in (1, 9, 31)],
    *[case("affine", [(count,)], lambda x: x * 1.75 - 0.375, {"scale": 1.75, "shift": -0.375}) for count in (1, 15)],
    # The divisor is from 0.5 to 2.5.
    *[case(name, list(shapes), function, centers=[0, 1.5 if name == "divide" else 0])
      for name, function in BINARY.items() for shapes in BROADCASTS],
]

path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in CASES) + "\n]\n")
print(f"{len(CASES)} cases, {path.stat().st_size} bytes")
