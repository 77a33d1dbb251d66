"""Values along a training run in float64, for resnet8.py and olmo.py.

- `free`: the losses of the run itself, from hashed weights (hashed.py).
- `checkpoints`: for each step, the weights before it, rounded to bfloat16, with the loss and all gradients at the rounded
  weights, computed in float64 and stored as float32. A bfloat16 is exact in float32, so Python and TypeScript start from
  the same numbers. Rounding moves the weights a little, which does not matter for the comparison.
- sums of gradients that are too large to store: the norm of each tensor and its product with hashed numbers. Together
  they detect any wrong element.

`loss_of(model, *batch)` is the loss to differentiate. `to_stepsize` converts a tensor to the layout of stepsize. `to_torch`
converts flat values back to the layout and shape of a given tensor.
"""

import copy
import json
import pathlib

import numpy as np
import torch

from hashed import numbers
from packed import encoded, from_bfloat16, to_bfloat16

STEPS = 20
BATCHES = 4  # used in turn, so that the losses fall


def rates_up_to(peak):
    """A linear decay to zero, multiplied by a warm-up over five steps."""
    return [peak * min(1, (step + 1) / 5) * (1 - step / STEPS) for step in range(STEPS)]


def loss_and_gradients(model, loss_of, given):
    model.zero_grad()
    loss = loss_of(model, *given)
    loss.backward()
    return loss


def checkpoint(model, loss_of, given, to_stepsize, to_torch):
    model = copy.deepcopy(model)
    weights = []
    for parameter in model.parameters():
        halves = to_bfloat16(to_stepsize(parameter.detach()).numpy().reshape(-1))
        weights.append(halves)
        parameter.data = to_torch(torch.tensor(from_bfloat16(halves)), parameter)
    loss = loss_and_gradients(model, loss_of, given)
    gradients = [to_stepsize(p.grad).numpy().reshape(-1).astype(np.float32) for p in model.parameters()]
    return {
        "loss": float(loss),
        "weights": encoded(np.concatenate(weights)),
        "gradients": encoded(np.concatenate(gradients)),
    }


def training(model, optimizer, rates, batch, loss_of, to_stepsize, to_torch, after_step=lambda step: None):
    """Trains on `batch(step)`. `after_step` is called with the number of each completed step."""
    free, checkpoints = [], []
    for step, rate in enumerate(rates):
        given = batch(step % BATCHES)
        checkpoints.append(checkpoint(model, loss_of, given, to_stepsize, to_torch))
        optimizer.param_groups[0]["lr"] = rate
        loss = loss_and_gradients(model, loss_of, given)
        optimizer.step()
        free.append(float(loss))
        after_step(step)
    return free, checkpoints


def summed_gradients(model, loss_of, given, name_of, to_stepsize):
    loss = loss_and_gradients(model, loss_of, given)
    gradients = []
    for name, parameter in model.named_parameters():
        flat = to_stepsize(parameter.grad).reshape(-1)
        product = flat @ torch.tensor(numbers(flat.numel(), 99), dtype=torch.float64)
        gradients.append([name_of(name), float(flat.norm()), float(product)])
    return {"loss": float(loss), "gradients": gradients}


def write(script, golden):
    """Writes the JSON file beside the script, with one line for each checkpoint."""
    lines = []
    for key, value in golden.items():
        if key == "checkpoints":
            lines.append(f'"{key}": [\n' + ",\n".join(json.dumps(entry) for entry in value) + "\n]")
        else:
            lines.append(f'"{key}": {json.dumps(value)}')
    pathlib.Path(script).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
