"""Scalar expressions over whole arrays: compiled for large ones, NumPy for all others.

`Fused` is one expression with one compiled kernel for each combination of element types and memory
patterns it meets. Whatever it has no kernel for (other dtypes, odd strides, a primitive without IR)
it computes with the expression's rendering in NumPy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...compiler import allocator, jit, launch, loops, threads
from ...compiler.expressions import Expression
from ...compiler.scalar_ir import Unsupported

LARGE = 8192
"""Elements from which a compiled kernel is used."""
_GRAIN = 32768
_TYPES = {
    np.dtype(np.float32): "float",
    np.dtype(np.float64): "double",
    np.dtype(np.bool_): "i8",
}
_NUMPY = {"float": np.dtype(np.float32), "double": np.dtype(np.float64), "i8": np.dtype(np.bool_)}
_lock = threading.Lock()


class Fused:
    """An expression of named arrays, callable on arrays in the order of `names`."""

    def __init__(
        self,
        label: str,
        expression: Expression,
        names: Sequence[str],
        reference: Callable[..., Any],
        is_truth: bool = False,
    ) -> None:
        self.label, self.expression, self.names = label, expression, tuple(names)
        self.reference, self.is_truth = reference, is_truth
        self._kernels: dict[Any, Callable[..., Any] | None] = {}

    def __call__(self, *arrays: Any) -> Any:
        run = self._plan(arrays)
        return self.reference(*arrays) if run is None else run(arrays)

    def _plan(self, arrays: Sequence[Any]) -> Callable[[Any], Any] | None:
        try:
            key = tuple((a.shape, a.strides, a.dtype) for a in arrays)
        except AttributeError:
            return None
        found = self._kernels.get(key, self)
        if found is self:
            if len(self._kernels) > 1024:
                self._kernels.clear()
            found = self._kernels[key] = self._prepare(arrays)
        return found  # type: ignore[return-value]

    def _prepare(self, arrays: Sequence[Any]) -> Callable[[Any], Any] | None:
        if not jit.available() or any(a.__class__ is not np.ndarray for a in arrays):
            return None
        kinds = [_TYPES.get(a.dtype) for a in arrays]
        numbers = {k for k in kinds if k != "i8"}
        if None in kinds or len(numbers) != 1 or any(not a.flags.aligned for a in arrays):
            return None
        type_ = numbers.pop()
        assert type_ is not None
        try:
            shape = np.broadcast_shapes(*(a.shape for a in arrays))
        except ValueError:
            return None
        count = int(np.prod(shape, dtype=np.int64))
        if not count:
            return None
        flat = all(a.size == 1 or (a.shape == shape and a.flags.c_contiguous) for a in arrays)
        try:
            if flat:
                return self._prepare_flat(arrays, kinds, type_, shape, count)
            return self._prepare_rows(arrays, kinds, type_, shape, count)
        except Unsupported:
            return None

    def _launcher(self, form: str, operands: list[loops.Operand], type_: str) -> Any:
        out_type = "i8" if self.is_truth else type_
        render = loops.render_flat if form == "flat" else loops.render_rows
        key = f"{form} {self.expression!r} {operands} {type_} {out_type}"
        # Rendering also finds out whether every primitive has IR, so it is not left to a cache
        # miss.
        ir = render("chunk", self.expression, operands, type_, out_type)
        with _lock:
            library = jit.load_or_build(f"{self.label}.{form}", key, lambda: ir)
            return launch.bind(library.address("chunk"), name=self.label, parallel=True)

    def _prepare_flat(
        self, arrays: Any, kinds: Any, type_: str, shape: Any, count: int
    ) -> Callable[[Any], Any]:
        operands = [
            loops.Operand(n, k, a.size == 1)
            for n, k, a in zip(self.names, kinds, arrays, strict=True)
        ]
        kernel = self._launcher("flat", operands, type_)
        dtype = _NUMPY["i8" if self.is_truth else type_]
        allocator.prepare(count * dtype.itemsize)
        empty = np.empty

        def run(given: Any) -> Any:
            out = empty(shape, dtype)
            chunks, size = _split(count)
            kernel(chunks, count, size, out, *given)
            return out

        return run

    def _prepare_rows(
        self, arrays: Any, kinds: Any, type_: str, shape: Any, count: int
    ) -> Callable[[Any], Any] | None:
        """Operands that repeat along rows or columns: two loops, when two are enough."""
        views = [np.broadcast_to(a, shape) for a in arrays]
        inner = 1
        split = len(shape)
        while split > 0 and all(_runs(v, split - 1) for v in views):
            inner *= shape[split - 1]
            split -= 1
        fixed = [_is_fixed(v, split) for v in views]
        rows = count // inner
        steps = [_row_step(v, split) for v in views]
        if inner < 64 or None in steps:
            return None
        operands = [
            loops.Operand(n, k, f) for n, k, f in zip(self.names, kinds, fixed, strict=True)
        ]
        kernel = self._launcher("rows", operands, type_)
        dtype = _NUMPY["i8" if self.is_truth else type_]
        per_chunk = max(1, _GRAIN // inner)

        def run(given: Any) -> Any:
            out = np.empty(shape, dtype)
            share = max(per_chunk, -(-rows // (4 * threads.get_num_threads())))
            kernel(-(-rows // share), rows, share, inner, out, *given, *steps)
            return out

        return run


def _split(count: int) -> tuple[int, int]:
    """The number of chunks for `count` elements, and the size of one (a multiple of 64)."""
    workers = threads.get_num_threads()
    if count <= _GRAIN or workers == 1:
        return 1, count
    chunks = min(4 * workers, -(-count // _GRAIN))
    size = -(-count // chunks)
    size = (size + 63) & ~63
    return -(-count // size), size


def _runs(v: Any, axis: int) -> bool:
    """Whether `axis` continues the inner run of `v`: contiguous with what follows, or fixed."""
    if v.shape[axis] == 1:
        return True
    after = v.shape[axis + 1 :]
    if v.strides[axis] == 0:
        return all(s == 0 or n == 1 for s, n in zip(v.strides[axis + 1 :], after, strict=True))
    return bool(v.strides[axis] == v.itemsize * int(np.prod(after, dtype=np.int64)))


def _is_fixed(v: Any, split: int) -> bool:
    return all(s == 0 or n == 1 for s, n in zip(v.strides[split:], v.shape[split:], strict=True))


def _row_step(v: Any, split: int) -> int | None:
    """Bytes from row to row, if one number says it for all outer axes together."""
    step, expected = 0, None
    for axis in range(split - 1, -1, -1):
        n, s = v.shape[axis], v.strides[axis]
        if n == 1:
            continue
        if expected is None:
            step, expected = s, s * n
        elif s != expected:
            return None
        else:
            expected = s * n
    return step


_REDUCERS: dict[tuple[Any, str], Any] = {}


def fold_rows(x: Any, fold: str) -> Any:
    """Each row of a contiguous float array [rows, columns] folded; None where no kernel serves.

    `fold` is "sum" (the result is float64), "maximum" or "minimum" (NaN wins).
    """
    kind = _TYPES.get(x.dtype)
    if kind not in ("float", "double") or not jit.available():
        return None
    kernel = _REDUCERS.get((kind, fold))
    if kernel is None:
        e = Expression("input", "x")
        operands = [loops.Operand("x", kind, False)]
        library = jit.load_or_build(
            f"{fold}_rows",
            f"{fold} rows {kind}",
            lambda: loops.render_row_reduction("chunk", e, operands, kind, fold),
        )
        kernel = launch.bind(library.address("chunk"), name=f"{fold}_rows", parallel=True)
        _REDUCERS[kind, fold] = kernel
    rows, columns = x.shape
    out = np.empty(rows, np.float64 if fold == "sum" else x.dtype)
    share = max(1, _GRAIN // max(columns, 1), -(-rows // (4 * threads.get_num_threads())))
    kernel(-(-rows // share), rows, share, columns, out, x)
    return out
