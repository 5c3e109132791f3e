"""The demo's training: it learns, it goes on after a stop, and PyTorch trains the same network."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau
from flambeau.examples import digits as package
from flambeau.examples.digits import data, training
from flambeau.examples.digits.errors import DemoError


def few_digits(count=320):
    try:
        path = data.find_digits()
    except DemoError as error:
        pytest.skip(str(error))
    whole = data.split(*data.read_digits(path), limit=count)
    return data.Digits(
        whole.images, whole.labels, whole.held_out_images[::10], whole.held_out_labels[::10]
    )


@pytest.fixture(scope="module")
def digits():
    return few_digits()


def ignore(loss):
    pass


def assert_same_tree(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same_tree(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same_tree(x, y)
    elif isinstance(a, flambeau.Tensor):
        assert flambeau.equal(a, b)
    else:
        assert a == b


def test_it_learns(digits):
    run = training.Run(training.Plan(batch_size=32), digits)
    records = [run.train_epoch(ignore) for _ in range(4)]
    assert records[-1].loss < 0.6 * records[0].loss
    assert records[-1].held_out_accuracy > 0.6  # one in ten would be chance
    evaluation = run.evaluate()
    assert evaluation.accuracy == records[-1].held_out_accuracy
    said = evaluation.logits.argmax(1).numpy()
    assert evaluation.accuracy == (said == digits.held_out_labels).mean()


def test_every_digit_is_seen_once_an_epoch(digits):
    run = training.Run(training.Plan(batch_size=50), digits)
    heard = []
    run.train_epoch(heard.append)
    assert len(heard) == len(run.loader) == 7
    assert np.isfinite(heard).all()


def test_going_on_is_as_if_never_stopped(digits, tmp_path):
    plan = training.Plan(epochs=3, batch_size=64, seed=5)
    whole = training.Run(plan, digits)
    for _ in range(3):
        whole.train_epoch(ignore)

    first = training.Run(plan, digits)
    first.train_epoch(ignore)
    path = tmp_path / "checkpoint.pt"
    flambeau.save(first.state_dict(), path)
    flambeau.manual_seed(99)
    flambeau.rand(7)
    second = training.resume(training.read_checkpoint(path), plan, digits, path)
    for _ in range(2):
        second.train_epoch(ignore)
    assert_same_tree(second.state_dict(), whole.state_dict())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "pickle", "directory"])
def test_a_damaged_checkpoint_is_refused_in_one_line(digits, tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    flambeau.save(training.Run(training.Plan(), digits).state_dict(), path)
    whole = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "flipped":
            path.write_bytes(whole[:100] + bytes(b ^ 0xFF for b in whole[100:400]) + whole[400:])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not a checkpoint")
        case "pickle":
            flambeau.save({"format": "another program's"}, path)
        case "directory":
            path.unlink()
            path.mkdir()
    with pytest.raises(DemoError) as caught:
        training.read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_model_is_refused(digits, tmp_path):
    state = training.Run(training.Plan(), digits).state_dict()
    del state["model"]["features.0.weight"]
    with pytest.raises(DemoError, match="does not fit this model"):
        training.resume(state, training.Plan(), digits, tmp_path / "checkpoint.pt")


@pytest.fixture
def on_torch(tmp_path, monkeypatch):
    """Return the demo's own modules with `import torch` in the place of `import flambeau`."""
    pytest.importorskip("torch")
    name = "digits_on_torch"
    folder = tmp_path / name
    folder.mkdir()
    for path in Path(package.__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        text = text.replace("import flambeau as torch", "import torch")
        text = text.replace("import flambeau", "import torch").replace(
            "from flambeau", "from torch"
        )
        (folder / path.name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(f"{name}.training")
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        del sys.modules[module]


def losses_of_an_epoch(of, digits):
    """Return the initial weights, each batch's loss and the generator's state after one epoch."""
    run = of.Run(of.Plan(batch_size=32, seed=3), digits)
    weights = {name: p.detach().numpy().copy() for name, p in run.model.named_parameters()}
    losses = []
    run.train_epoch(losses.append)
    return weights, losses, run.generator.get_state().numpy()


def test_pytorch_trains_the_same_network(digits, on_torch):
    weights, losses, state = losses_of_an_epoch(training, digits)
    their_weights, their_losses, their_state = losses_of_an_epoch(on_torch, digits)
    assert weights.keys() == their_weights.keys()
    for name, weight in weights.items():
        assert np.array_equal(weight, their_weights[name]), name
    # Ten steps: the order of the digits, the shifts, dropout and every update must agree.
    assert losses == pytest.approx(their_losses, rel=2e-3)
    assert np.array_equal(state, their_state)
