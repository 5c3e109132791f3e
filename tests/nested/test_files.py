"""Nested tensors in files: written and read as PyTorch writes and reads them."""

from __future__ import annotations

import io
import warnings

import pytest

import flambeau


def example(L, name):
    a, b = L.arange(6.0).reshape(2, 3), L.zeros(1, 3)
    jagged = L.nested.nested_tensor([a, b], layout=L.jagged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's say that strided ones are a prototype
        strided = L.nested.nested_tensor([a, b])
        whole = L.nested.nested_tensor([L.arange(2), L.arange(0)])
        graded = L.nested.nested_tensor([a, b], requires_grad=True)
    start, length = L.tensor([0, 1]), L.tensor([2, 3])
    return {
        "jagged": jagged,
        "jagged turned": jagged.transpose(1, 2),
        "jagged with holes": L.nested.narrow(
            L.arange(20.0).reshape(2, 5, 2), 1, start, length, layout=L.jagged
        ),
        "jagged with a gradient": L.nested.nested_tensor(
            [a, b], layout=L.jagged, requires_grad=True
        ),
        "strided": strided,
        "strided turned": strided.transpose(1, 2),
        "strided of integers": whole,
        "strided with a gradient": graded,
    }[name]


NAMES = ["jagged", "jagged turned", "jagged with holes", "jagged with a gradient"]
NAMES += ["strided", "strided turned", "strided of integers", "strided with a gradient"]


def passed(value, writer, reader, weights_only):
    file = io.BytesIO()
    writer.save(value, file)
    file.seek(0)
    return reader.load(file, weights_only=weights_only)


def told(x):
    members = [t.tolist() for t in x.unbind()]
    return members, x.requires_grad, str(x.dtype), str(x.layout), x.is_nested


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_files_keep_nested_tensors(name, weights_only):
    x = example(flambeau, name)
    assert told(passed(x, flambeau, flambeau, weights_only)) == told(x)


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_files_go_both_ways(name, weights_only):
    torch = pytest.importorskip("torch")
    ours, theirs = example(flambeau, name), example(torch, name)
    assert told(passed(ours, flambeau, torch, weights_only)) == told(theirs)
    assert told(passed(theirs, torch, flambeau, weights_only)) == told(ours)


def test_parameters_and_shared_memory():
    jagged = example(flambeau, "jagged")
    parameter = flambeau.nn.Parameter(jagged.detach())
    found = passed({"p": parameter, "x": jagged, "v": jagged.values()}, flambeau, flambeau, True)
    assert isinstance(found["p"], flambeau.nn.Parameter)
    assert told(found["p"])[0] == told(jagged)[0]
    found["v"].fill_(7)
    assert told(found["x"])[0] == [[[7.0] * 3] * 2, [[7.0] * 3]]


CHANGES = {
    "sizes": lambda s, t, o: (s * 100, t, o),
    "negative sizes": lambda s, t, o: (-s, t, o),
    "strides": lambda s, t, o: (s, t * 100, o),
    "negative strides": lambda s, t, o: (s, -t, o),
    "repeated elements": lambda s, t, o: (s * 10000, t * 0, o),
    "offsets": lambda s, t, o: (s, t, o + 100),
    "negative offsets": lambda s, t, o: (s, t, o - 100),
    "fewer offsets": lambda s, t, o: (s, t, o[:1]),
    "floats": lambda s, t, o: (s.float(), t, o),
}


@pytest.mark.parametrize("change", CHANGES)
def test_strided_parts_are_checked(change, monkeypatch):
    from flambeau.tensor.nested import files

    plain = files.strided_parts

    def changed(t):
        values, *rest = plain(t)
        return (values, *(x.clone() for x in CHANGES[change](*rest)))

    monkeypatch.setattr(files, "strided_parts", changed)
    with pytest.raises(RuntimeError, match="nested tensor"):
        passed(example(flambeau, "strided"), flambeau, flambeau, True)


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": [0, 9]},
        {"offsets": [2, 0, 3]},
        {"offsets": [-1, 0, 3]},
        {"offsets": [0.0, 3.0]},
        {"lengths": [5, 5]},
        {"_ragged_idx": 5},
        {"values": 3},
    ],
    ids=str,
)
def test_jagged_parts_are_checked(change, monkeypatch):
    from flambeau.tensor.nested import files

    plain = files.jagged_parts

    def changed(t):
        lists = {k: flambeau.tensor(v) if isinstance(v, list) else v for k, v in change.items()}
        return {**plain(t), **lists}

    monkeypatch.setattr(files, "jagged_parts", changed)
    with pytest.raises(RuntimeError):
        passed(example(flambeau, "jagged"), flambeau, flambeau, True)
