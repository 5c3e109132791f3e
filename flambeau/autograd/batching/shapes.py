"""Batched views, joins and rearrangements: the examples' dimension stays in front."""

from __future__ import annotations

import math
from typing import Any

from ...ops.shapes import wrap_dim
from ..grad_mode import FAST
from ..levels import map_tensors
from .rules import Call, rule, shifted


def resolved(size: Any, count: int) -> tuple[int, ...]:
    """`size` with the -1 in it replaced, for `count` elements."""
    sizes = [int(s) for s in (size if isinstance(size, (tuple, list)) else (size,))]
    if sizes.count(-1) == 1:
        known = math.prod(s for s in sizes if s != -1)
        if known and count % known == 0:
            sizes[sizes.index(-1)] = count // known
    return tuple(sizes)


@rule("reshape view_as_size")
def reshape(c: Call) -> Any:
    """Another shape for an example."""
    x = c.part("input")
    name = "shape" if c.op.name == "reshape" else "size"
    size = resolved(c[name], math.prod(x.shape[1:]))
    return c.run(**{name: (c.size, *size)})


@rule("expand")
def expand(c: Call) -> Any:
    """An example expanded."""
    size = c["size"]
    size = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    return c.run(input=c.ready("input", len(size)), size=(c.size, *size))


@rule("permute")
def permute(c: Call) -> Any:
    """An example's dimensions in another order."""
    dims, rank = tuple(c["dims"]), c.rank("input")
    if len(dims) != rank:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {rank} is not equal "
            f"to len(dims) = {len(dims)}"
        )
    return c.run(dims=(0, *shifted(dims, rank)) if rank else (0,))


@rule("squeeze")
def squeeze(c: Call) -> Any:
    """An example without dimensions of size 1."""
    x, rank, dim = c.part("input"), c.rank("input"), c["dim"]
    if not rank:
        return x
    if dim is None:
        return c.run(dim=tuple(i for i in range(1, rank + 1) if x.shape[i] == 1))
    return c.run(dim=shifted(dim, rank))


@rule("unsqueeze")
def unsqueeze(c: Call) -> Any:
    """An example with a dimension of size 1 more."""
    return c.run(dim=wrap_dim(c["dim"], c.rank("input") + 1) + 1)


@rule("t")
def t(c: Call) -> Any:
    """An example's matrix transposed."""
    rank, x = c.rank("input"), c.part("input")
    if rank > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {rank}D")
    return x.transpose(1, 2) if rank == 2 else x.view_as(x)


@rule("basic_index")
def basic_index(c: Call) -> Any:
    """Integers, slices and new dimensions."""
    key = c["key"]
    return c.run(key=(slice(None), *(key if isinstance(key, tuple) else (key,))))


@rule("basic_index_back")
def basic_index_back(c: Call) -> Any:
    """The gradient of `basic_index`."""
    key = c["key"]
    key = (slice(None), *(key if isinstance(key, tuple) else (key,)))
    return c.run(key=key, shape=(c.size, *c["shape"]))


@rule("as_strided")
def as_strided(c: Call) -> Any:
    """Other strides within each example."""
    x = c.part("input")
    offset = c["storage_offset"]
    offset = x.storage_offset() if offset is None else offset
    return x.as_strided((c.size, *c["size"]), (x.stride(0), *c["stride"]), offset)


@rule("diag_embed")
def diag_embed(c: Call) -> Any:
    """An example's rows on diagonals."""
    rank = c.rank("input") + 1
    return c.run(dim1=shifted(c["dim1"], rank), dim2=shifted(c["dim2"], rank))


@rule("diagonal_backward")
def diagonal_backward(c: Call) -> Any:
    """The gradient of `diagonal`."""
    rank = len(c["input_sizes"])
    return c.run(
        input_sizes=(c.size, *c["input_sizes"]),
        dim1=shifted(c["dim1"], rank),
        dim2=shifted(c["dim2"], rank),
    )


@rule("unfold_back")
def unfold_back(c: Call) -> Any:
    """The gradient of `unfold`."""
    dimension = shifted(c["dimension"], len(c["shape"]))
    return c.run(shape=(c.size, *c["shape"]), dimension=dimension) if c["shape"] else None


@rule("sum_to_size")
def sum_to_size(c: Call) -> Any:
    """An example summed to a shape that broadcasts to its own."""
    size = c["size"]
    size = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    x, extra = c.part("input"), c.rank("input") - len(size)
    if extra:
        x = x.sum(tuple(range(1, extra + 1)))
    return x.sum_to_size((c.size, *size))


@rule("repeat")
def repeat(c: Call) -> Any:
    """An example repeated."""
    repeats = c["repeats"]
    repeats = tuple(repeats) if isinstance(repeats, (tuple, list)) else (repeats,)
    if len(repeats) < c.rank("input"):
        return None
    return c.run(input=c.ready("input", len(repeats)), repeats=(1, *repeats))


@rule("roll")
def roll(c: Call) -> Any:
    """An example's elements moved around."""
    rank, x, dims = c.rank("input"), c.part("input"), c["dims"]
    if not rank:
        return None
    if dims is None or dims == ():
        flat = x.reshape(c.size, math.prod(x.shape[1:]))
        return FAST["F"].roll(flat, c["shifts"], 1).reshape(x.shape)
    return c.run(dims=shifted(dims, rank))


@rule("cat")
def cat(c: Call) -> Any:
    """Examples' tensors joined."""
    tensors = list(c["tensors"])
    rank = max(len(x.shape) for x in tensors)
    # One-dimensional empty tensors may be joined with anything.
    kept = [x for x in tensors if tuple(x.shape) != (0,) or rank == 1]
    dim = shifted(c["dim"], rank)
    return c.run(tensors=[c.level.unwrap(x) for x in kept], dim=dim)


@rule("stack")
def stack(c: Call) -> Any:
    """Examples' tensors stacked."""
    tensors = list(c["tensors"])
    dim = wrap_dim(c["dim"], len(tensors[0].shape) + 1) + 1
    return c.run(tensors=[c.level.unwrap(x) for x in tensors], dim=dim)


@rule("view_as_complex")
def view_as_complex(c: Call) -> Any:
    """Pairs as complex numbers, which lie side by side."""
    x = c.part("input")
    return c.run(input=x if x.stride(-1) == 1 else x.contiguous())


@rule("block_diag_of")
def block_diag(c: Call) -> Any:
    """Examples' matrices on a diagonal: rows of zeros around each, joined."""
    F = FAST["F"]
    matrices = [x if len(x.shape) == 2 else x.reshape(1, x.numel()) for x in c["tensors"]]
    columns, start, rows = sum(x.shape[1] for x in matrices), 0, []
    for x in matrices:
        end = start + x.shape[1]
        rows.append(F.constant_pad_nd(x, (start, columns - end)))
        start = end
    return c.level.unwrap(F.cat(rows))


@rule("with_part")
def with_part(c: Call) -> Any:
    """An example with a part of it replaced."""
    key = c["key"]
    return c.run_full(key=(slice(None), *(key if isinstance(key, tuple) else (key,))))


@rule("blend_points blend_points_back blend_points_shares corner_shares")
def points(c: Call) -> Any:
    """Points in images: examples are more images."""
    if not c.size:
        return None
    folded = {n: c.full(n) for n in c.op.tensors}
    out = c.run(**{n: x.reshape(-1, *x.shape[2:]) for n, x in folded.items()})
    return map_tensors(lambda x: x.reshape(c.size, -1, *x.shape[1:]), out)


@rule("fractional_windows")
def fractional_windows(c: Call) -> Any:
    """Windows of images: examples are more of them."""
    x, rank = c.full("input"), c.rank("input")
    if not c.size:
        return None
    samples = c.full("samples")
    many = rank - len(c["counts"]) == 2
    out = c.run(
        input=x.reshape(-1, *x.shape[2:]) if many else x,
        samples=samples.reshape(-1, *samples.shape[2:]),
    )
    return map_tensors(lambda y: y.reshape(c.size, -1, *y.shape[1:]), out) if many else out
