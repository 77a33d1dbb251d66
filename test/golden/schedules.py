"""Writes schedules.json: learning rates from PyTorch's schedulers, and UBA computed with 60 digits.

Needs torch (1.13 was used) and mpmath. Run from the repository's root: python3 test/golden/schedules.py
"""

import json
import pathlib

import torch
from mpmath import mp, mpf
from torch.optim import lr_scheduler as lrs


def run(make, budget, lr=0.1, momentum=None):
    """Returns the rates and momenta that the scheduler of `make(optimizer)` sets for each of `budget` steps."""
    settings = {} if momentum is None else {"momentum": momentum}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, **settings)
    scheduler = make(optimizer)
    rates, momenta = [], []
    for step in range(budget):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        # One-cycle refuses a step after its last one.
        if step < budget - 1:
            scheduler.step()
    return (rates, momenta) if momentum is not None else (rates, None)


def case(torch_name, name, options, make, momentum=None, base=None):
    rates, momenta = run(make, options["budget"], base or options["maxLr"], momentum)
    entry = {"torch": torch_name, "name": name, "options": options, "rates": rates}
    if momenta is not None:
        entry["momenta"] = momenta
    return entry


def one_cycle(budget, rise, arms, **extra):
    options = {"budget": budget, "maxLr": 0.3, "riseFraction": rise, "arms": arms, "cycleMomentum": True, **extra}
    strategy = {"cosine": "cos", "linear": "linear"}[arms]
    divisors = {k: extra[v] for k, v in (("div_factor", "initialDivisor"), ("final_div_factor", "finalDivisor")) if v in extra}
    make = lambda o: lrs.OneCycleLR(o, 0.3, total_steps=budget, pct_start=rise, anneal_strategy=strategy, **divisors)
    return case("OneCycleLR", "one-cycle", options, make, momentum=0.9)


CASES = [
    case("StepLR", "step", {"budget": 40, "maxLr": 0.1, "milestones": [0.25, 0.5, 0.75], "gamma": 0.3},
         lambda o: lrs.StepLR(o, 10, gamma=0.3)),
    case("MultiStepLR", "step", {"budget": 40, "maxLr": 0.1},
         lambda o: lrs.MultiStepLR(o, [20, 30], gamma=0.1)),
    case("ExponentialLR", "exponential", {"budget": 30, "maxLr": 0.1, "endLr": 0.002},
         lambda o: lrs.ExponentialLR(o, (0.002 / 0.1) ** (1 / 30))),
    case("PolynomialLR", "polynomial", {"budget": 30, "maxLr": 0.1, "power": 2.5},
         lambda o: lrs.PolynomialLR(o, total_iters=30, power=2.5)),
    case("PolynomialLR", "polynomial", {"budget": 30, "maxLr": 0.1},
         lambda o: lrs.PolynomialLR(o, total_iters=30, power=0.9)),
    case("LinearLR", "linear", {"budget": 30, "maxLr": 0.1},
         lambda o: lrs.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=30)),
    case("LinearLR", "linear", {"budget": 30, "maxLr": 0.1, "minLr": 0.02},
         lambda o: lrs.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=30)),
    case("CosineAnnealingLR", "cosine", {"budget": 30, "maxLr": 0.1, "minLr": 0.01},
         lambda o: lrs.CosineAnnealingLR(o, 30, eta_min=0.01)),
    case("CosineAnnealingWarmRestarts", "cosine-restarts",
         {"budget": 50, "maxLr": 0.1, "minLr": 0.01, "firstPeriod": 5, "periodFactor": 2},
         lambda o: lrs.CosineAnnealingWarmRestarts(o, 5, T_mult=2, eta_min=0.01)),
    case("CosineAnnealingWarmRestarts", "cosine-restarts",
         {"budget": 40, "maxLr": 0.1, "firstPeriod": 7, "periodFactor": 1},
         lambda o: lrs.CosineAnnealingWarmRestarts(o, 7, T_mult=1)),
    case("CosineAnnealingWarmRestarts", "cosine-restarts",
         {"budget": 60, "maxLr": 0.1, "firstPeriod": 4, "periodFactor": 3},
         lambda o: lrs.CosineAnnealingWarmRestarts(o, 4, T_mult=3)),
    case("CyclicLR", "cyclical", {"budget": 40, "maxLr": 0.1, "minLr": 0.01, "period": 14},
         lambda o: lrs.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=7, cycle_momentum=False), base=0.01),
    case("CyclicLR", "cyclical", {"budget": 20, "maxLr": 0.1, "minLr": 0.01, "period": 5},
         lambda o: lrs.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=2.5, cycle_momentum=False), base=0.01),
    one_cycle(40, 0.3, "cosine"),
    one_cycle(37, 0.3, "linear"),
    one_cycle(25, 0.45, "cosine", initialDivisor=10, finalDivisor=100),
    one_cycle(3, 0.3, "linear"),
]


def uba_points():
    """Returns rows [step, T, phi, f]. f is the published formula, rounded once from 60 digits."""
    mp.dps = 60
    points = []
    for budget in (1, 2, 7, 1000, 10**5, 10**8):
        for step in sorted({0, 1, budget // 3, budget // 2, budget - 2, budget - 1} & set(range(budget))):
            for phi in (1e-3, 0.37, 1.0, 2.0, 40.0, 1e4, 1e17):
                c = mp.cos((2 * step + 1) * mp.pi / (2 * budget))
                f = 2 * (1 + c) / (2 * mpf(phi) + (2 - mpf(phi)) * (1 + c))
                points.append([step, budget, phi, float(f)])
    return points


if __name__ == "__main__":
    rows = lambda entries: "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]"
    text = f'{{"torch": {rows(CASES)},\n"uba": {rows(uba_points())}}}\n'
    pathlib.Path(__file__).with_suffix(".json").write_text(text)
