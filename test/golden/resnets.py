"""Writes resnets.json: PyTorch's results for residual networks in torchvision's shapes, with computed weights.

Needs torch (1.13 was used) and numpy. Run from the repository's root: python3 test/golden/resnets.py

The modules have the names of torchvision (torchvision/models/resnet.py), so the tensors have the names and shapes of its
weight files. `tensors` lists them, and the script checks the numbers of parameters. Weights are too large for a file of
the repository. The k-th tensor of a network has hashed numbers with salt 10 + k (hashed.py), scaled so that every layer
matters for the result. All results are in float64, and images are NHWC.

- `networks`: logits in evaluation mode, and the mean square after the stem and after each stage, which shows where a
  difference begins.
- `training`: a ResNet-18 with the stem for small images in training mode. It has the loss, and for each tensor the norm of
  the gradient and its product with hashed numbers, which together detect any wrong element. Convolutions are
  [outputs, height, width, inputs].
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

from hashed import labels, numbers

torch.set_num_threads(2)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride, downsample):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def residual(self, x):
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    def forward(self, x):
        return F.relu(self.residual(x) + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(BasicBlock):
    expansion = 4

    def __init__(self, inputs, width, stride, downsample):
        nn.Module.__init__(self)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = downsample

    def residual(self, x):
        inner = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return self.bn3(self.conv3(inner))


class ResNet(nn.Module):
    def __init__(self, block, blocks, classes, small_images, width=64):
        super().__init__()
        kernel, stride = (3, 1) if small_images else (7, 2)
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, 2, 1)
        self.stages = len(blocks)
        inputs = width
        for stage, count in enumerate(blocks):
            layers = []
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                inner = width * 2**stage
                outputs = inner * block.expansion
                downsample = None
                if stride != 1 or inputs != outputs:
                    downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
                layers.append(block(inputs, inner, stride, downsample))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, classes)

    def features(self, x):
        """Returns the values after the stem and after each stage."""
        found = [self.maxpool(F.relu(self.bn1(self.conv1(x))))]
        for stage in range(self.stages):
            found.append(getattr(self, f"layer{stage + 1}")(found[-1]))
        return found

    def forward(self, x):
        return self.fc(self.features(x)[-1].mean((2, 3)))


def tensors_of(model):
    """Returns parameters and running statistics by name, without the counters of batches."""
    return {name: t for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def fill(model):
    """Fills all tensors with hashed numbers in (-1, 1), scaled and shifted by the kind of tensor."""
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    for k, (name, tensor) in enumerate(tensors_of(model).items()):
        values = torch.tensor(numbers(tensor.numel(), 10 + k), dtype=torch.float64).reshape(tensor.shape)
        layer, kind = name.rsplit(".", 1)
        if tensor.dim() > 1:
            fan_in = tensor.numel() // tensor.shape[0]
            values = values * 2.0 ** round(math.log2(math.sqrt(3 / fan_in)))
        elif kind == "running_var" or (kind == "weight" and layer in norms):
            values = 1 + values / 2
        else:
            values = values / 4
        tensor.copy_(values)
    return model


def images(shape, salt):
    """Returns images, converted from NHWC to NCHW."""
    values = torch.tensor(numbers(math.prod(shape), salt), dtype=torch.float64).reshape(shape)
    return values.permute(0, 3, 1, 2).contiguous()


def network(name, block, blocks, classes, small_images, count, shapes, width=64):
    model = fill(ResNet(block, blocks, classes, small_images, width).double()).eval()
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == count, (name, parameters)
    results = []
    for shape in shapes:
        x = images(shape, 1000)
        with torch.no_grad():
            squares = [float((stage**2).mean()) for stage in model.features(x)]
            logits = model(x).reshape(-1)
        # Of a thousand logits every 25th is stored, to keep the file small. An error would show in these too.
        every = math.ceil(classes / 40)
        results.append({"shape": shape, "squares": squares, "every": every, "logits": logits[::every].tolist()})
    return {
        "name": name,
        "classes": classes,
        "stem": "cifar" if small_images else "imagenet",
        "parameters": count,
        "tensors": [[name, list(t.shape)] for name, t in tensors_of(model).items()],
        "results": results,
    }


def inputs_last(tensor):
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def training(shape):
    model = fill(ResNet(BasicBlock, [2, 2, 2, 2], 10, True).double())
    loss = F.cross_entropy(model(images(shape, 1000)), torch.tensor(labels(shape[0], 2000, 10)))
    loss.backward()
    gradients = []
    for name, parameter in model.named_parameters():
        flat = inputs_last(parameter.grad).reshape(-1)
        product = flat @ torch.tensor(numbers(flat.numel(), 99), dtype=torch.float64)
        gradients.append([name, float(flat.norm()), float(product)])
    return {"shape": shape, "loss": float(loss), "gradients": gradients}


# The sides differ, so that an exchange of rows and columns shows. 224 is the size of ImageNet's images.
SMALL, LARGE, FULL = [2, 32, 24, 3], [2, 64, 48, 3], [1, 224, 224, 3]
NETWORKS = [
    network("resnet18", BasicBlock, [2, 2, 2, 2], 1000, False, 11_689_512, [LARGE, FULL]),
    network("resnet34", BasicBlock, [3, 4, 6, 3], 1000, False, 21_797_672, [LARGE]),
    network("resnet50", Bottleneck, [3, 4, 6, 3], 1000, False, 25_557_032, [LARGE]),
    network("resnet18", BasicBlock, [2, 2, 2, 2], 10, True, 11_173_962, [SMALL]),
    network("resnet34", BasicBlock, [3, 4, 6, 3], 10, True, 21_282_122, [SMALL]),
    network("resnet50", Bottleneck, [3, 4, 6, 3], 10, True, 23_520_842, [SMALL]),
    network("resnet20", BasicBlock, [3, 3, 3], 10, True, 272_474, [SMALL], width=16),
]
lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in NETWORKS)
text = f'{{"networks": [\n{lines}\n],\n"training": {json.dumps(training([4, 16, 12, 3]))}}}\n'
pathlib.Path(__file__).with_suffix(".json").write_text(text)
