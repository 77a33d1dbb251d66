"""Writes optimizers.json: parameters after steps of PyTorch's optimizers, and clipped gradients, all in float64.

PyTorch has no Lion. This file implements it from its paper.

Needs torch (1.13 was used) and numpy. Run from the repository's root: python3 test/golden/optimizers.py

Parameters and gradients are hashed numbers (hashed.py), so only results are stored. Nine elements are enough, because
the rules are elementwise. The float64 reference that the tests use for all other sizes is checked against this file.
"""

import json
import pathlib

import torch

from hashed import numbers

STEPS = 20
STORED = (1, 2, STEPS)
COUNT = 9


def initial(count, salt=1):
    return torch.tensor(numbers(count, salt, 1.5), dtype=torch.float64, requires_grad=True)


def gradient(count, step, salt=100):
    """Returns magnitudes over seven powers of two, so that momentum, decay and epsilon matter differently by element."""
    scale = 2.0 ** (torch.arange(count) % 7 - 4)
    return torch.tensor(numbers(count, salt + step), dtype=torch.float64) * scale


NAMES = {"weightDecay": "weight_decay", "epsilon": "eps"}


def torch_options(options):
    return {NAMES.get(name, name): value for name, value in options.items()}


def rounded(tensor):
    return [float(value) for value in tensor.detach()]


class Lion(torch.optim.Optimizer):
    """Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, algorithm 2, line by line."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0, maximize=False):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for theta in group["params"]:
                m = self.state[theta].setdefault("m", torch.zeros_like(theta))
                g = -theta.grad if group["maximize"] else theta.grad
                c = torch.lerp(g, m, beta1)
                theta.sub_(group["lr"] * (torch.sign(c) + group["weight_decay"] * theta))
                m.copy_(torch.lerp(g, m, beta2))


def run(optimizer, options, rates=None, momenta=None):
    parameter = initial(COUNT)
    rule = Lion if optimizer == "Lion" else getattr(torch.optim, optimizer)
    torch_optimizer = rule([parameter], **torch_options(options))
    stored = []
    for step in range(STEPS):
        group = torch_optimizer.param_groups[0]
        if rates:
            group["lr"] = rates[step]
        if momenta:
            group["momentum"] = momenta[step]
        parameter.grad = gradient(COUNT, step)
        torch_optimizer.step()
        if step + 1 in STORED:
            stored.append(rounded(parameter))
    entry = {"optimizer": optimizer, "options": options, "parameters": stored}
    if rates:
        entry["rates"] = rates
    if momenta:
        entry["momenta"] = momenta
    return entry


SGD = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3},
    {"momentum": 0.9, "nesterov": True},
    {"weightDecay": 0.1},
    {"maximize": True},
    {"dampening": 0.5},
    {"momentum": 0.5, "weightDecay": 0.1},
    {"momentum": 0.9, "dampening": -0.2, "weightDecay": 0.05, "maximize": True},
    {"momentum": 0.8, "nesterov": True, "weightDecay": 0.1, "maximize": True},
]
# With the usual second beta, the second moment rarely falls within 20 steps. With 0.8, AMSGrad's maximum matters.
ADAM = [
    {},
    {"amsgrad": True, "betas": [0.9, 0.8]},
    {"maximize": True},
    {"weightDecay": 0.3},
    {"weightDecay": 0},
    {"betas": [0.8, 0.95]},
    {"betas": [0, 0.9]},
    {"betas": [0.9, 0]},
    {"betas": [0, 0]},
    {"epsilon": 1e-2},
    {"epsilon": 0},
    {"betas": [0.7, 0.8], "epsilon": 1e-3, "weightDecay": 0.1, "amsgrad": True, "maximize": True},
]
LION = [
    {},
    {"weightDecay": 0.3},
    {"maximize": True, "weightDecay": 0.1},
    {"betas": [0.95, 0.98]},
    {"betas": [0, 0.9]},
    {"betas": [0.9, 0]},
    {"betas": [0, 0]},
]
RATES = [0.05 * (1 - step / STEPS) ** 0.5 for step in range(STEPS)]
MOMENTA = [0.95 - 0.1 * (1 - abs(2 * step / (STEPS - 1) - 1)) for step in range(STEPS)]


def groups():
    """Trains three parameters with different options in one optimizer."""
    options = [{"weightDecay": 0.1}, {"lr": 0.002, "betas": [0.8, 0.9]}, {"maximize": True, "weightDecay": 0}]
    sizes = [3, 4, 2]
    parameters = [initial(size, 10 + i) for i, size in enumerate(sizes)]
    rows = [{"params": [parameter], **torch_options(o)} for parameter, o in zip(parameters, options)]
    optimizer = torch.optim.AdamW(rows, lr=0.01)
    for step in range(STEPS):
        for i, parameter in enumerate(parameters):
            parameter.grad = gradient(sizes[i], step, 1000 * (i + 1))
        optimizer.step()
    return {"options": options, "lr": 0.01, "parameters": [rounded(parameter) for parameter in parameters]}


def clipping(max_norm):
    """Returns the norm of the gradients of three tensors, and the gradients after clip_grad_norm_."""
    parameters = [initial(size) for size in (5, 1, 30)]
    for i, parameter in enumerate(parameters):
        parameter.grad = gradient(len(parameter), i)
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return {"maxNorm": max_norm, "norm": float(norm), "gradients": [rounded(p.grad) for p in parameters]}


GOLDEN = {
    "stored": STORED,
    "runs": [
        *(run("SGD", {"lr": 0.05, **options}) for options in SGD),
        *(run(name, {"lr": 0.01, **options}) for name in ("Adam", "AdamW") for options in ADAM),
        *(run("Lion", {"lr": 0.01, **options}) for options in LION),
        run("SGD", {"lr": 0, "momentum": 0.9}, RATES),
        run("AdamW", {"lr": 0}, RATES),
        run("Lion", {"lr": 0, "weightDecay": 0.1}, RATES),
        run("SGD", {"lr": 0, "momentum": 0.9, "nesterov": True}, RATES, MOMENTA),
    ],
    "groups": groups(),
    "clipping": [clipping(max_norm) for max_norm in (0.5, 3.0, 1000.0)],
}

lines = ["{", f'"stored": {json.dumps(GOLDEN["stored"])},', '"runs": [']
lines.append(",\n".join(json.dumps(entry) for entry in GOLDEN["runs"]))
lines += ["],", f'"groups": {json.dumps(GOLDEN["groups"])},', '"clipping": [']
lines.append(",\n".join(json.dumps(entry) for entry in GOLDEN["clipping"]))
lines += ["]", "}"]
pathlib.Path(__file__).with_suffix(".json").write_text("\n".join(lines) + "\n")
