"""Writes peer_schedules.json: rates of PyTorch's schedulers up to and after their last step, with three phases, and joined.

Needs torch (2.6 was used). Run from the repository's root: python3 test/golden/peer_schedules.py
"""

import json
import pathlib

import torch
from torch.optim import lr_scheduler as lrs


def run(make, steps, lr, momentum=None):
    """Returns the rates and momenta that the scheduler of `make(optimizer)` sets for steps 0 to `steps` - 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=momentum or 0)
    scheduler = make(optimizer)
    rates, momenta = [], []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return rates, momenta


def case(title, schedule, make, steps, lr, momentum=None):
    rates, momenta = run(make, steps, lr, momentum)
    return {"title": title, "schedule": schedule, "rates": rates, **({"momenta": momenta} if momentum else {})}


def one_cycle(budget, rise, arms, three_phase, name="one-cycle-momentum"):
    strategy = {"cosine": "cos", "linear": "linear"}[arms]
    schedule = {"name": name, "budget": budget, "maxLr": 0.3, "riseFraction": rise, "arms": arms, "threePhase": three_phase}
    make = lambda o: lrs.OneCycleLR(
        o, 0.3, total_steps=budget, pct_start=rise, anneal_strategy=strategy, three_phase=three_phase)
    return case(f"OneCycleLR, {arms}, pct_start {rise}, three_phase {three_phase}", schedule, make, budget, 0.1, 0.9)


def joined(*parts, **more):
    return {"name": "joined", "parts": list(parts), **more}


def part(name, budget, **more):
    return {"name": name, "budget": budget, "maxLr": 0.1, "convention": "peers", **more}


def warmed(make, w):
    """Makes a warm-up from 0 over w steps and then another scheduler, like transformers' get_*_schedule_with_warmup."""
    return lambda o: lrs.SequentialLR(
        o, [lrs.LambdaLR(o, lambda s: s / w), make(o)], milestones=[w])


def sequential(milestones, *makes):
    return lambda o: lrs.SequentialLR(o, [make(o) for make in makes], milestones=list(milestones))


cosine = lambda steps, end=0.0: lambda o: lrs.CosineAnnealingLR(o, steps, eta_min=end)
linear = lambda steps, end=0.0: lambda o: lrs.LinearLR(o, start_factor=1.0, end_factor=end, total_iters=steps)
constant = lambda steps: lambda o: lrs.ConstantLR(o, factor=1.0, total_iters=steps)
polynomial = lambda steps, power: lambda o: lrs.PolynomialLR(o, total_iters=steps, power=power)

CASES = [
    case("CosineAnnealingLR to step T_max", part("cosine", 30, minLr=0.002), cosine(30, 0.002), 31, 0.1),
    case("LinearLR past its end", part("linear", 30, minLr=0.02), linear(30, 0.2), 40, 0.1),
    case("PolynomialLR past its end", part("polynomial", 30, power=2.5), polynomial(30, 2.5), 40, 0.1),
    case("MultiStepLR past its end", part("step", 40, milestones=[0.5, 0.75]),
         lambda o: lrs.MultiStepLR(o, [20, 30], gamma=0.1), 50, 0.1),
    case("a warm-up from 0, then CosineAnnealingLR", part("cosine", 40, warmup=8), warmed(cosine(32), 8), 41, 0.1),
    case("a warm-up from 0, then LinearLR", part("linear", 40, warmup=5), warmed(linear(35), 5), 50, 0.1),
    case("a warm-up from 0, then ConstantLR", part("constant", 20, warmup=5), warmed(constant(15), 5), 30, 0.1),
    case("ConstantLR, then CosineAnnealingLR", part("cosine", 40, hold=12), sequential([12], constant(12), cosine(28)), 41, 0.1),
    *[one_cycle(budget, rise, arms, True)
      for budget, rise in ((40, 0.3), (50, 0.25), (31, 0.4), (20, 0.5)) for arms in ("cosine", "linear")],
    one_cycle(40, 0.3, "cosine", False),
    case("SequentialLR of three", joined(part("cosine", 12, minLr=0.01), part("linear", 10), part("polynomial", 20, power=2)),
         sequential([12, 22], cosine(12, 0.01), linear(10), polynomial(20, 2)), 45, 0.1),
    case("SequentialLR that cuts its parts short",
         joined(part("linear", 30), part("cosine", 25), boundaries=[10], budget=35),
         sequential([10], linear(30), cosine(25)), 35, 0.1),
]

path = pathlib.Path(__file__).with_name("peer_schedules.json")
path.write_text(json.dumps({"torch": torch.__version__, "cases": CASES}) + "\n")
