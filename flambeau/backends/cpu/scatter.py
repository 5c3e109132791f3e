"""Adding values up at places, some of which repeat: the same result in every run."""

from __future__ import annotations

from typing import Any

import numpy as np

# Numbers from which a sparse product pays for SciPy's set-up.
_MANY = 1 << 15


def add_at(total: Any, places: Any, values: Any) -> None:
    """``total[places[i]] += values[i]`` for every i; `total` is flat and changed in place."""
    if not places.size:
        return
    kind = total.dtype.kind
    if kind == "c":
        for part in ("real", "imag"):
            sums = np.bincount(places, getattr(values, part), len(total))
            getattr(total, part)[...] += sums.astype(getattr(total, part).dtype)
    elif kind in "biu":
        np.add.at(total, places, values)
    elif kind == "f" and total.dtype.itemsize >= 4:
        total += np.bincount(places, values, len(total)).astype(total.dtype, copy=False)
    else:
        sums = np.bincount(places, values.astype(np.float64), len(total))
        total[...] = (total.astype(np.float64) + sums).astype(total.dtype)


def add_rows(total: Any, places: Any, rows: Any) -> None:
    """``total[places[i]] += rows[i]`` for every i along the first dimension, in place."""
    if not places.size or not rows.size:
        return
    if total.ndim == 1 or total[0].size == 1:
        flat = total.reshape(-1) if total.flags.c_contiguous else total.reshape(-1).copy()
        add_at(flat, places, rows.reshape(-1))
        total[...] = flat.reshape(total.shape)
        return
    order = np.argsort(places, kind="stable")
    ranked = places[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    if len(starts) == len(ranked):
        total[places] += rows.astype(total.dtype, copy=False)
        return
    wide = np.float32 if total.dtype.itemsize < 4 and total.dtype.kind in "fV" else rows.dtype
    rows = rows.astype(wide, copy=False)
    if rows.size >= _MANY and rows.dtype in (np.float32, np.float64):
        sums = _sum_runs(rows, order, starts)
    else:
        sums = np.add.reduceat(rows[order], starts, axis=0)
    total[ranked[starts]] += sums.astype(total.dtype, copy=False)


def _sum_runs(rows: Any, order: Any, starts: Any) -> Any:
    """The sums of the runs of ``rows[order]`` that begin at `starts`, as a sparse product."""
    from scipy import sparse

    bounds = np.append(starts, len(order))
    runs = sparse.csr_array((np.ones(len(order), rows.dtype), order, bounds))
    return (runs @ rows.reshape(len(rows), -1)).reshape(len(starts), *rows.shape[1:])
