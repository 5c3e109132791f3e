"""Running one piece of code with both libraries and comparing everything that can be seen."""

from __future__ import annotations

import importlib
import warnings

import pytest

import flambeau


def _plain(value):
    """`value` with tensors, modules and containers turned into comparable plain data."""
    kind = type(value).__name__
    if hasattr(value, "detach") and hasattr(value, "tolist"):
        return ("tensor", str(value.dtype), tuple(value.shape), value.tolist())
    if hasattr(value, "named_parameters"):
        return ("module", _text(repr(value)))
    if isinstance(value, dict):
        return (kind, [(_plain(k), _plain(v)) for k, v in value.items()])
    if isinstance(value, (list, tuple)):
        return ("sequence", [_plain(v) for v in value])
    if isinstance(value, (set, frozenset)):
        return ("set", sorted(map(repr, value)))
    if isinstance(value, type):
        return _text(repr(value))
    if isinstance(value, str):
        return _text(value)
    return value


def _text(text):
    return text.replace("flambeau", "torch")


def observe(case, library):
    """What a case returns or raises, and the kinds of warning it gives, as plain data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = ("returns", _plain(case(library)))
        except Exception as error:
            outcome = ("raises", type(error).__name__, _text(str(error)))
    return outcome, [w.category.__name__ for w in caught]


def differences(ours, theirs, path=""):
    """The places where two outcomes part, with both values."""
    nested = isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple))
    if nested and len(ours) == len(theirs):
        pairs = zip(ours, theirs, strict=True)
        return [d for i, (a, b) in enumerate(pairs) for d in differences(a, b, f"{path}.{i}")]
    if ours == theirs or (ours != ours and theirs != theirs):
        return []
    return [f"at {path}:\n  ours   {ours!r}\n  theirs {theirs!r}"]


@pytest.fixture
def same():
    """`same(case)` runs ``case(torch)`` with both libraries and asserts one outcome."""
    torch = pytest.importorskip("torch")

    def check(case):
        importlib.import_module("flambeau.nn")
        ours, theirs = observe(case, flambeau), observe(case, torch)
        found = differences(ours, theirs)
        assert not found, "\n".join(found)
        return ours[0]

    return check
