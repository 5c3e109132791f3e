"""Update rules as compiled kernels: one call rewrites any number of tensors.

An `Update` is a rule with its structure fixed (which buffers it has, which of its branches it
takes). Its kernel is made once it is worth it; the caller computes with NumPy until then, and for
whatever the kernel does not take.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from ...compiler import jit, launch, threads, updates
from ...compiler.expressions import BUILDER, Expression, lift
from ...compiler.scalar_ir import Unsupported

LARGE = 8192
"""Elements in one call from which a kernel is made at once."""
PATIENCE = 10
"""Calls after which a kernel is made for fewer."""
_GRAIN = 16384
_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_lock = threading.Lock()


class Update:
    """The rule `rule`, a function ``(m, *arrays, **coefficients)`` that returns the new values.

    `width` is the number of arrays; all but the second are rewritten. `numbers` names the
    coefficients that vary, `structure` holds those that choose branches.
    """

    def __init__(
        self,
        label: str,
        rule: Callable[..., Any],
        width: int,
        numbers: Sequence[str],
        structure: dict[str, Any],
    ) -> None:
        self.label, self.rule, self.width = label, rule, width
        self.numbers, self.structure = tuple(numbers), structure
        self._calls = 0
        self._kernels: dict[Any, Callable[..., Any] | None] = {}

    def __call__(self, arrays: list[np.ndarray], sizes: list[int], values: list[float]) -> bool:
        """Rewrite the rows of `arrays` (flat, `width` to a row); False if nothing was done.

        `sizes` are the rows' lengths, `values` the numbers. Raises RuntimeError if the arrays of a
        row differ in length.
        """
        kernel = self._kernel(arrays[0].dtype, sum(sizes))
        if kernel is None:
            return False
        chunks, plan = _plan(sizes)
        status = np.zeros(1, np.int64)
        try:
            kernel(chunks, arrays, plan, np.array(values, np.float64), status)
        except TypeError:  # an array of another dtype or with gaps
            return False
        if status[0]:
            raise RuntimeError(
                f"{self.label}: a parameter, its gradient and its state must have the same number "
                "of elements; has a parameter's data been replaced since the last step?"
            )
        return True

    def _kernel(self, dtype: np.dtype[Any], count: int) -> Callable[..., Any] | None:
        if dtype in self._kernels:
            return self._kernels[dtype]
        self._calls += 1
        if dtype in _TYPES and jit.available():
            if count < LARGE and self._calls < PATIENCE:
                return None
            made = self._make(dtype)
        else:
            made = None
        self._kernels[dtype] = made
        return made

    def _make(self, dtype: np.dtype[Any]) -> Callable[..., Any] | None:
        names = [f"x{i}" for i in range(self.width)]
        symbols = {n: Expression("input", n) for n in self.numbers}
        inputs = [Expression("input", n) for n in names]
        results = [lift(r) for r in self.rule(BUILDER, *inputs, **symbols, **self.structure)]
        written = [0, *range(2, self.width)]
        type_ = _TYPES[dtype]
        try:
            ir = updates.render_update("update", results, names, written, self.numbers, type_)
        except Unsupported:
            return None
        with _lock:
            library = jit.load_or_build(f"{self.label}.update", ir, lambda: ir)
            return launch.bind(
                library.address("update"),
                f"t:{dtype.name}:cw a:int64:c a:float64:c a:int64:cw",
                name=self.label,
                parallel=True,
            )


_PLANS: dict[Hashable, tuple[int, np.ndarray]] = {}


def _plan(sizes: list[int]) -> tuple[int, np.ndarray]:
    """How many chunks the work is cut into, and where they begin and end."""
    workers = threads.get_num_threads()
    key = (workers, *sizes)
    found = _PLANS.get(key)
    if found is None:
        if len(_PLANS) > 256:
            _PLANS.clear()
        found = _PLANS[key] = _make_plan(sizes, workers)
    return found


def _make_plan(sizes: list[int], workers: int) -> tuple[int, np.ndarray]:
    total = sum(sizes)
    chunks = 1 if workers == 1 else max(1, min(8 * workers, total // _GRAIN))
    step = -(-total // chunks)
    ends = np.cumsum(sizes)
    marks = np.minimum(np.arange(chunks + 1) * step, total)
    rows = np.searchsorted(ends, marks, side="right")
    rows = np.minimum(rows, len(sizes) - 1)
    starts = np.concatenate([[0], ends[:-1]])
    return chunks, np.stack([rows, marks - starts[rows]], 1).astype(np.int64).ravel()
