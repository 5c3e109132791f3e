"""Whether two libraries' results of one call agree: values, shapes, dtypes, or kinds of errors."""

from __future__ import annotations

from typing import Any

import numpy as np

TOLERANCE = {
    "float32": (1e-4, 1e-5),
    "complex64": (1e-4, 1e-5),
    "float16": (5e-3, 5e-3),
    "bfloat16": (3e-2, 3e-2),
}
REFUSALS = (TypeError, ValueError, RuntimeError, IndexError)
_BY_CHANCE = ("tuple index out of range", "list index out of range")


def differs(ours: Any, theirs: Any) -> str:
    """What differs, in a line that begins with its kind; "" where nothing does."""
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        return _errors(ours, theirs)
    if isinstance(theirs, (tuple, list)):
        if not isinstance(ours, (tuple, list)) or len(ours) != len(theirs):
            return f"structure: {ours!r} for {theirs!r}"
        return next(filter(None, map(differs, ours, theirs)), "")
    if not hasattr(theirs, "numpy"):
        same = type(ours) is type(theirs) and ours == theirs
        return "" if same else f"answer: {ours!r} for {theirs!r}"
    if str(ours.dtype) != str(theirs.dtype):
        return f"dtype: {ours.dtype} for {theirs.dtype}"
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"shape: {tuple(ours.shape)} for {tuple(theirs.shape)}"
    return _values(ours, theirs)


def _errors(ours: Any, theirs: Any) -> str:
    if not isinstance(theirs, Exception):
        return f"refused: {type(ours).__name__}: {ours}"
    if not isinstance(ours, Exception):
        return f"taken: {ours!r} where {type(theirs).__name__}: {theirs}"
    # Where several things are wrong with a call, either may be named.
    meant = isinstance(ours, REFUSALS) and str(ours) not in _BY_CHANCE
    return "" if meant else f"error: {type(ours).__name__}: {ours}"


def _values(ours: Any, theirs: Any) -> str:
    kind = str(theirs.dtype).split(".")[-1]
    if kind in ("bfloat16", "float16"):
        ours, theirs = ours.double(), theirs.double()
    a, b = ours.detach().resolve_conj().numpy(), theirs.detach().resolve_conj().numpy()
    rtol, atol = TOLERANCE.get(kind, (1e-7, 1e-8))
    if a.dtype.kind in "biu":
        return "" if np.array_equal(a, b) else f"values: {a!r} for {b!r}"
    same = _near(a, b, rtol, atol)
    return "" if same else f"values: {a!r} for {b!r}"


def _near(a: Any, b: Any, rtol: float, atol: float) -> bool:
    with np.errstate(all="ignore"):
        if a.dtype.kind != "c":
            return np.allclose(a, b, rtol, atol, equal_nan=True)
        # The difference of two complex infinities is no number: compare their parts.
        finite = np.isfinite(a) & np.isfinite(b)
        rest = ((x[~finite], y[~finite]) for x, y in ((a.real, b.real), (a.imag, b.imag)))
        return np.allclose(a[finite], b[finite], rtol, atol) and all(
            np.allclose(x, y, rtol, atol, equal_nan=True) for x, y in rest
        )
