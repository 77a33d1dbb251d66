"""Writes optimizer_steps.json: PyTorch's optimizers in unusual steps.

Needs torch (2.6 was used) and numpy. Run from the repository's root: python3 test/golden/optimizer_steps.py

All results are in float64. Gradients are hashed numbers (hashed.py). A NaN is written as null.
"""

import json
import math
import pathlib

import torch

from hashed import numbers

COUNT = 9


def initial(count, salt=1):
    return torch.tensor(numbers(count, salt, 1.5), dtype=torch.float64, requires_grad=True)


def gradient(count, step, salt=100):
    """Returns the gradient of test/optim/support/runs.ts: magnitudes over seven powers of two."""
    scale = 2.0 ** (torch.arange(count) % 7 - 4)
    return torch.tensor(numbers(count, salt + step), dtype=torch.float64) * scale


def values(tensor):
    return [None if math.isnan(value) else float(value) for value in tensor.detach()]


def amsgrad_with_nan(optimizer):
    """Returns the state after each of four steps. Element 2 of the second gradient is NaN."""
    parameter = initial(COUNT)
    rule = getattr(torch.optim, optimizer)([parameter], lr=0.01, betas=(0.9, 0.8), amsgrad=True)
    steps = []
    for step in range(4):
        parameter.grad = gradient(COUNT, step)
        if step == 1:
            parameter.grad[2] = math.nan
        rule.step()
        state = rule.state[parameter]
        steps.append({name: values(state[name]) for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")})
        steps[-1]["parameter"] = values(parameter)
    return {"optimizer": optimizer, "steps": steps}


def clipped(name, gradients, max_norm, scale=1.0):
    """Makes one step of SGD from zeros with rate 1, after scaling and clip_grad_norm_. Infinities are written as text."""
    parameters = [torch.zeros(len(one), dtype=torch.float64, requires_grad=True) for one in gradients]
    for parameter, one in zip(parameters, gradients):
        parameter.grad = torch.tensor(one, dtype=torch.float32).double() * scale
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    torch.optim.SGD(parameters, lr=1.0).step()
    text = [[value if math.isfinite(value) else str(value) for value in one] for one in gradients]
    return {
        **{"name": name, "gradients": text, "gradientScale": scale, "clipNorm": max_norm},
        **{"norm": norm if math.isfinite(norm) else str(norm), "parameters": [values(p) for p in parameters]},
    }


SMALLEST, LARGEST = 2.0**-149, 2.0**127 * (2 - 2.0**-23)  # float32's smallest and largest numbers
CLIPPING = [
    clipped("squares overflow", [[3e20, 4e20]], 1.0),
    clipped("squares overflow in one of several tensors", [[1.0, -2.0], [-3e30, 0.0], [5e29]], 2.0),
    clipped("the norm overflows", [[LARGEST] * 30, [-LARGEST] * 7], 1.0),
    clipped("the norm overflows, and the scale mends it", [[3e38, 3e38]], 1.0, 2.0**-100),
    clipped("squares underflow", [[3e-25, 4e-25]], 1.0, 1e25),
    clipped("squares underflow, negative scale", [[3e-30, -4e-30], [1e-30]], 0.5, -1e30),
    clipped("squares underflow and need no clipping", [[3e-25, 4e-25]], 10.0, 1e25),
    clipped("subnormal gradients", [[3e-40, 4e-40]], 1.0, 1e40),
    clipped("the least numbers", [[SMALLEST, -SMALLEST], [0.0, SMALLEST]], 1.0, 2.0**149),
    clipped("everything at once", [[1e-40, 1e-20, 1.0], [1e20, LARGEST, -1e-30]], 1.0),
    clipped("small beside large", [[1e-30] * 5, [1e-15, 2e-15]], 1e-3, 1e15),
    clipped("a clip norm that is tiny", [[3e20, 4e20]], 1e-20),
    clipped("zeros", [[0.0, 0.0], [0.0]], 1.0, 1e25),
    clipped("a NaN", [[1.0, math.nan, 2.0], [3.0]], 1.0),
    clipped("an infinity", [[1.0, math.inf, 2.0], [3.0]], 1.0),
    clipped("infinities of both signs", [[math.inf, 2.0], [-math.inf]], 1.0),
]


STEPS, STORED = 20, (8, 20)
# The steps in which each parameter has a gradient: all, late ones, two of three, and all but those while it is frozen.
SIZES = [9, 4, 5, 3]
TAKES_PART = [
    lambda step: True,
    lambda step: step >= 7,
    lambda step: step % 3 != 1,
    lambda step: step < 5 or step >= 12,
]
NAMES = {"weightDecay": "weight_decay", "epsilon": "eps"}


def torch_options(options):
    return {NAMES.get(name, name): value for name, value in options.items()}


class Lion(torch.optim.Optimizer):
    """Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, algorithm 2, line by line."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0, maximize=False):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for theta in (one for one in group["params"] if one.grad is not None):
                m = self.state[theta].setdefault("m", torch.zeros_like(theta))
                g = -theta.grad if group["maximize"] else theta.grad
                c = torch.lerp(g, m, beta1)
                theta.sub_(group["lr"] * (torch.sign(c) + group["weight_decay"] * theta))
                m.copy_(torch.lerp(g, m, beta2))


def come_and_go(optimizer, options, groups=None):
    """Trains parameters that lack gradients in some steps. `groups` has the options of single parameters, by index."""
    parameters = [initial(size, i + 1) for i, size in enumerate(SIZES)]
    rule = Lion if optimizer == "Lion" else getattr(torch.optim, optimizer)
    rows = [
        {"params": [parameter], **torch_options((groups or {}).get(i, {}))} for i, parameter in enumerate(parameters)
    ]
    made = rule(rows if groups else parameters, **torch_options(options))
    stored = []
    for step in range(STEPS):
        for i, parameter in enumerate(parameters):
            takes_part = TAKES_PART[i](step)
            parameter.grad = gradient(SIZES[i], step, 100 * (i + 1)) if takes_part else None
        made.step()
        if step + 1 in STORED:
            stored.append([values(parameter) for parameter in parameters])
    entry = {"optimizer": optimizer, "options": options, "parameters": stored}
    return {**entry, "groups": groups} if groups else entry


def stopped(optimizer, options, stop):
    """Returns the state after `stop` steps, rounded to float32, and the parameters after the remaining steps from there."""
    parameters = [initial(size, i + 1) for i, size in enumerate(SIZES)]
    made = getattr(torch.optim, optimizer)(parameters, **torch_options(options))
    entry = {"optimizer": optimizer, "options": options, "stop": stop}
    for step in range(STEPS):
        if step == stop:
            with torch.no_grad():
                state = {f"p{i}": made.state.get(parameter, {}) for i, parameter in enumerate(parameters)}
                tensors = [one for kept in state.values() for one in kept.values() if torch.is_tensor(one)]
                for tensor in [*parameters, *tensors]:
                    tensor.copy_(tensor.float().double())
                entry["start"] = [values(parameter) for parameter in parameters]
                # A parameter that had no gradient yet has no state. SGD has no step count.
                entry["state"] = {
                    f"{name}.{what}": [float(one)] if what == "step" else values(one)
                    for name, kept in state.items()
                    for what, one in kept.items()
                    if one is not None
                }
        for i, parameter in enumerate(parameters):
            takes_part = TAKES_PART[i](step)
            parameter.grad = gradient(SIZES[i], step, 100 * (i + 1)) if takes_part else None
        made.step()
    return {**entry, "end": [values(parameter) for parameter in parameters]}


GROUPS = {1: {"lr": 0.003, "weightDecay": 0.2}, 3: {"maximize": True}}
COME_AND_GO = [
    *(
        come_and_go("SGD", {"lr": 0.05, **options})
        for options in (
            {},
            {"momentum": 0.9},
            {"momentum": 0.9, "dampening": 0.3},
            {"momentum": 0.9, "nesterov": True},
            {"momentum": 0.8, "dampening": 0.5, "weightDecay": 0.1, "maximize": True},
        )
    ),
    *(
        come_and_go(name, {"lr": 0.01, **options})
        for name in ("Adam", "AdamW")
        for options in (
            {},
            {"amsgrad": True, "betas": [0.9, 0.8]},
            {"betas": [0.7, 0.8], "weightDecay": 0.1, "maximize": True},
        )
    ),
    come_and_go("Lion", {"lr": 0.01, "weightDecay": 0.1}),
    come_and_go("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}, GROUPS),
    come_and_go("AdamW", {"lr": 0.01}, {**GROUPS, 2: {"betas": [0.5, 0.9]}}),
]


def one_cycle(optimizer, options):
    """Trains with OneCycleLR, which cycles the first beta of Adam against the rate. Both are stored for each step."""
    parameter = initial(COUNT)
    made = getattr(torch.optim, optimizer)([parameter], **torch_options(options))
    schedule = torch.optim.lr_scheduler.OneCycleLR(made, max_lr=0.05, total_steps=STEPS, cycle_momentum=True)
    rates, momenta, stored = [], [], []
    for step in range(STEPS):
        group = made.param_groups[0]
        rates.append(float(group["lr"]))
        momenta.append(float(group["betas"][0]))
        parameter.grad = gradient(COUNT, step)
        made.step()
        schedule.step()
        if step + 1 in STORED:
            stored.append(values(parameter))
    return {
        **{"optimizer": optimizer, "options": options, "rates": rates, "momenta": momenta},
        **{"parameters": stored},
    }


GOLDEN = {
    "amsgradWithNan": [amsgrad_with_nan(optimizer) for optimizer in ("Adam", "AdamW")],
    "clipping": CLIPPING,
    "comeAndGo": COME_AND_GO,
    "stopped": [
        stopped(name, {"lr": 0.01, **options}, stop)
        for stop in (6, 11)
        for name, options in (
            ("SGD", {"momentum": 0.9, "dampening": 0.3}),
            ("Adam", {"amsgrad": True, "betas": [0.9, 0.8]}),
            ("AdamW", {"weightDecay": 0.1}),
        )
    ],
    "oneCycle": [
        one_cycle("Adam", {"lr": 0.01}),
        one_cycle("AdamW", {"lr": 0.01, "weightDecay": 0.1}),
        one_cycle("AdamW", {"lr": 0.01, "amsgrad": True, "betas": [0.9, 0.8]}),
    ],
}

sections = [f'"{name}": [\n' + ",\n".join(json.dumps(entry) for entry in GOLDEN[name]) + "\n]" for name in GOLDEN]
pathlib.Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(sections) + "\n}\n")
