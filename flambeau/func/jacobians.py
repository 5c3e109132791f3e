"""Jacobians and Hessians: `vjp` or `jvp` over all rows of an identity matrix at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ..tensor import functions as fl
from ..utils._pytree import tree_flatten, tree_unflatten
from .derivatives import check_tensors, chosen, jvp, replaced, split_aux, vjp
from .vmapping import over_rows


def _basis(tensors: list[Any]) -> list[Any]:
    """For each tensor (n, *shape), together the identity of their n elements."""
    counts = [math.prod(t.shape) for t in tensors]
    total, start, parts = sum(counts), 0, []
    for t, count in zip(tensors, counts, strict=True):
        part = fl.zeros(total, count, dtype=t.dtype)
        part.diagonal(-start).fill_(1)
        parts.append(part.reshape(total, *t.shape))
        start += count
    return parts


def jacrev(
    func: Callable[..., Any],
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """The Jacobian of `func` by reverse mode: (*result's shape, *argument's shape).

    In the structure of the results, each holding the structure of the arguments that `argnums`
    names. `chunk_size` rows are computed at a time.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        picked = chosen(args, argnums)

        def partial(values: Any) -> Any:
            return func(*replaced(args, argnums, values), **kwargs)

        output, pullback, *aux = vjp(partial, picked, has_aux=has_aux)
        outs, out_spec = tree_flatten(output)
        ins, in_spec = tree_flatten(picked)

        def rows(*cotangents: Any) -> list[Any]:
            return tree_flatten(pullback(tree_unflatten(cotangents, out_spec)))[0]

        counts = [math.prod(o.shape) for o in outs]
        if sum(counts):
            columns = over_rows(rows, _basis(outs), chunk_size)
        else:
            columns = [fl.zeros(0, *x.shape, dtype=x.dtype) for x in ins]
        split = [c.split(counts) for c in columns]
        found = []
        for k, o in enumerate(outs):
            parts = [s[k].reshape(*o.shape, *x.shape) for s, x in zip(split, ins, strict=True)]
            found.append(tree_unflatten(parts, in_spec))
        jacobian = tree_unflatten(found, out_spec)
        return (jacobian, aux[0]) if has_aux else jacobian

    return wrapped


def jacfwd(
    func: Callable[..., Any],
    argnums: Any = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """The Jacobian of `func` by forward mode; its structure is that of `jacrev`.

    `randomness` is that of `vmap`.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        picked = chosen(args, argnums)
        ins, in_spec = tree_flatten(picked)
        kept: list[Any] = []

        def partial(*values: Any) -> Any:
            result = func(*replaced(args, argnums, tree_unflatten(values, in_spec)), **kwargs)
            return split_aux(result, "jvp(f, primals, tangents)") if has_aux else (result, None)

        def column(*tangents: Any) -> Any:
            output, tangent, aux = jvp(partial, tuple(ins), tangents, has_aux=True)
            outs, out_spec = tree_flatten(tangent)
            kept[:] = [aux, out_spec, [tuple(o.shape) for o in tree_flatten(output)[0]]]
            return outs

        columns = over_rows(column, _basis(ins)) if randomness == "error" else _random_rows(
            column, _basis(ins), randomness
        )  # fmt: skip
        aux, out_spec, shapes = kept
        counts = [math.prod(x.shape) for x in ins]
        found = []
        for c, shape in zip(columns, shapes, strict=True):
            parts = [
                p.reshape(*shape, *x.shape)
                for p, x in zip(c.movedim(0, -1).split(counts, -1), ins, strict=True)
            ]
            found.append(tree_unflatten(parts, in_spec))
        jacobian = tree_unflatten(found, out_spec)
        return (jacobian, aux) if has_aux else jacobian

    return wrapped


def _random_rows(column: Callable[..., Any], rows: list[Any], randomness: str) -> list[Any]:
    from .vmapping import vmap

    return list(vmap(lambda *xs: tuple(column(*xs)), randomness=randomness)(*rows))


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Callable[..., Any]:
    """The matrix of second derivatives of `func`, forward mode over reverse mode."""
    return jacfwd(jacrev(func, argnums), argnums)


__all__ = ["check_tensors", "hessian", "jacfwd", "jacrev"]
