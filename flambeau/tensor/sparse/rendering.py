"""How sparse tensors look: PyTorch's ``repr``."""

from __future__ import annotations

from typing import Any

from ... import devices
from ...backends.sparse import ROWS
from ..core import array_of
from ..printing import history_notes, ordinary_dtypes, render_values, with_notes


def index_names(layout: devices.layout) -> tuple[str, ...]:
    """What the index tensors of a layout are called."""
    if layout is devices.sparse_coo:
        return ("indices",)
    rows = layout in ROWS
    return ("crow_indices", "col_indices") if rows else ("ccol_indices", "row_indices")


def index_arrays(raw: Any) -> tuple[Any, ...]:
    """The index arrays of a sparse array, in the order of their names."""
    return (raw.indices,) if raw.layout is devices.sparse_coo else (raw.ends, raw.indices)


def render(t: Any) -> str:
    """The text of a sparse tensor."""
    raw = array_of(t)
    prefix = "tensor("
    indent = len(prefix)
    parts = zip((*index_names(raw.layout), "values"), (*index_arrays(raw), raw.values), strict=True)
    texts = []
    for name, array in parts:
        head = f"{name}=tensor("
        if array.size:
            texts.append(f"{head}{render_values(array, indent + len(head))})")
        else:
            texts.append(f"{head}[], size={tuple(array.shape)})")
    text = (",\n" + " " * indent).join(texts)
    notes = [f"size={tuple(raw.shape)}", f"nnz={raw.count}"]
    if t.dtype not in ordinary_dtypes():
        notes.append(f"dtype={t.dtype}")
    notes += [f"layout={raw.layout}", *history_notes(t)]
    return with_notes(prefix + text, notes, indent, raw.layout is devices.sparse_coo)
