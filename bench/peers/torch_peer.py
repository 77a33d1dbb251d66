"""
The benchmark's cases in PyTorch. Reads lines `case repetitions`, answers with milliseconds per pass.

A case is one of the names below, or an optimizer's step as JSON: {"optimizer": "AdamW", "options": {"lr": 1e-6},
"dtype": "float32", "device": "cpu", "shapes": [[10], [3, 4]]}. Its answer is {"milliseconds": on the device's clock,
"wall": on the host's, "kind": which implementation}.
"""
import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)


def stepper(model, images, labels, optimizer):
    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


class Optimizer:
    """A step over tensors of these shapes: fused where this version and device have it, else what is the default."""

    def __init__(self, optimizer, options, dtype, device, shapes):
        made = {"dtype": getattr(torch, dtype), "device": device}
        parameters = [(2 * torch.rand(shape, **made) - 1).requires_grad_() for shape in shapes]
        for parameter in parameters:
            parameter.grad = 2 * torch.rand_like(parameter) - 1
        for self.kind in ("fused", "default"):
            try:
                more = {"fused": True} if self.kind == "fused" else {}
                self.step = getattr(torch.optim, optimizer)(parameters, **options, **more).step
                self.step()
                break
            except (TypeError, RuntimeError, ValueError):
                if self.kind == "default":
                    raise
        self.on_gpu = device != "cpu"
        if self.on_gpu:
            bytes_of_cache = torch.cuda.get_device_properties(device).L2_cache_size
            self.scrub = torch.zeros(2 * bytes_of_cache // 4, device=device)

    def seconds(self, repetitions):
        begin = time.perf_counter()
        for _ in range(repetitions):
            self.step()
        if self.on_gpu:
            torch.cuda.synchronize()
        return (time.perf_counter() - begin) / repetitions

    def event_milliseconds(self, repetitions):
        """Each repetition by itself, behind so much other work that the device never waits for the host."""
        begin = time.perf_counter()
        self.step()
        host = time.perf_counter() - begin
        torch.cuda.synchronize()
        begin = time.perf_counter()
        self.scrub.fill_(1)
        torch.cuda.synchronize()
        scrubs = min(200, 1 + int(2 * host / (time.perf_counter() - begin)))
        pairs = []
        for _ in range(repetitions):
            for value in range(scrubs):
                self.scrub.fill_(value)
            pair = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            pair[0].record()
            self.step()
            pair[1].record()
            pairs.append(pair)
        torch.cuda.synchronize()
        return sum(start.elapsed_time(end) for start, end in pairs) / repetitions

    def answer(self, repetitions):
        wall = self.seconds(repetitions) * 1e3
        milliseconds = self.event_milliseconds(repetitions) if self.on_gpu else wall
        return json.dumps({"milliseconds": milliseconds, "wall": wall, "kind": self.kind})


def mlp():
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return stepper(model, torch.randn(128, 784), torch.randint(0, 10, (128,)), optimizer)


class GlobalMean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def cnn(layout):
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False), nn.ReLU(),
        GlobalMean(), nn.Linear(64, 10),
    ).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(64, 3, 32, 32).to(memory_format=layout)
    return stepper(model, images, torch.randint(0, 10, (64,)), optimizer)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


def resnet8(layout):
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2), GlobalMean(), nn.Linear(64, 10),
    ).to(memory_format=layout)
    images = torch.randn(128, 1, 28, 28).to(memory_format=layout)
    return stepper(model, images, torch.randint(0, 10, (128,)), torch.optim.AdamW(model.parameters(), lr=1e-3))


def adamw(tensors, size):
    return Optimizer("AdamW", {"lr": 1e-3}, "float32", "cpu", [[size]] * tensors).step


cases = {
    "adamw-1x10M": lambda: adamw(1, 10_000_000),
    "adamw-100x100k": lambda: adamw(100, 100_000),
    "mlp": mlp,
    "cnn": lambda: cnn(torch.contiguous_format),
    "cnn-channels-last": lambda: cnn(torch.channels_last),
    "resnet8": lambda: resnet8(torch.contiguous_format),
    "resnet8-channels-last": lambda: resnet8(torch.channels_last),
}
made = {}
optimizer = (None, None)
for line in sys.stdin:
    case, repeats = line.rsplit(None, 1)
    if case.startswith("{"):
        if optimizer[0] != case:
            # Only one at a time: each may be large.
            optimizer = (None, None)
            optimizer = (case, Optimizer(**json.loads(case)))
        print(optimizer[1].answer(int(repeats)), flush=True)
        continue
    if case not in made:
        made[case] = cases[case]()
    step = made[case]
    step()
    begin = time.perf_counter()
    for _ in range(int(repeats)):
        step()
    print((time.perf_counter() - begin) * 1e3 / int(repeats), flush=True)
