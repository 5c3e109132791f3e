"""`assert_close`: whether two structures of tensors agree, and where they do not."""

from __future__ import annotations

import cmath
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from ..tensor import functions as fl

_TOLERANCES: dict[dtypes.dtype, tuple[float, float]] = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex32: (1e-3, 1e-5),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}
"""Relative and absolute tolerance by dtype; all others must agree exactly."""

_NUMBERS: dict[type, dtypes.dtype] = {
    int: dtypes.int64,
    float: dtypes.float64,
    complex: dtypes.complex128,
}


class Comparison:
    """What `assert_close` was asked to check; its methods raise at the first mismatch."""

    def __init__(
        self,
        *,
        allow_subclasses: bool,
        rtol: float | None,
        atol: float | None,
        equal_nan: bool,
        check_device: bool,
        check_dtype: bool,
        check_layout: bool,
        check_stride: bool,
        msg: str | Callable[[str], str] | None,
    ) -> None:
        if (rtol is None) != (atol is None):
            raise ValueError(
                "Both 'rtol' and 'atol' must be either specified or omitted, but got no "
                f"{'rtol' if rtol is None else 'atol'}."
            )
        self.allow_subclasses, self.equal_nan = allow_subclasses, equal_nan
        self.rtol, self.atol = rtol, atol
        self.check_device, self.check_dtype = check_device, check_dtype
        self.check_layout, self.check_stride = check_layout, check_stride
        self.msg = msg

    def fail(
        self, text: str, at: tuple[Any, ...], kind: type[Exception] = AssertionError
    ) -> NoReturn:
        """Raise the mismatch `text` at the place `at` of the structure."""
        if at:
            text += "\n\nThe failure occurred for item " + "".join(f"[{k!r}]" for k in at)
        if self.msg is not None and kind is AssertionError:
            text = self.msg(text) if callable(self.msg) else self.msg
        raise kind(text)

    def tolerances(self, *kinds: dtypes.dtype) -> tuple[float, float]:
        """The relative and the absolute tolerance for values of the dtypes `kinds`."""
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        pairs = [_TOLERANCES.get(t, (0.0, 0.0)) for t in kinds]
        return max(r for r, _ in pairs), max(a for _, a in pairs)

    # ------------------------------------------------------------ structures
    def compare(self, actual: Any, expected: Any, at: tuple[Any, ...] = ()) -> None:
        """Compare two values of any kind."""
        if _is_sequence(actual) and _is_sequence(expected):
            if len(actual) != len(expected):
                text = f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
                self.fail(text, at)
            for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
                self.compare(a, e, (*at, i))
        elif isinstance(actual, Mapping) and isinstance(expected, Mapping):
            self._compare_mappings(actual, expected, at)
        else:
            self._compare_values(actual, expected, at)

    def _compare_mappings(
        self, actual: Mapping[Any, Any], expected: Mapping[Any, Any], at: tuple[Any, ...]
    ) -> None:
        missing, extra = expected.keys() - actual.keys(), actual.keys() - expected.keys()
        if missing or extra:
            self.fail(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(missing, key=str)}\n"
                f"Additional keys in the actual mapping: {sorted(extra, key=str)}",
                at,
            )
        for key in sorted(actual, key=str):
            self.compare(actual[key], expected[key], (*at, key))

    def _compare_values(self, actual: Any, expected: Any, at: tuple[Any, ...]) -> None:
        if actual is None or expected is None:
            if actual is not expected:
                self.fail(f"None mismatch: {actual} is not {expected}", at)
            return
        kinds = (bool, np.bool_)
        if isinstance(actual, kinds) and isinstance(expected, kinds):
            if bool(actual) is not bool(expected):
                self.fail(f"Booleans mismatch: {bool(actual)} is not {bool(expected)}", at)
            return
        numbers = (int, float, complex, np.number)
        if isinstance(actual, numbers) and isinstance(expected, numbers):
            self._compare_numbers(actual, expected, at)
            return
        related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
        if not related or (not self.allow_subclasses and type(actual) is not type(expected)):
            self._refuse(actual, expected, at)
        try:
            pair = [x if isinstance(x, Tensor) else fl.as_tensor(x) for x in (actual, expected)]
        except (TypeError, ValueError, RuntimeError):
            self._refuse(actual, expected, at)
        self._compare_tensors(pair[0].detach(), pair[1].detach(), at)

    def _refuse(self, actual: Any, expected: Any, at: tuple[Any, ...]) -> NoReturn:
        text = (
            f"No comparison pair was able to handle inputs of type {type(actual)} and "
            f"{type(expected)}."
        )
        self.fail(text, at, TypeError)

    # ------------------------------------------------------------ numbers
    def _compare_numbers(self, actual: Any, expected: Any, at: tuple[Any, ...]) -> None:
        pair = [x.item() if isinstance(x, np.number) else x for x in (actual, expected)]
        actual, expected = pair
        kinds = [next(k for k in (int, float, complex) if isinstance(x, k)) for x in pair]
        if self.check_dtype and type(actual) is not type(expected):
            text = f"The (d)types do not match: {type(actual)} != {type(expected)}."
            self.fail(text, at)
        rtol, atol = self.tolerances(*(_NUMBERS[k] for k in kinds))
        same = actual == expected
        far = abs(actual - expected)
        if same or (self.equal_nan and cmath.isnan(actual) and cmath.isnan(expected)):
            return
        if cmath.isfinite(far) and far <= atol + rtol * abs(expected):
            return
        self.fail(_scalar_text(actual, expected, rtol, atol), at)

    # ------------------------------------------------------------ tensors
    def _compare_tensors(self, actual: Any, expected: Any, at: tuple[Any, ...]) -> None:
        self._compare_facts(actual, expected, at)
        if actual.layout is not expected.layout or str(actual.layout) != "torch.strided":
            actual, expected = (
                x if str(x.layout) == "torch.strided" else x.to_dense() for x in (actual, expected)
            )
        if actual.device != expected.device:
            actual, expected = actual.cpu(), expected.cpu()
        rtol, atol = self.tolerances(actual.dtype, expected.dtype)
        if actual.dtype is not expected.dtype:
            common = dtypes.promote_types(actual.dtype, expected.dtype)
            actual, expected = actual.to(common), expected.to(common)
        if actual.is_meta:
            return
        matches = _matching(actual, expected, rtol, atol, self.equal_nan)
        if bool(matches.all()):
            return
        if actual.shape == ():
            text = _scalar_text(actual.item(), expected.item(), rtol, atol)
        else:
            text = _tensor_text(actual, expected, matches, rtol, atol)
        self.fail(text, at)

    def _compare_facts(self, actual: Any, expected: Any, at: tuple[Any, ...]) -> None:
        def check(name: str, a: Any, e: Any) -> None:
            if a != e:
                self.fail(f"The values for attribute '{name}' do not match: {a} != {e}.", at)

        check("shape", actual.shape, expected.shape)
        if self.check_layout:
            check("layout", actual.layout, expected.layout)
        strided = str(actual.layout) == str(expected.layout) == "torch.strided"
        if self.check_stride and strided:
            check("stride()", actual.stride(), expected.stride())
        if self.check_device:
            check("device", actual.device, expected.device)
        if self.check_dtype:
            check("dtype", actual.dtype, expected.dtype)


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str)


def _matching(actual: Any, expected: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    """Where the elements agree."""
    if actual.dtype.is_floating_point and actual.dtype.itemsize == 1:
        actual, expected = actual.to(dtypes.float32), expected.to(dtypes.float32)
    return fl.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan)


def _heading(kind: str, rtol: float, atol: float) -> str:
    return f"{kind} are not {'equal' if rtol == atol == 0 else 'close'}!\n\n"


def _allowed(tolerance: float, exact: bool) -> str:
    return "" if exact else f" (up to {tolerance} allowed)"


def _scalar_text(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    exact = rtol == atol == 0
    far = abs(actual - expected)
    relative = float("inf") if expected == 0 else far / abs(expected)
    return (
        _heading("Scalars", rtol, atol) + f"Expected {expected} but got {actual}.\n"
        f"Absolute difference: {far}{_allowed(atol, exact)}\n"
        f"Relative difference: {relative}{_allowed(rtol, exact)}"
    )


def _tensor_text(actual: Any, expected: Any, matches: Any, rtol: float, atol: float) -> str:
    exact = rtol == atol == 0
    if not (actual.dtype.is_floating_point or actual.dtype.is_complex):
        actual, expected = actual.to(dtypes.int64), expected.to(dtypes.int64)
    elif actual.dtype.itemsize == 1:
        actual, expected = actual.to(dtypes.float32), expected.to(dtypes.float32)
    wrong, total = int((~matches).sum()), actual.numel()
    far = (actual - expected).abs().masked_fill(matches, 0)
    relative = (far / expected.abs()).masked_fill(matches, 0)
    lines = [f"Mismatched elements: {wrong} / {total} ({wrong / total:.1%})"]
    parts = (("absolute", far, atol), ("relative", relative, rtol))
    for name, differences, tolerance in parts:
        place = int(differences.flatten().argmax())
        value = differences.flatten()[place].item()
        index = tuple(int(i) for i in np.unravel_index(place, tuple(actual.shape)))
        allowed = _allowed(tolerance, exact)
        lines.append(f"Greatest {name} difference: {value} at index {index}{allowed}")
    return _heading("Tensor-likes", rtol, atol) + "\n".join(lines)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Both are tensors, numbers, None, or sequences and mappings of those. Without tolerances they
    follow from the dtype. `msg` replaces the message, or makes another one of it.

    >>> assert_close(fl.ones(2), fl.ones(2) + 1e-7)
    """
    Comparison(
        allow_subclasses=allow_subclasses,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=check_device,
        check_dtype=check_dtype,
        check_layout=check_layout,
        check_stride=check_stride,
        msg=msg,
    ).compare(actual, expected)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """`assert_close` of values alone, under its old name; devices and dtypes may differ."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a "
        "future release. Please use `torch.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    actual, expected = (x if isinstance(x, Tensor) else fl.tensor(x) for x in (actual, expected))
    if rtol is None and atol is None:
        pairs = [_TOLERANCES.get(x.dtype, (0.0, 0.0)) for x in (actual, expected)]
        rtol, atol = max(r for r, _ in pairs), max(a for _, a in pairs)
    assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=True,
        check_dtype=False, check_stride=False, msg=msg or None,
    )  # fmt: skip
