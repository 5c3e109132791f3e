"""One script, two libraries: what PyTorch does is what flambeau is held to.

A script is a function of the library ``L`` that returns tensors, numbers, strings and containers of
them, or raises. Values are compared within a tolerance, errors by their type.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau

Script = Callable[[Any], Any]


class Scripts:
    """The scripts of a test file: ``@scripts`` adds one that works, ``@scripts.raises`` one that fails.

    ``scripts.cases`` is for pytest.
    """

    def __init__(self) -> None:
        self.cases: list[Any] = []

    def __call__(self, script: Script) -> Script:
        self.cases.append(pytest.param(script, id=script.__name__))
        return script

    def raises(self, script: Script) -> Script:
        FAILING.add(script)
        return self(script)


FAILING: set[Script] = set()
"""The scripts that PyTorch answers with an exception."""


def plain(value: Any) -> Any:
    """`value` with tensors turned into (dtype, shape, array), containers kept."""
    if hasattr(value, "requires_grad") and hasattr(value, "detach"):
        held = value.detach()
        name = str(held.dtype)
        if name in ("torch.bfloat16", "torch.float16"):
            held = held.float()
        return (name, tuple(held.shape), np.array(held.tolist()))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return value
    return str(value)


def observe(script: Script, library: Any) -> tuple[Any, list[str]]:
    """What a script returns, or the exception it raises, and the warnings it gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(script(library))
        except Exception as error:
            result = error
    return result, [w.category.__name__ for w in caught]


def differences(ours: Any, theirs: Any, rtol: float, atol: float, path: str = "") -> list[str]:
    """The places where two results part."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return [d for k in ours for d in differences(ours[k], theirs[k], rtol, atol, f"{path}.{k}")]
    both = isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple))
    if both and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, rtol, atol, f"{path}.{i}")]
    numbers = (np.ndarray, float, complex)
    if isinstance(ours, numbers) and isinstance(theirs, numbers):
        a, b = np.asarray(ours), np.asarray(theirs)
        if a.shape == b.shape and np.allclose(a, b, rtol, atol, equal_nan=True):
            return []
    elif type(ours) is type(theirs) and not isinstance(ours, (list, tuple)) and ours == theirs:
        return []
    return [f"at {path or '.'}:\n  flambeau {ours!r}\n  torch    {theirs!r}"]


def check_error(ours: Any, theirs: Exception) -> None:
    """Both raised, and code that catches PyTorch's exception catches flambeau's."""
    assert isinstance(ours, Exception), f"torch raises {theirs!r}, flambeau returns {ours!r}"
    kinds = [k.__name__ for k in type(ours).__mro__]
    assert type(theirs).__name__ in kinds, f"torch raises {theirs!r}, flambeau {ours!r}"


def agree(script: Script, *, rtol: float = 1e-5, atol: float = 1e-6, warned: bool = False) -> Any:
    """Assert that a script does the same with both libraries; returns flambeau's result."""
    torch = pytest.importorskip("torch")
    ours, our_warnings = observe(script, flambeau)
    theirs, their_warnings = observe(script, torch)
    if isinstance(theirs, Exception):
        # A script that fails by mistake would compare nothing.
        assert script in FAILING, f"torch raises {theirs!r}"
        check_error(ours, theirs)
        return ours
    assert script not in FAILING, f"torch returns {theirs!r}"
    if isinstance(ours, Exception):
        raise AssertionError(f"flambeau raises, torch returns {theirs!r}") from ours
    found = differences(ours, theirs, rtol, atol)
    assert not found, "\n".join(found)
    if warned:
        assert our_warnings == their_warnings
    return ours
