"""Many tensors rewritten in place by one rule: the driver under the optimizers.

A rule says what one step does to one element of a parameter, as arithmetic on scalars:

    def rule(m, p, g, *state, **coefficients) -> tuple of the new p and the new state

``m`` is a reader with ``sqrt``, ``abs``, ``sign``, ``maximum`` and ``where``. A rule is read three
ways: with the expression builder of `flambeau.compiler` it becomes one kernel that updates all
parameters in a single call, with NumPy it computes on arrays (without a JIT, and for half precision
or odd strides), with `flambeau.tensor.functions` on tensors (other devices, and steps that are
differentiated).

A rule branches on coefficients that are bools or strings and treats numbers as unknown. Numbers
meet elements only: arithmetic among coefficients belongs where they are made, in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backends.cpu.updates import Update
from . import functions as fl
from .core import bump
from .tensor import Tensor

Rule = Callable[..., tuple[Any, ...]]
Row = tuple[Tensor, ...]  # parameter, gradient, state...
Arrays = list[np.ndarray]

SMALL = 8192  # elements: below, NumPy is given a parameter packed with its neighbours
PIECE = 16384  # elements NumPy is given at a time: a step's operands fit the second-level cache


def apply_rule_(
    rule: Rule, rows: Sequence[Row], coefficients: dict[str, Any], *, together: bool = True
) -> None:
    """Apply `rule` to every row ``(parameter, gradient, state...)``, in place.

    Half precision is computed in float32 and rounded once; the real and imaginary parts of complex
    parameters are updated separately, as PyTorch does. `together` says that no two rows share
    memory.
    """
    batches: dict[Any, list[Arrays]] = {}
    for i, row in enumerate(rows):
        arrays = [t._d for t in row]
        p = arrays[0]
        if p.__class__ is not np.ndarray:
            with no_grad():
                apply_to_tensors_(rule, row, coefficients)
            continue
        batch = batches.setdefault(p.dtype if together else i, [])
        batch.extend(_real_parts(arrays) if p.dtype.kind == "c" else (arrays,))
        for t in (row[0], *row[2:]):
            bump(t)
    for batch in batches.values():
        _update_batch_(rule, batch, coefficients)


def apply_to_tensors_(rule: Rule, row: Row, coefficients: dict[str, Any]) -> None:
    """Apply `rule` to one row with tensor operations, which autograd records if it is on."""
    if row[0].is_complex():
        row = tuple(fl.view_as_real(t) for t in row)
    targets = (row[0], *row[2:])
    for target, value in zip(targets, rule(fl, *row, **coefficients), strict=True):
        target.copy_(value)


def count_(t: Tensor) -> float:
    """Add 1 to the 0-d tensor `t`; returns its new value."""
    held = t._d
    if held.__class__ is not np.ndarray:
        return float(t.add_(1))
    value = float(held.item() + 1)
    held.fill(value)
    bump(t)
    return value


def _real_parts(arrays: Arrays) -> list[Arrays]:
    """Complex `arrays` as one row of real ones where their memory allows it, else as two."""
    if all(a.flags.c_contiguous for a in arrays):
        real = arrays[0].real.dtype
        return [[a.reshape(-1).view(real) for a in arrays]]
    return [[a.real for a in arrays], [a.imag for a in arrays]]


# With a kernel -----------------------------------------------------------------------------------

_UPDATES: dict[Any, Update] = {}


def _update_batch_(rule: Rule, rows: list[Arrays], coefficients: dict[str, Any]) -> None:
    """Update rows of one dtype: with a kernel all those that it takes, with NumPy the others."""
    if rows[0][0].dtype.itemsize < 4:
        _update_with_numpy_(rule, rows, coefficients)
    elif not _launch_(rule, rows, coefficients):
        straight = [_in_memory_order(arrays) for arrays in rows]
        regular = [arrays for arrays in straight if arrays is not None]
        odd = [arrays for arrays, s in zip(rows, straight, strict=True) if s is None]
        if regular and not _launch_(rule, regular, coefficients):
            odd = rows
        _update_with_numpy_(rule, odd, coefficients)


def _launch_(rule: Rule, rows: list[Arrays], coefficients: dict[str, Any]) -> bool:
    """Run the rule's kernel on `rows`; False if there is none or it does not take them all."""
    structure = {k: v for k, v in coefficients.items() if isinstance(v, (bool, str))}
    key = (rule, len(rows[0]), *structure.items())
    update = _UPDATES.get(key)
    if update is None:
        numbers = [k for k in coefficients if k not in structure]
        label = rule.__qualname__.removesuffix(".rule")
        update = _UPDATES[key] = Update(label, rule, len(rows[0]), numbers, structure)
    values = [coefficients[name] for name in update.numbers]
    return update([a for arrays in rows for a in arrays], [r[0].size for r in rows], values)


def _in_memory_order(arrays: Arrays) -> Arrays | None:
    """`arrays` with their axes in the order of memory, if that makes all of them contiguous."""
    p = arrays[0]
    order = sorted(range(p.ndim), key=lambda axis: -p.strides[axis])
    turned = [a.transpose(order) for a in arrays]
    return turned if all(a.flags.c_contiguous for a in turned) else None


# With NumPy --------------------------------------------------------------------------------------


def _update_with_numpy_(rule: Rule, rows: list[Arrays], coefficients: dict[str, Any]) -> None:
    small = []
    for arrays in rows:
        if arrays[0].size < SMALL:
            small.append(arrays)
        else:
            _update_large_(rule, arrays, coefficients)
    for packed in _packs(small):
        _update_packed_(rule, packed, coefficients)


def _evaluate(rule: Rule, arrays: Arrays, coefficients: dict[str, Any]) -> Sequence[np.ndarray]:
    dtype = arrays[0].dtype
    working = np.dtype(np.float32) if dtype.itemsize < 4 else dtype
    if any(a.dtype != working for a in arrays):
        arrays = [a.astype(working, copy=False) for a in arrays]
    return rule(np, *arrays, **coefficients)


def _update_large_(rule: Rule, arrays: Arrays, coefficients: dict[str, Any]) -> None:
    if all(a.flags.c_contiguous for a in arrays):
        arrays = [a.reshape(-1) for a in arrays]
    length = len(arrays[0])
    step = max(1, PIECE * length // arrays[0].size)
    for start in range(0, length, step):
        pieces = [a[start : start + step] for a in arrays]
        values = _evaluate(rule, pieces, coefficients)
        for target, value in zip((pieces[0], *pieces[2:]), values, strict=True):
            target[...] = value


def _packs(rows: list[Arrays]) -> Iterator[list[Arrays]]:
    """`rows` in groups of about `PIECE` elements."""
    group: list[Arrays] = []
    count = 0
    for arrays in rows:
        group.append(arrays)
        count += arrays[0].size
        if count >= PIECE:
            yield group
            group, count = [], 0
    if group:
        yield group


def _update_packed_(rule: Rule, rows: list[Arrays], coefficients: dict[str, Any]) -> None:
    columns = [np.concatenate(column, axis=None) for column in zip(*rows, strict=True)]
    values = _evaluate(rule, columns, coefficients)
    for index, value in zip((0, *range(2, len(columns))), values, strict=True):
        start = 0
        for arrays in rows:
            target = arrays[index]
            end = start + target.size
            target[...] = value[start:end].reshape(target.shape)
            start = end
