"""
The benchmark's cases in PyTorch. Reads lines `case repetitions` and answers with milliseconds per pass.

A case is one of the names below, or JSON of an optimizer's step, {"optimizer": "AdamW", "options": {"lr": 1e-6},
"dtype": "float32", "device": "cpu", "shapes": [[10], [3, 4]]}, or of an operation, {"operation": "add", "device": "cpu",
"inputs": [{"shape": [10], "dtype": "float32"}, …], "attributes": {}}, or of a model's training step (Training). The
answer is {"milliseconds": by the device's clock, "wall": by the host's clock, "kind": the implementation}.
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


class Timed:
    """Measures self.step() on the device that was given to self.prepare_device(device)."""

    kind = "default"

    def prepare_device(self, device):
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
        """Times each repetition separately, after enough other work that the device never waits for the host."""
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


class Optimizer(Timed):
    """A step over tensors of these shapes: fused if this version and device support it, otherwise the default."""

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
        self.prepare_device(device)


def rms_norm(x, gamma):
    if hasattr(F, "rms_norm"):
        return F.rms_norm(x, x.shape[-1:], gamma, 1e-5)
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * gamma


def images(*tensors):
    """Views tensors stored as NHWC and OHWI as NCHW and OIHW."""
    return [x.permute(0, 3, 1, 2) for x in tensors]


def convolution_backward(gradient, pixels, weights, window, wanted):
    sizes = [[window["stride"]] * 2, [window["padding"]] * 2]
    return torch.ops.aten.convolution_backward(
        gradient, pixels, weights, None, *sizes, [1, 1], False, [0, 0], 1, wanted)


def conv2d(x, w, window):
    x, w = images(x, w)
    return lambda: F.conv2d(x, w, stride=window["stride"], padding=window["padding"])


def conv2d_input_gradient(gradient, w, window):
    gradient, w = images(gradient, w)
    pixels = gradient.new_empty(gradient.shape[0], window["height"], window["width"], w.shape[1]).permute(0, 3, 1, 2)
    return lambda: convolution_backward(gradient, pixels, w, window, [True, False, False])


def conv2d_weight_gradient(x, gradient, window):
    x, gradient = images(x, gradient)
    w = x.new_empty(gradient.shape[1], window["height"], window["width"], x.shape[1]).permute(0, 3, 1, 2)
    return lambda: convolution_backward(gradient, x, w, window, [False, True, False])


def matmul(a, b, options):
    a = a.t() if options.get("transposeA") else a
    b = b.t() if options.get("transposeB") else b
    return lambda: a @ b


def gradient_of(forward, *inputs):
    """The backward pass of a function of the inputs, whose forward pass is not measured."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        result = forward(*leaves)
    gradient = torch.rand_like(result)
    return lambda: torch.autograd.grad(result, leaves, gradient, retain_graph=True)


def rotary(x):
    length, half = x.shape[1], x.shape[3] // 2
    angles = torch.outer(torch.arange(length), 1e4 ** (-torch.arange(half) / half))[:, None, :].to(x.device)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    def turn():
        a, b = x.chunk(2, -1)
        return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)

    return turn


def batch_norm(x, gamma, beta):
    return F.batch_norm(x, None, None, gamma.float(), beta.float(), training=True)


def max_pool(x, window):
    return F.max_pool2d(x, window["size"], window["stride"], window["padding"])


def causal_attention(q, k, v):
    heads = [x.transpose(1, 2) for x in (q, k, v)]
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(*heads, is_causal=True)
    q, k, v = heads
    length = q.shape[2]
    mask = torch.full((length, length), float("-inf"), device=q.device, dtype=q.dtype).triu(1)
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + mask, -1) @ v


# PyTorch's equivalents of the operations in lib/bench/operation-cases.ts.
operations = {
    "matmul": matmul,
    "linearGelu": lambda x, w, bias, _: lambda: F.gelu(F.linear(x, w, bias)),
    "conv2d": conv2d,
    "conv2dInputGradient": conv2d_input_gradient,
    "conv2dWeightGradient": conv2d_weight_gradient,
    "add": lambda a, b, _: lambda: a + b,
    "addRelu": lambda a, b, _: lambda: F.relu(a + b),
    "gelu": lambda x, _: lambda: F.gelu(x),
    "geluGradient": lambda x, g, _: lambda: torch.ops.aten.gelu_backward(g, x),
    "swiglu": lambda gate, up, _: lambda: F.silu(gate) * up,
    "swigluGradient": lambda gate, up, _g, _: gradient_of(lambda gate, up: F.silu(gate) * up, gate, up),
    "toFloat32": lambda x, _: lambda: x.float(),
    "dropout": lambda x, options: lambda: F.dropout(x, options["probability"]),
    "rotary": lambda x, _: rotary(x),
    "sumOfRows": lambda x, _: lambda: x.sum(0),
    "rmsNorm": lambda x, gamma, _: lambda: rms_norm(x, gamma),
    "rmsNormGradient": lambda x, _g, _i, gamma, _: gradient_of(rms_norm, x, gamma),
    "layerNorm": lambda x, gamma, beta, _: lambda: F.layer_norm(x, x.shape[-1:], gamma, beta),
    "layerNormGradient": lambda x, _g, _m, _i, gamma, _: gradient_of(
        lambda x, gamma, beta: F.layer_norm(x, x.shape[-1:], gamma, beta), x, gamma, torch.zeros_like(gamma)),
    "batchNorm": lambda x, gamma, beta, _m, _v, _: (lambda x: lambda: batch_norm(x, gamma, beta))(*images(x)),
    "batchNormGradient": lambda x, _g, gamma, _m, _i, _: gradient_of(
        batch_norm, *images(x), gamma, torch.zeros_like(gamma)),
    "maxPool2d": lambda x, window: (lambda x: lambda: max_pool(x, window))(*images(x)),
    "maxPool2dGradient": lambda g, _i, window: gradient_of(
        lambda x: max_pool(x, window),
        *images(torch.rand(g.shape[0], window["height"], window["width"], g.shape[3], device=g.device).to(g.dtype))),
    "crossEntropy": lambda logits, labels, _: (lambda labels: lambda: F.cross_entropy(logits, labels))(labels.long()),
    "crossEntropyGradient": lambda logits, labels, *_: gradient_of(
        lambda logits: F.cross_entropy(logits, labels.long()), logits),
    "attention": lambda q, k, v, _: lambda: causal_attention(q, k, v),
    "attentionGradient": lambda q, k, v, *_: gradient_of(causal_attention, q, k, v),
    "embedding": lambda ids, table, _: lambda: F.embedding(ids, table),
    "embeddingGradient": lambda ids, g, options: lambda: torch.ops.aten.embedding_dense_backward(
        g, ids, options["rows"], -1, False),
}


def draw_ids(ids, below, shape, device):
    """Ids that all occur equally often, or as in text: drawIds of lib/bench/ids.ts."""
    if ids == "uniform":
        return torch.randint(0, below, shape, device=device, dtype=torch.int32)
    weights = 1 / (torch.arange(below, dtype=torch.float64) + 3.7)
    count = 1
    for size in shape:
        count *= size
    return torch.multinomial(weights, count, replacement=True).reshape(shape).to(device, torch.int32)


class Operation(Timed):
    """One of `operations` without gradients."""

    def __init__(self, operation, device, inputs, attributes, float32Products="float32"):
        torch.backends.cuda.matmul.allow_tf32 = float32Products == "tf32"
        torch.backends.cudnn.allow_tf32 = float32Products == "tf32"

        def make(shape, dtype, below=None, ids="uniform"):
            if below is not None:
                return draw_ids(ids, below, shape, device)
            return 2 * torch.rand(shape, dtype=getattr(torch, dtype), device=device) - 1

        run = operations[operation](*[make(**one) for one in inputs], attributes)

        def step():
            with torch.no_grad():
                run()

        self.step = step
        self.step()
        self.prepare_device(device)


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


def resnet18(batch, side, classes):
    stages = [Block(inputs, outputs, stride) for inputs, outputs, stride in (
        (64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2),
        (512, 512, 1))]
    model = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *stages,
        GlobalMean(), nn.Linear(512, classes),
    ).to(memory_format=torch.channels_last)
    pixels = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last)
    return model, pixels, torch.randint(0, classes, (batch,))


class Decoder(nn.Module):
    """One block of the decoder in lib/models/olmo.ts."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.mix = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cosine, sine):
        def turn(y):
            a, b = y.chunk(2, -1)
            return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)

        q, k, v = self.mix(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        attended = causal_attention(turn(q), turn(k), v).transpose(1, 2).flatten(2)
        x = x + self.out(attended)
        gate, up = self.gate_up(self.norms[1](x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Olmo(nn.Module):
    def __init__(self, length, vocabulary, width, layers, heads, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Decoder(width, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        half = width // heads // 2
        angles = torch.outer(torch.arange(length), 1e4 ** (-torch.arange(half) / half))[:, None, :]
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cosine, self.sine)
        return F.linear(self.norm(x), self.embedding.weight).flatten(0, 1)


def olmo(batch, length, vocabulary, **shape):
    tokens = torch.randint(0, vocabulary, (batch, length))
    return Olmo(length, vocabulary, **shape), tokens, tokens.flatten()


class Training(Timed):
    """Forward, backward and a fused AdamW. The batch stays on the device. bf16 uses autocast."""

    def __init__(self, training, device, precision, compiled, sizes):
        model, inputs, labels = {"resnet18": resnet18, "olmo-36m": olmo}[training](**sizes)
        model, inputs, labels = model.to(device), inputs.to(device), labels.to(device)
        try:
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
        except (TypeError, RuntimeError, ValueError):
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)
        run = torch.compile(model) if compiled else model
        self.kind = "compiled" if compiled else "eager"

        def step():
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bf16"):
                loss = F.cross_entropy(run(inputs), labels)
            loss.backward()
            optimizer.step()

        self.step = step
        for _ in range(3):
            self.step()
        self.on_gpu = device != "cpu"

    def answer(self, repetitions):
        if self.on_gpu:
            torch.cuda.synchronize()
        wall = self.seconds(repetitions) * 1e3
        return json.dumps({"milliseconds": wall, "wall": wall, "kind": self.kind})


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
described = (None, None)
for line in sys.stdin:
    case, repeats = line.rsplit(None, 1)
    if case.startswith("{"):
        if described[0] != case:
            # Only one case is kept at a time, because each may be large.
            described = (None, None)
            description = json.loads(case)
            kinds = {"operation": Operation, "training": Training, "optimizer": Optimizer}
            kind = next(kinds[name] for name in kinds if name in description)
            described = (case, kind(**description))
        print(described[1].answer(int(repeats)), flush=True)
        continue
    if case not in made:
        made[case] = cases[case]()
    step = made[case]
    step()
    begin = time.perf_counter()
    for _ in range(int(repeats)):
        step()
    print((time.perf_counter() - begin) * 1e3 / int(repeats), flush=True)
