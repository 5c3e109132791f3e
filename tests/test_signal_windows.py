"""Window functions against SciPy's, and their mistakes against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal.windows as reference

import flambeau
from flambeau.signal import windows

CASES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "bartlett": ({}, ()),
    "blackman": ({}, ()),
    "cosine": ({}, ()),
    "exponential": ({"tau": 3.0}, (None, 3.0)),
    "gaussian": ({"std": 2.0}, (2.0,)),
    "general_cosine": ({"a": [0.5, 0.3, 0.2]}, ([0.5, 0.3, 0.2],)),
    "general_hamming": ({"alpha": 0.6}, (0.6,)),
    "hamming": ({}, ()),
    "hann": ({}, ()),
    "kaiser": ({"beta": 7.0}, (7.0,)),
    "nuttall": ({}, ()),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [0, 1, 2, 7, 16])
@pytest.mark.parametrize("sym", [True, False])
def test_windows_are_scipys(name: str, size: int, sym: bool) -> None:
    ours, theirs = CASES[name]
    found = getattr(windows, name)(size, sym=sym, dtype=flambeau.float64, **ours)
    expected = getattr(reference, name)(size, *theirs, sym=sym)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_options() -> None:
    window = windows.hann(4, requires_grad=True)
    assert window.dtype is flambeau.float32
    assert window.requires_grad
    shifted = windows.exponential(5, center=1.0, sym=False)
    np.testing.assert_allclose(shifted.numpy(), np.exp(-np.abs(np.arange(5) - 1.0)), rtol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda w, L: w.hann(-1),
        lambda w, L: w.hann(5, dtype=L.int64),
        lambda w, L: w.hann(5, dtype=L.float16),
        lambda w, L: w.exponential(5, tau=-1),
        lambda w, L: w.exponential(5, center=1.0),
        lambda w, L: w.gaussian(5, std=0),
        lambda w, L: w.kaiser(5, beta=-1),
        lambda w, L: w.general_cosine(5, a=[]),
        lambda w, L: w.general_cosine(5, a=1.0),
    ],
)
def test_mistakes_raise_as_in_torch(call: Any) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises((ValueError, TypeError)) as theirs:
        call(torch.signal.windows, torch)
    with pytest.raises(type(theirs.value)):
        call(windows, flambeau)
