"""What an op means for batched tensors: by family, by table, or one example at a time.

A rule is a function of a `Call` that returns the results with the examples counted by their first
dimension, or None where it does not serve. `RULES` has those of single ops.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from ... import dtypes
from ...dtypes import Operand, result_dtype
from ...ops.record import Op
from ...ops.shapes import wrap_dim
from ...tensor.core import TensorCore
from ..grad_mode import FAST
from ..levels import call, map_tensors

RULES: dict[str, Callable[[Call], Any]] = {}


class Call:
    """One op called with arguments of which some are batched at `level`."""

    def __init__(self, level: Any, op: Op, args: dict[str, Any]) -> None:
        self.level, self.op, self.args = level, op, args
        self.size: int = level.size

    def __getitem__(self, name: str) -> Any:
        """The argument `name`, or its default."""
        return self.args[name] if name in self.args else self.op.defaults[name]

    def is_batched(self, name: str) -> bool:
        """Whether the argument `name` is a batched tensor."""
        return bool(self.level.holds(self.args.get(name)))

    def batched(self) -> list[str]:
        """The names of the batched tensor arguments."""
        return [n for n in self.op.tensors if n not in self.op.lists and self.is_batched(n)]

    def only(self, *names: str) -> bool:
        """Whether no others than these arguments are batched."""
        return set(self.batched()) <= set(names) and not self.op.lists

    def rank(self, name: str) -> int:
        """The number of dimensions an example's tensor has."""
        return len(self.args[name].shape)

    def part(self, name: str) -> Any:
        """What the argument is made of, if it is batched; else the argument."""
        x = self[name]
        return x.part if self.level.holds(x) else x

    def full(self, name: str) -> Any:
        """The argument with a value for each example: (size, *shape)."""
        x = self[name]
        return None if x is None else self.level.unwrap(x)

    def ready(self, name: str, rank: int) -> Any:
        """The argument so that it broadcasts against (size, ...) with examples of `rank`."""
        x = self[name]
        if not self.level.holds(x):
            return x
        missing = rank - len(x.shape)
        if missing <= 0:
            return x.part
        return x.part.reshape(self.size, *[1] * missing, *x.shape)

    def run(self, **changes: Any) -> Any:
        """The op with its batched arguments as they are made, but for `changes`."""
        given = {n: self.part(n) if n in self.op.tensors else v for n, v in self.args.items()}
        return call(self.op, {**given, **changes})

    def run_full(self, **changes: Any) -> Any:
        """The op with every tensor argument expanded to (size, *shape), but for `changes`."""
        given = {n: self.full(n) if n in self.op.tensors else v for n, v in self.args.items()}
        return call(self.op, {**given, **changes})


def rule(names: str) -> Callable[[Callable[[Call], Any]], Callable[[Call], Any]]:
    """Enter a function as the rule of the ops called `names`."""

    def enter(f: Callable[[Call], Any]) -> Callable[[Call], Any]:
        for name in names.split():
            RULES[name] = f
        return f

    return enter


def apply(level: Any, op: Op, arguments: dict[str, Any]) -> Any:
    """The results of `op` for all examples of `level`."""
    c = Call(level, op, arguments)
    result = None
    own = RULES.get(op.name)
    if own is not None:
        result = own(c)
    elif op.family == "pointwise":
        result = pointwise(c)
    elif op.decompose is not None:
        return decomposed(c)
    if result is None:
        if op.name in _SLOW:
            _warn_of_loop(_SLOW[op.name])
        result = one_by_one(c)
    return map_tensors(level.wrap, result)


_SLOW = {
    "bincount": "bincount", "embedding_bags": "embedding_bag.padding_idx",
    "hash_tensor": "hash_tensor", "histc": "histc", "histogram_grid": "histogram.bins_tensor",
    "isin_of": "isin.Tensor_Tensor", "linalg_ldl_solve": "linalg_ldl_solve",
    "masked_scatter": "masked_scatter", "nonzero_static": "nonzero_static", "put": "put",
    "repeated_indices": "repeat_interleave.Tensor",
}  # fmt: skip
"""Ops that run once for each example in PyTorch, too, which warns of it by these names."""


def _warn_of_loop(name: str) -> None:
    warnings.warn(
        "There is a performance drop because we have not yet implemented the batching rule for "
        f"aten::{name}. Please file us an issue on GitHub so that we can prioritize its "
        "implementation.",
        UserWarning,
        stacklevel=5,
    )


# ---------------------------------------------------------------- any op
def decomposed(c: Call) -> Any:
    """The results of an op by way of what it is made of."""
    values = {**c.op.defaults, **c.args}
    assert c.op.decompose is not None
    return c.op.decompose(FAST["F"], **values)


def one_by_one(c: Call, before: Callable[[], None] | None = None) -> Any:
    """The op once for each example, `before` which something may have to be done."""
    if not c.size:
        raise RuntimeError(
            f"The fallback path does not support vmap over dims of size 0 ({c.op.name})"
        )
    rows = []
    for b in range(c.size):
        if before is not None:
            before()
        rows.append(call(c.op, {n: _example(c, v, b) for n, v in c.args.items()}))
    return stacked(rows)


def _example(c: Call, value: Any, b: int) -> Any:
    return map_tensors(lambda x: x.part[b] if c.level.holds(x) else x, value)


def stacked(rows: list[Any]) -> Any:
    """One result of the examples' `rows`: tensors are stacked, anything else must be the same."""
    first = rows[0]
    if isinstance(first, TensorCore):
        return FAST["F"].stack(rows)
    if isinstance(first, (tuple, list)):
        parts = [stacked(list(column)) for column in zip(*rows, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if any(r != first for r in rows):
        raise RuntimeError("vmap: the examples of an op have different results that are no tensors")
    return first


# ---------------------------------------------------------------- element-wise ops
def pointwise(c: Call) -> Any:
    """Tensors with their dimensions aligned, so that the examples' dimension comes first."""
    names = [n for n in c.op.tensors if n in c.args]
    rank = max(c.rank(n) for n in names if isinstance(c.args[n], TensorCore))
    aligned = {n: c.ready(n, rank) for n in names}
    scalars = [n for n in names if c.is_batched(n) and not c.rank(n)]
    if (scalars and rank) or any(not isinstance(c.args[n], TensorCore) for n in names):
        wanted = _dtype_of_examples(c, names)
        for n in scalars:
            if aligned[n]._t is not wanted and c.op.promote != "keep":
                aligned[n] = aligned[n].to(wanted)
    return c.run(**aligned)


def _dtype_of_examples(c: Call, names: list[str]) -> Any:
    """The dtype that the op computes one example's tensors in."""
    operands = []
    for n in names:
        x = c.args[n]
        if isinstance(x, TensorCore):
            operands.append(Operand(x._t, 1 if not c.rank(n) else 2))
        elif x is not None:
            operands.append(Operand(dtypes.scalar_dtype(x), 0))
    return result_dtype(operands)


def aligned(c: Call) -> Any:
    """The rule of structured ops that act on elements."""
    names = [n for n in c.op.tensors if isinstance(c.args.get(n), TensorCore)]
    rank = max(c.rank(n) for n in names)
    return c.run(**{n: c.ready(n, rank) for n in names})


rule(
    """angle conj clone contiguous_copy complex polar floating frexp nan_to_num no_errors
    resolve_conj to_dtype fill_number zero masked_fill_number real imag view_as_real
    isclose select_where"""
)(aligned)


@rule("copy")
def copy(c: Call) -> Any:
    """The source in the shape of what is written to."""
    shape = c["input"].shape
    source = c.ready("src", len(shape))
    return c.run(input=c.full("input"), src=source)


@rule("masked_fill_tensor fill_tensor")
def fill(c: Call) -> Any:
    """A value for each example."""
    rank = c.rank("input")
    value = c.ready("value", rank)
    if c.op.name == "fill_tensor":
        return call_by_name("copy", c.full("input"), value)
    full, mask = c.full("input"), c.ready("mask", rank)
    rank = max(rank, c.rank("mask"))
    return FAST["F"].where(mask, value.to(full._t), c.ready("input", rank))


def call_by_name(name: str, *args: Any, **kwargs: Any) -> Any:
    """The public function called `name`."""
    return getattr(FAST["F"], name)(*args, **kwargs)


# ---------------------------------------------------------------- dimensions
def shifted(dim: Any, rank: int) -> Any:
    """An example's dimension, or dimensions, as those of all examples together."""
    if isinstance(dim, (tuple, list)):
        return tuple(wrap_dim(int(d), rank) + 1 for d in dim)
    return wrap_dim(int(dim), rank) + 1


_DIMS = {
    "narrow": "dim", "split_at": "dim", "transpose": "dim0 dim1", "unbind": "dim",
    "unfold": "dimension", "diagonal": "dim1 dim2", "flip": "dims", "cumsum": "dim",
    "cumprod": "dim", "cummax": "dim", "cummin": "dim", "logcumsumexp": "dim", "softmax": "dim",
    "log_softmax": "dim", "softmax_back": "dim", "log_softmax_back": "dim", "sort_along": "dim",
    "topk": "dim", "kthvalue": "dim", "max_dim": "dim", "min_dim": "dim", "median_dim": "dim",
    "nanmedian_dim": "dim", "mode": "dim", "gather": "dim", "scatter_tensor": "dim",
    "scatter_add": "dim", "scatter_number": "dim", "scatter_reduce": "dim", "fft_c2c": "dim",
    "fft_c2r": "dim", "fft_r2c": "dim", "diagonal_scatter": "dim1 dim2",
}  # fmt: skip
"""Ops that act along dimensions of an example, and the parameters that name these."""


def along(c: Call) -> Any:
    """The rule of ops that act along dimensions."""
    rank = c.rank(c.op.tensors[0])
    if not rank:
        return _along_nothing(c) if c.op.name in _OF_NUMBERS else None
    moved = {n: shifted(c[n], rank) for n in _DIMS[c.op.name].split() if c[n] is not None}
    return c.run_full(**moved) if len(c.op.tensors) > 1 else c.run(**moved)


_OF_NUMBERS = frozenset(
    """cumsum cumprod cummax cummin logcumsumexp softmax log_softmax sort_along topk kthvalue
    max_dim min_dim median_dim nanmedian_dim mode""".split()
)
"""Ops of one tensor that take a 0-d one as one of a single element, with 0-d results."""


def _along_nothing(c: Call) -> Any:
    """An op along the dimension that an example of no dimensions does not have."""
    first, dim = c.op.tensors[0], _DIMS[c.op.name]
    out = c.run(**{first: c.part(first).unsqueeze(1), dim: shifted(c[dim], 1)})
    return map_tensors(lambda x: x.reshape(c.size), out)


rule(" ".join(_DIMS))(along)


@rule(
    """sum mean nansum amax amin all any count_nonzero std_of var_of logsumexp linalg_vector_norm
    argmax argmin prod aminmax max_all min_all"""
)
def reduce(c: Call) -> Any:
    """Folding over dimensions, by default over all of an example's."""
    first = c.op.tensors[0]
    rank, x = c.rank(first), c.part(first)
    dim = c["dim"] if "dim" in c.op.params else None
    if not rank:
        if c.op.name in ("max_all", "min_all"):
            return x.clone()
        # One number is a row of one.
        dims = 1 if dim is None or dim == () else shifted(dim, 1)
        changes = {"keepdim": False} if "keepdim" in c.op.params else {}
        return c.run(**{first: x.unsqueeze(1), "dim": dims}, **changes)
    if dim is not None and dim != ():
        return c.run(dim=shifted(dim, rank))
    if c.op.name in ("max_all", "min_all"):
        if not math.prod(x.shape[1:]):
            return None
        name = {"max_all": "amax", "min_all": "amin"}[c.op.name]
        return call_by_name(name, x, tuple(range(1, rank + 1)))
    if c.op.name in ("argmax", "argmin", "prod", "aminmax"):
        keep = bool("keepdim" in c.op.params and c["keepdim"])
        found = c.run(**{first: x.reshape(c.size, math.prod(x.shape[1:]))}, dim=1)
        return map_tensors(lambda y: y.reshape(c.size, *[1] * rank), found) if keep else found
    return c.run(dim=tuple(range(1, rank + 1)))


# ---------------------------------------------------------------- what leaves leading dimensions be
@rule(
    """linalg_cholesky linalg_cholesky_ex linalg_det linalg_eig linalg_eigh linalg_inv linalg_inv_ex
    linalg_ldl_factor linalg_ldl_factor_ex linalg_lu linalg_lu_factor linalg_lu_factor_ex
    linalg_matrix_exp linalg_qr linalg_slogdet linalg_svd lu_pivots geqrf cholesky_inverse
    pseudo_inverse tril triu causal_scores unravel_places avg_pool_windows max_pool_windows
    max_pool_windows_indices resample resample_back constant_pad_nd avg_pool_windows_back
    adaptive_max_parts differences"""
)
def leading(c: Call) -> Any:
    """The op works on the last dimensions and takes any before them."""
    given = [n for n in c.op.tensors if c.args.get(n) is not None]
    return c.run() if len(c.batched()) == len(given) else None
