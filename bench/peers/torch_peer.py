"""The benchmark's cases in PyTorch. Reads lines `case repeats`, answers with milliseconds per pass."""
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


def adamw(tensors, size):
    parameters = [torch.zeros(size, requires_grad=True) for _ in range(tensors)]
    for parameter in parameters:
        parameter.grad = torch.full((size,), 0.01)
    return torch.optim.AdamW(parameters, lr=1e-3).step


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
for line in sys.stdin:
    case, repeats = line.split()
    if case not in made:
        made[case] = cases[case]()
    step = made[case]
    step()
    begin = time.perf_counter()
    for _ in range(int(repeats)):
        step()
    print((time.perf_counter() - begin) * 1e3 / int(repeats), flush=True)
