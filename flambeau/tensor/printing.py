"""How tensors look: PyTorch's ``repr``.

All elements of a tensor are written in one format, chosen by looking at the finite ones: whole
numbers with a bare point, else with a fixed number of decimals, else (where they are very large,
very small, or too far apart) in scientific notation. Large tensors show only the edges of each
dimension.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import dtypes
from .functions import publish


@dataclass(frozen=True)
class PrintOptions:
    """How tensors are printed; see `set_printoptions`."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}
_options = PrintOptions()


@publish
def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed.

    `precision` is the number of decimals (4), `threshold` the number of elements from which only
    `edgeitems` (3) at each end of a dimension are shown (1000), `linewidth` the columns of a line
    (80), `profile` "default", "short" or "full", and `sci_mode` says whether numbers are written in
    scientific notation (None: where it is needed).
    """
    global _options
    chosen = _options
    if profile is not None:
        if profile.lower() not in _PROFILES:
            raise ValueError(f"profile must be one of {sorted(_PROFILES)}, got {profile!r}")
        chosen = replace(_PROFILES[profile.lower()], sci_mode=chosen.sci_mode)
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    chosen = replace(chosen, **{k: v for k, v in given.items() if v is not None})
    _options = replace(chosen, sci_mode=sci_mode)


@publish
def get_printoptions() -> dict[str, Any]:
    """The current settings of `set_printoptions`, by name."""
    return dict(vars(_options))


@contextlib.contextmanager
def printoptions(**kwargs: Any) -> Iterator[None]:
    """Inside, print with other settings; arguments are those of `set_printoptions`."""
    global _options
    before = _options
    try:
        set_printoptions(**kwargs)
        yield
    finally:
        _options = before


# ---------------------------------------------------------------- numbers
class _Whole:
    """The format of integers and truth values."""

    def __init__(self, values: list[Any]) -> None:
        self.width = max((len(str(v)) for v in values), default=1)

    def render(self, value: Any) -> str:
        return str(value).rjust(self.width)


class _Real:
    """The format of floating-point numbers, chosen for `values` (float64)."""

    def __init__(self, values: Any) -> None:
        finite = values[np.isfinite(values) & (values != 0)]
        self.whole, self.scientific = True, False
        if finite.size:
            self._choose(finite)
            if _options.sci_mode is not None:
                self.scientific = _options.sci_mode
        self.width = max((len(self._text(v)) for v in finite.tolist()), default=1)

    def _choose(self, finite: Any) -> None:
        sizes = np.abs(finite)
        least, most = float(sizes.min()), float(sizes.max())
        self.whole = bool((np.ceil(finite) == finite).all())
        far = most / least > 1000.0 or most > 1.0e8
        self.scientific = far or (not self.whole and least < 1.0e-4)

    def _text(self, value: float) -> str:
        if self.scientific:
            return f"{value:.{_options.precision}e}"
        if self.whole:
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{_options.precision}f}"

    def render(self, value: float) -> str:
        return self._text(value).rjust(self.width)


class _Complex:
    """The format of complex numbers: one for the real parts, one for the imaginary parts."""

    def __init__(self, values: Any) -> None:
        self._real, self._imag = _Real(values.real), _Real(values.imag)
        self.width = self._real.width + self._imag.width + 1

    def render(self, value: complex) -> str:
        imaginary = self._imag.render(value.imag).lstrip() + "j"
        sign = "" if imaginary[0] in "+-" else "+"
        return f"{self._real.render(value.real)}{sign}{imaginary}"


# ---------------------------------------------------------------- arrays
def _edges(d: Any) -> Any:
    """The elements of `d` that a summary shows."""
    edge = _options.edgeitems
    for axis, n in enumerate(d.shape):
        if n > 2 * edge:
            index = np.r_[0:edge, n - edge : n]
            d = np.take(d, index, axis)
    return d


def _format_for(d: Any, summarize: bool) -> Any:
    shown = (_edges(d) if summarize else d).reshape(-1)
    if d.dtype.kind == "c":
        return _Complex(shown.astype(np.complex128))
    if d.dtype.kind == "f":
        return _Real(shown.astype(np.float64))
    return _Whole(shown.tolist())


def _render_vector(d: Any, indent: int, summarize: bool, form: Any) -> str:
    edge = _options.edgeitems
    if summarize and len(d) > 2 * edge:
        head, tail = d[:edge].tolist(), d[len(d) - edge :].tolist()
        items = [*map(form.render, head), " ...", *map(form.render, tail)]
    else:
        items = [form.render(v) for v in d.tolist()]
    per_line = max(1, (_options.linewidth - indent) // (form.width + 2))
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _render_array(d: Any, indent: int, summarize: bool, form: Any) -> str:
    if d.ndim == 0:
        return form.render(d.item())
    if d.ndim == 1:
        return _render_vector(d, indent, summarize, form)
    edge = _options.edgeitems
    cut = summarize and len(d) > 2 * edge
    rows = [*d[:edge], None, *d[len(d) - edge :]] if cut else list(d)
    parts = [
        "..." if row is None else _render_array(row, indent + 1, summarize, form) for row in rows
    ]
    return "[" + ("," + "\n" * (d.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def render_values(d: Any, indent: int) -> str:
    """The elements of an array in brackets, in the style of the text before them."""
    kind = dtypes.from_numpy_dtype(d.dtype)
    if kind in dtypes.HALF or kind in dtypes.FLOAT8:
        d = d.astype(np.float32)
    summarize = d.size > _options.threshold
    return _render_array(d, indent, summarize, _format_for(d, summarize))


# ---------------------------------------------------------------- the whole tensor
def with_notes(text: str, notes: list[str], indent: int, new_line: bool = False) -> str:
    """Append notes to the text, each on a new line where the last one is full."""
    used = len(text) - text.rfind("\n") + 1
    for note in notes:
        if new_line or used + len(note) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + note
            used = indent + len(note)
            new_line = False
        else:
            text += ", " + note
            used += len(note) + 2
    return text + ")"


def ordinary_dtypes() -> tuple[dtypes.dtype, ...]:
    """The dtypes that a tensor's text does not name."""
    return (
        dtypes.get_default_dtype(),
        dtypes.default_complex_dtype(),
        dtypes.int64,
        dtypes.bool_,
    )


def render(t: Any) -> str:
    """The text of a tensor."""
    name = type(t).__name__
    prefix = "tensor(" if name in ("Tensor", "Parameter", "Buffer") else f"{name}("
    indent = len(prefix)
    d, notes = t._d, []
    shape = tuple(d.shape)
    if t.is_meta:
        notes = ["device='meta'", f"size={shape}"]
        if t._t is not dtypes.get_default_dtype():
            notes.append(f"dtype={t._t}")
        text = "..."
    elif not d.size:
        if d.ndim != 1:
            notes.append(f"size={shape}")
        if t._t is not dtypes.get_default_dtype():
            notes.append(f"dtype={t._t}")
        text = "[]"
    else:
        if t._t not in ordinary_dtypes():
            notes.append(f"dtype={t._t}")
        text = render_values(d, indent)
    return with_notes(prefix + text, notes + history_notes(t), indent)


def history_notes(t: Any) -> list[str]:
    """What a tensor's text says of its place on the tape."""
    if t.grad_fn is not None:
        return [f"grad_fn=<{t.grad_fn.name()}>"]
    return ["requires_grad=True"] if t.requires_grad else []
