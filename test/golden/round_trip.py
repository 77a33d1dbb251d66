"""Training that begins in PyTorch, continues in another program, and continues in PyTorch.

Needs torch (2.6 was used), safetensors and numpy. From the repository's root:

    python3 test/golden/round_trip.py                  # writes round_trip.safetensors and round_trip.json
    python3 test/golden/round_trip.py begin <folder>   # writes <run>.weights.safetensors and <run>.state.safetensors
    python3 test/golden/round_trip.py end <folder>     # continues from files of these names, writes errors.json

Every run makes 10 steps in float32 and stores weights and optimizer state as docs/pytorch.md describes. From these numbers
it continues in float64 for 20 steps. Their losses and the weights after them are the expected values for the program that
reads the files. `end` continues in float32 for another 20 steps from the files of that program, and compares with a
float64 run that stayed in PyTorch.
"""

import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from hashed import labels, numbers
from torch_models import MLP, Decoder, ResNet

torch.set_num_threads(1)  # The models are tiny.
BEFORE, STEPS, BATCHES = 10, 20, 4
CLASSES, SIDE, CHANNELS = 4, 6, 3
DECODER = {"vocab_size": 17, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
MODELS = {
    "mlp": lambda: MLP([10, 7, CLASSES]),
    "resnet": lambda: ResNet(depth=8, width=2, channels=CHANNELS, classes=CLASSES),
    "resnet20": lambda: ResNet(depth=20, width=2, channels=CHANNELS, classes=CLASSES),
    "olmo": lambda: Decoder({**DECODER, "model_type": "olmo", "tie_word_embeddings": True}),
}
RUNS = {
    "mlp-sgd": ("mlp", "SGD", {"lr": 0.05, "momentum": 0.9}),
    "mlp-adam": ("mlp", "Adam", {"lr": 0.01, "weight_decay": 0.01}),
    "resnet20-sgd": ("resnet20", "SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    "resnet-adamw": ("resnet", "AdamW", {"lr": 0.01, "betas": [0.9, 0.99], "weight_decay": 0.1}),
    "resnet-amsgrad": ("resnet", "Adam", {"lr": 0.01, "amsgrad": True}),
    "olmo-adamw": ("olmo", "AdamW", {"lr": 0.01, "betas": [0.9, 0.95], "weight_decay": 0.1}),
}


def make(run):
    model, optimizer, options = RUNS[run]
    model = MODELS[model]()
    return model, getattr(torch.optim, optimizer)(model.parameters(), **options)


def begin(model):
    """Sets hashed numbers. The k-th parameter has salt 10 + k. Norms are near 1 and 0."""
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):
            values = torch.tensor(numbers(parameter.numel(), 10 + k)).reshape(parameter.shape)
            if parameter.dim() > 1:
                values = values * math.sqrt(3 / (parameter.numel() // parameter.shape[0]))
            else:
                values = parameter.round() + values / 8
            parameter.copy_(values)


def loss_of(model, step):
    dtype = next(model.parameters()).dtype
    step %= BATCHES
    if isinstance(model, Decoder):
        tokens = torch.tensor(labels(4 * 9, 1000 + step, DECODER["vocab_size"])).reshape(4, 9)
        return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    if isinstance(model, MLP):
        inputs = torch.tensor(numbers(8 * 10, 1000 + step)).reshape(8, 10)
    else:
        images = torch.tensor(numbers(8 * SIDE * SIDE * CHANNELS, 1000 + step))
        inputs = images.reshape(8, SIDE, SIDE, CHANNELS).permute(0, 3, 1, 2)
    return F.cross_entropy(model(inputs.to(dtype)), torch.tensor(labels(8, 2000 + step, CLASSES)))


def train(model, optimizer, first, steps):
    losses = []
    for step in range(first, first + steps):
        optimizer.zero_grad()
        loss = loss_of(model, step)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


# The next two functions are those of docs/pytorch.md.


def state_by_name(model, optimizer):
    names = [name for name, _ in model.named_parameters()]
    return {
        f"{names[i]}.{key}": value
        for i, kept in optimizer.state_dict()["state"].items()
        for key, value in kept.items()
        if value is not None
    }


def load_state_by_name(model, optimizer, tensors):
    state = {}
    for i, (name, _) in enumerate(model.named_parameters()):
        kept = {key.rpartition(".")[2]: value for key, value in tensors.items() if key.rpartition(".")[0] == name}
        if kept:
            state[i] = kept
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def begun(run):
    model, optimizer = make(run)
    begin(model)
    train(model, optimizer, 0, BEFORE)
    weights = {name: one for name, one in model.state_dict().items()}
    return weights, state_by_name(model, optimizer)


def continued(run, weights, state, steps):
    """Continues a run in float64 from weights and state that PyTorch loads."""
    model, optimizer = make(run)
    model.load_state_dict(weights)
    model.double()
    # PyTorch counts steps in the tensors that it is given, so they are copied.
    load_state_by_name(model, optimizer, {name: one.clone() for name, one in state.items()})
    return model, train(model, optimizer, BEFORE, steps)


def relative_error(got, expected):
    names = [name for name in expected if not name.endswith("num_batches_tracked")]
    difference = sum(float((got[name].double() - expected[name]).square().sum()) for name in names)
    return math.sqrt(difference / sum(float(expected[name].square().sum()) for name in names))


def golden():
    stored, expected = {}, {}
    for run, (model, optimizer, options) in RUNS.items():
        weights, state = begun(run)
        stored |= {f"{run}/weights/{name}": one for name, one in weights.items()}
        stored |= {f"{run}/state/{name}": one for name, one in state.items()}
        end, losses = continued(run, weights, state, STEPS)
        parameters = {name: one.flatten().tolist() for name, one in end.state_dict().items() if one.is_floating_point()}
        expected[run] = {
            "model": model,
            "optimizer": optimizer,
            "options": options,
            "losses": losses,
            "weights": {name: [float(f"{x:.9g}") for x in values] for name, values in parameters.items()},
        }
    here = pathlib.Path(__file__)
    save_file(stored, here.with_suffix(".safetensors"))
    here.with_suffix(".json").write_text(json.dumps({"before": BEFORE, "runs": expected}, separators=(",", ":")) + "\n")


def first_half(folder):
    for run in RUNS:
        weights, state = begun(run)
        save_file(weights, folder / f"{run}.weights.safetensors")
        save_file(state, folder / f"{run}.state.safetensors")


def second_half(folder):
    errors = {}
    for run in RUNS:
        reference, expected = continued(run, *begun(run), 2 * STEPS)
        model, optimizer = make(run)
        model.load_state_dict(load_file(folder / f"{run}.weights.safetensors"))
        load_state_by_name(model, optimizer, load_file(folder / f"{run}.state.safetensors"))
        losses = train(model, optimizer, BEFORE + STEPS, STEPS)
        errors[run] = {
            "loss": max(abs(a / b - 1) for a, b in zip(losses, expected[STEPS:])),
            "weights": relative_error(model.state_dict(), reference.state_dict()),
        }
    (folder / "errors.json").write_text(json.dumps(errors))


if len(sys.argv) == 1:
    golden()
else:
    {"begin": first_half, "end": second_half}[sys.argv[1]](pathlib.Path(sys.argv[2]))
