"""How one matrix product is cut up: which kernel, which blocks, which operands are packed.

A `Plan` depends on shapes and strides only, so that it is made once and used for every product
that looks the same.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from . import target
from .gemm import DIRECT, PLAN, PRIVATE, SHARED
from .microkernel import Tile, tile_for
from .skinny import DOT_COLUMNS, DOT_ROWS

# Multiply-adds that one more thread must find to be worth waking.
_WORTH_A_THREAD = 150_000
# The deepest block: each of its rows of C is read and written once for so many multiply-adds.
_DEEPEST = 512
# Rows of A up to which rows of B are scaled and added, or their dot products taken.
_FEW_ROWS = 4
# Rows of A from which copying B into panels pays.
_ROWS_TO_PACK = 48


class Operand(NamedTuple):
    """The strides of one operand, in elements."""

    row: int
    col: int


class Plan(NamedTuple):
    """What to launch: a kernel by name, so many chunks, with `words` and `work` elements."""

    kernel: str
    chunks: int
    pack_chunks: int
    words: np.ndarray
    work: int


class Product(NamedTuple):
    """A batch of products C = A B + D: extents, strides, and the offsets of each matrix."""

    m: int
    n: int
    k: int
    a: Operand
    b: Operand
    c: Operand
    d: Operand | None
    offsets: np.ndarray
    relu: bool = False


def plan(p: Product, dtype: str, threads: int) -> Plan:
    """The plan for a product of positive extents; C's columns are contiguous or few."""
    tile = tile_for(dtype, target.host())
    if p.m <= _FEW_ROWS and p.b.col == 1 and p.c.col == 1 and p.n >= 4 * tile.columns:
        return _plan_rows(p, tile, threads)
    if (_are_few_dots(p, tile.lanes) or p.c.col != 1) and p.a.col == 1 and p.b.row == 1:
        return _plan_dots(p, threads)
    return _plan_blocks(p, tile, threads)


def _are_few_dots(p: Product, lanes: int) -> bool:
    """Whether so few rows or columns are so long that packing costs more than adding up lanes."""
    few = min(p.m, p.n)
    if few <= 8:
        return p.k >= 4 * lanes
    wasteful = p.m <= 24 or p.n % lanes > 0
    return few <= 24 and p.k >= 16 * lanes and wasteful


def _parts(p: Product, threads: int) -> int:
    """How many pieces each matrix of the batch should be cut in."""
    batch, useful = len(p.offsets), _useful(p, threads)
    return 1 if batch >= 2 * useful else math.ceil(useful / batch)


def _useful(p: Product, threads: int) -> int:
    """How many threads the whole batch can keep busy."""
    return max(1, min(threads, p.m * p.n * p.k * len(p.offsets) // _WORTH_A_THREAD))


def _batch_parts(p: Product, threads: int) -> int:
    """How many pieces the batch is cut in: a few for each thread."""
    useful = _useful(p, threads)
    return min(len(p.offsets), 1 if useful == 1 else 8 * useful)


def _finish(kernel: str, p: Product, threads: int, work: int = 0, **fields: int) -> Plan:
    """The plan whose words are the product's and `fields`."""
    d = p.d or Operand(0, 0)
    known = {
        "m": p.m, "n": p.n, "k": p.k, "a_row": p.a.row, "a_col": p.a.col,
        "b_row": p.b.row, "b_col": p.b.col, "c_row": p.c.row, "c_col": p.c.col,
        "d_row": d.row, "d_col": d.col, "added": int(p.d is not None), "relu": int(p.relu),
        "batches": len(p.offsets), "batch_parts": _batch_parts(p, threads),
    } | fields  # fmt: skip
    head = np.array([known.get(name, 0) for name in PLAN], np.int64)
    words = np.concatenate([head, p.offsets.astype(np.int64).ravel()])
    chunks = known["batch_parts"] * known["m_parts"] * known["n_parts"]
    shared = SHARED in (known.get("a_mode"), known.get("b_mode"))
    return Plan(kernel, chunks, known["pack_parts"] if shared else 0, words, work)


def _plan_rows(p: Product, tile: Tile, threads: int) -> Plan:
    parts = min(_parts(p, threads), math.ceil(p.n / tile.columns))
    return _finish("gemm_rows", p, threads, m_parts=1, m_unit=1, n_parts=parts, n_unit=tile.columns)


def _plan_dots(p: Product, threads: int) -> Plan:
    parts = _parts(p, threads)
    along_n = math.ceil(p.n / DOT_COLUMNS) >= min(parts, math.ceil(p.m / DOT_ROWS))
    n_parts = min(parts, math.ceil(p.n / DOT_COLUMNS)) if along_n else 1
    m_parts = 1 if along_n else min(parts, math.ceil(p.m / DOT_ROWS))
    return _finish(
        "gemm_dots", p, threads,
        m_parts=m_parts, n_parts=n_parts, m_unit=DOT_ROWS, n_unit=DOT_COLUMNS,
    )  # fmt: skip


def _plan_blocks(p: Product, tile: Tile, threads: int) -> Plan:
    host, size = target.host(), tile.form.size
    parts = _parts(p, threads)
    # A block of B's panels takes a third of the second cache, a block of A's rows a quarter.
    k_blocks = math.ceil(p.k / _DEEPEST)
    k_block = math.ceil(p.k / k_blocks)
    n_block = max(1, host.l2 // 3 // size // k_block // tile.columns) * tile.columns
    m_block = max(1, host.l2 // 4 // size // k_block // tile.rows) * tile.rows
    b_mode = _b_mode(p, host.l2, size)
    m_parts, n_parts = 1, 1
    wide = p.n >= parts * 2 * tile.columns
    if parts > 1 and wide and (b_mode != DIRECT or p.n >= p.m):
        # Several chunks a thread even out what other programs take from one.
        n_parts = parts * max(1, p.n // (parts * 4 * tile.columns))
    elif parts > 1 and p.m > tile.rows // 2:
        m_parts = min(parts, p.m)
        b_mode = SHARED if b_mode != DIRECT else DIRECT
    elif parts > 1:
        n_parts = min(parts, math.ceil(p.n / tile.lanes))
    if b_mode == SHARED and len(p.offsets) > 1:
        b_mode = PRIVATE
    a_mode = _a_mode(p, tile, size, b_mode, n_parts)
    m_unit = tile.rows if p.m >= 4 * tile.rows * m_parts or a_mode == SHARED else 1
    n_unit = tile.columns if p.n >= 2 * tile.columns * n_parts or b_mode == SHARED else tile.lanes
    # A's private panels are filled again for each block of columns: the fewer, the better.
    n_block = min(n_block * (4 if a_mode == PRIVATE else 1), _round(p.n, tile.columns))
    m_block = min(m_block, _round(p.m, tile.rows))
    layout = _lay_out(p, tile, a_mode, b_mode, m_block, n_block, k_block)
    work = layout["private"] + threads * layout["private_size"]
    return _finish(
        "gemm", p, threads, work, m_block=m_block, n_block=n_block, k_block=k_block,
        m_parts=m_parts, n_parts=n_parts, m_unit=m_unit, n_unit=n_unit, a_mode=a_mode,
        b_mode=b_mode, pack_parts=2 * threads, **layout,
    )  # fmt: skip


def _b_mode(p: Product, l2: int, size: int) -> int:
    """B is read where it lies if its rows are contiguous and it is small or little used."""
    if p.b.col != 1:
        return PRIVATE
    near = abs(p.b.row) * size <= 2048 and p.k * p.n * size <= 2 * l2
    return DIRECT if p.m < _ROWS_TO_PACK or near else PRIVATE


def _a_mode(p: Product, tile: Tile, size: int, b_mode: int, n_parts: int) -> int:
    """A is read where it lies unless its columns are contiguous and far apart."""
    near = abs(p.a.col) * size < 4096 or p.n <= tile.columns
    if p.a.col == 1 or near:
        return DIRECT
    if len(p.offsets) > 1 or n_parts == 1:
        return PRIVATE
    return SHARED


def _round(x: int, unit: int) -> int:
    return math.ceil(x / unit) * unit


def _lay_out(
    p: Product, tile: Tile, a_mode: int, b_mode: int, m_block: int, n_block: int, k_block: int
) -> dict[str, int]:
    """Where panels lie in the scratch memory, in elements."""
    a_shared = _round(p.m, tile.rows) * p.k if a_mode == SHARED else 0
    b_shared = _round(p.n, tile.columns) * p.k if b_mode == SHARED else 0
    a_private = m_block * k_block if a_mode == PRIVATE else 0
    b_private = n_block * k_block if b_mode == PRIVATE else 0
    page = 1024
    start = _round(a_shared, page)
    return {
        "b_shared": start,
        "private": start + _round(b_shared, page),
        "b_private": _round(a_private, page),
        "private_size": _round(a_private, page) + _round(b_private, page),
    }
