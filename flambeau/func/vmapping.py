"""`vmap`: a function of one example as a function of many."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd.batching import BatchedTensor, BatchLevel
from ..autograd.levels import level_of
from ..tensor import Tensor
from ..tensor import functions as fl
from ..utils._pytree import TreeSpec, broadcast_to_and_flatten, tree_flatten, tree_unflatten

in_dims_t = int | tuple[Any, ...] | None
out_dims_t = int | tuple[Any, ...] | None


def name_of(func: Callable[..., Any]) -> str:
    """What a function is called in messages."""
    return getattr(func, "__name__", None) or repr(func)


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """`func` over examples, which `in_dims` of its arguments count and `out_dims` of its results.

    Both are ints or trees of them in the structure of the arguments and results (None: the same
    for every example, and no tensor of examples). `randomness` says whether drawing random numbers
    is an "error", "different" for each example or the "same". `chunk_size` examples are computed
    at a time. ValueError where dimensions and arguments do not fit.

    >>> import flambeau
    >>> vmap(flambeau.dot)(flambeau.ones(2, 3), flambeau.ones(2, 3))
    tensor([3., 3.])
    """
    _check_randomness(randomness)
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        size, dims, flat, spec = _inputs(in_dims, args, func)
        if chunk_size is None or chunk_size >= size:
            return _run(func, size, dims, flat, spec, out_dims, randomness, kwargs)
        parts = [
            _run(func, *_part(dims, flat, start, min(start + chunk_size, size)), spec, out_dims,
                 randomness, kwargs)
            for start in range(0, size, chunk_size)
        ]  # fmt: skip
        return _joined(parts, out_dims, func)

    return wrapped


def _check_randomness(randomness: str) -> None:
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got "
            f"{randomness}"
        )


# ---------------------------------------------------------------- arguments
def _inputs(
    in_dims: Any, args: tuple[Any, ...], func: Callable[..., Any]
) -> tuple[int, list[Any], list[Any], TreeSpec]:
    """The number of examples, the dimension of each leaf that counts them, leaves, structure."""
    head = f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{head}expected `in_dims` to be int or a (potentially nested) tuple matching the "
            f"structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name_of(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or "
            "you are trying to vmap over a function with no inputs. The latter is unsupported."
        )
    flat, spec = tree_flatten(args)
    dims = broadcast_to_and_flatten(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"{head}in_dims is not compatible with the structure of `inputs`. in_dims has "
            f"structure {tree_flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    counted = [_checked_dim(head, x, d) for x, d in zip(flat, dims, strict=True)]
    sizes = [x.shape[d] for x, d in zip(flat, counted, strict=True) if d is not None]
    if not sizes:
        raise ValueError("vmap: at least one input must be a Tensor that is vmapped over")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0], counted, flat, spec


def _checked_dim(head: str, x: Any, dim: Any) -> Any:
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(
            f"{head}Got in_dim={dim} for an input but in_dim must be either an integer dimension "
            "or None."
        )
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{head}Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot "
            "vmap over non-Tensor arguments, please use None as the respective in_dim"
        )
    rank = x.dim()
    if not -rank <= dim < rank:
        raise ValueError(
            f"{head}Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
            f"{rank} so expected in_dim to satisfy -{rank} <= in_dim < {rank}."
        )
    return dim % rank


def _part(dims: list[Any], flat: list[Any], start: int, end: int) -> tuple[int, Any, Any]:
    """The examples from `start` to `end`."""
    cut = [
        x if d is None else x.narrow(d, start, end - start) for x, d in zip(flat, dims, strict=True)
    ]
    return end - start, dims, cut


# ---------------------------------------------------------------- the run
def _run(
    func: Callable[..., Any],
    size: int,
    dims: list[Any],
    flat: list[Any],
    spec: TreeSpec,
    out_dims: Any,
    randomness: str,
    kwargs: dict[str, Any],
) -> Any:
    with BatchLevel(size, randomness) as level:
        given = [
            x if d is None else level.wrap(x if d == 0 else x.movedim(d, 0))
            for x, d in zip(flat, dims, strict=True)
        ]
        outputs = func(*tree_unflatten(given, spec), **kwargs)
        return _outputs(level, outputs, out_dims, func)


def _outputs(level: BatchLevel, outputs: Any, out_dims: Any, func: Callable[..., Any]) -> Any:
    """The results with their examples in `out_dims`."""
    flat, spec = tree_flatten(outputs)
    dims = _out_dims(out_dims, outputs, spec, func)
    made = [_output(level, x, d, func) for x, d in zip(flat, dims, strict=True)]
    return tree_unflatten(made, spec)


def _out_dims(out_dims: Any, outputs: Any, spec: TreeSpec, func: Callable[..., Any]) -> list[Any]:
    head = f"vmap({name_of(func)}, ..., out_dims={out_dims})"
    if any(not isinstance(d, int) and d is not None for d in tree_flatten(out_dims)[0]):
        raise ValueError(
            f"{head}: `out_dims` must be an int, None or a python collection of ints representing "
            "where in the outputs the vmapped dimension should appear."
        )
    if isinstance(outputs, Tensor):
        # One result may have its dimension in a tuple of one.
        if isinstance(out_dims, int) or out_dims is None:
            return [out_dims]
        if isinstance(out_dims, tuple) and len(out_dims) == 1:
            return list(out_dims)
    dims = broadcast_to_and_flatten(out_dims, spec)
    if dims is None or (isinstance(outputs, Tensor) and len(dims) != 1):
        raise ValueError(
            f"{head}(<inputs>): out_dims is not compatible with the structure of `outputs`. "
            f"out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {spec}."
        )
    return dims


def _output(level: BatchLevel, x: Any, dim: int | None, func: Callable[..., Any]) -> Any:
    name = name_of(func)
    if dim is None:
        if isinstance(x, Tensor) and level.holds(x):
            raise ValueError(
                f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None"
            )
        return x
    if not isinstance(x, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you "
            "mean to set out_dims= to None for output?"
        )
    value = level.unwrap(x) if level_of(x) <= level.number else level.unwrap_within(x)
    return value if dim == 0 else value.movedim(0, dim)


def _joined(parts: list[Any], out_dims: Any, func: Callable[..., Any]) -> Any:
    """The results of all chunks."""
    flats = [tree_flatten(p) for p in parts]
    spec = flats[0][1]
    dims = _out_dims(out_dims, parts[0], spec, func)
    columns = zip(*(flat for flat, _ in flats), strict=True)
    made = [c[0] if d is None else fl.cat(list(c), d) for c, d in zip(columns, dims, strict=True)]
    return tree_unflatten(made, spec)


def over_rows(
    func: Callable[..., Any], rows: list[Any], chunk_size: int | None = None
) -> list[Any]:
    """`func`, which takes and returns tensors in a list, over the first dimension of `rows`."""
    return list(vmap(lambda *xs: tuple(func(*xs)), chunk_size=chunk_size)(*rows))


__all__ = ["BatchedTensor", "over_rows", "vmap"]
