"""What resnet8.py and olmo.py compare along a training run in float64.

- `free`: the losses of the run itself, from hashed weights (hashed.py).
- `checkpoints`: before each step, the run's weights rounded to bfloat16 (two bytes each, and any 16-bit pattern is a
  float32, so both sides start from the very same numbers), with loss and all gradients at these rounded weights,
  computed in float64 and stored as float32. Rounding them moves the checkpoint a little off the path; it costs the
  comparison nothing.
- the sums of gradients too large to be stored: per tensor its norm and its product with hashed numbers, which together
  see any wrong element.

`loss_of(model, *batch)` is the loss to differentiate; `ours` gives a tensor as stepsize lays it out, `theirs` the
opposite, from a flat one and a tensor of the shape wanted.
"""

import copy
import json
import pathlib

import numpy as np
import torch

from hashed import numbers
from packed import encoded, from_bfloat16, to_bfloat16

STEPS = 20
BATCHES = 4  # in turn, so that the losses fall as they are learned


def rates_up_to(peak):
    """Warm-up over five steps, under a line down to zero."""
    return [peak * min(1, (step + 1) / 5) * (1 - step / STEPS) for step in range(STEPS)]


def loss_and_gradients(model, loss_of, given):
    model.zero_grad()
    loss = loss_of(model, *given)
    loss.backward()
    return loss


def checkpoint(model, loss_of, given, ours, theirs):
    model = copy.deepcopy(model)
    weights = []
    for parameter in model.parameters():
        halves = to_bfloat16(ours(parameter.detach()).numpy().reshape(-1))
        weights.append(halves)
        parameter.data = theirs(torch.tensor(from_bfloat16(halves)), parameter)
    loss = loss_and_gradients(model, loss_of, given)
    gradients = [ours(p.grad).numpy().reshape(-1).astype(np.float32) for p in model.parameters()]
    return {
        "loss": float(loss),
        "weights": encoded(np.concatenate(weights)),
        "gradients": encoded(np.concatenate(gradients)),
    }


def training(model, optimizer, rates, batch, loss_of, ours, theirs, after_step=lambda step: None):
    """`batch(step)` gives what the loss is of; `after_step` is called with the step that was made."""
    free, checkpoints = [], []
    for step, rate in enumerate(rates):
        given = batch(step % BATCHES)
        checkpoints.append(checkpoint(model, loss_of, given, ours, theirs))
        optimizer.param_groups[0]["lr"] = rate
        loss = loss_and_gradients(model, loss_of, given)
        optimizer.step()
        free.append(float(loss))
        after_step(step)
    return free, checkpoints


def summed_gradients(model, loss_of, given, name_of, ours):
    loss = loss_and_gradients(model, loss_of, given)
    gradients = []
    for name, parameter in model.named_parameters():
        flat = ours(parameter.grad).reshape(-1)
        product = flat @ torch.tensor(numbers(flat.numel(), 99), dtype=torch.float64)
        gradients.append([name_of(name), float(flat.norm()), float(product)])
    return {"loss": float(loss), "gradients": gradients}


def write(script, golden):
    """Beside the script, a line for each checkpoint."""
    lines = []
    for key, value in golden.items():
        if key == "checkpoints":
            lines.append(f'"{key}": [\n' + ",\n".join(json.dumps(entry) for entry in value) + "\n]")
        else:
            lines.append(f'"{key}": {json.dumps(value)}')
    pathlib.Path(script).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
