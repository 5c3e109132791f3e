"""`gradcheck` and `gradgradcheck`: derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class GradcheckError(RuntimeError):
    """A derivative disagrees with finite differences."""


def _tensors(x: Any) -> list[Any]:
    from ..tensor.core import TensorCore

    if isinstance(x, TensorCore):
        return [x]
    if isinstance(x, (tuple, list)):
        return [t for y in x for t in _tensors(y)]
    return []


def _numerical(
    f: Callable[..., Any], inputs: Sequence[Any], x: Any, eps: float
) -> list[list[tuple[Any, Any]]]:
    """For every element of `x`, the directional differences of every output.

    A complex element is moved along both axes; the pair is (real direction, imaginary direction).
    """
    rows = []
    view = x._d
    for position in np.ndindex(view.shape):
        old = view[position].copy()
        directions = [eps, eps * 1j] if x._t.is_complex else [eps]
        found = []
        for step in directions:
            view[position] = old + step
            up = [o._d.copy() for o in _tensors(f(*inputs))]
            view[position] = old - step
            down = [o._d.copy() for o in _tensors(f(*inputs))]
            view[position] = old
            found.append([(u - d) / (2 * eps) for u, d in zip(up, down, strict=True)])
        rows.append(list(zip(*found, strict=True)))
    return rows


def _analytical(out: Any, x: Any, v: Any) -> Any:
    from ..tensor.core import from_array
    from .interface import grad

    (g,) = grad(out, x, from_array(v), retain_graph=True, allow_unused=True)
    return np.zeros(x._d.shape, x._d.dtype) if g is None else g._d


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of `func` at `inputs` with central differences.

    Inputs that require a gradient should be float64 or complex128. Every output is contracted with
    random weights, so one backward per output covers all of its elements. Raises `GradcheckError`
    (or returns False) where they differ by more than ``atol + rtol * |numerical|``.
    """
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    rng = np.random.default_rng(7)
    try:
        outputs = [o for o in _tensors(func(*given)) if o._gf is not None]
        if not outputs:
            raise ValueError("gradcheck expects at least one output that requires a gradient")
        every = _tensors(func(*given))
        for number, x in enumerate(_tensors(given)):
            if x._gf is None or not x.is_leaf:
                continue
            differences = _numerical(func, given, x, eps)
            for k, out in enumerate(every):
                if out._gf is None:
                    continue
                v = _weights(rng, out)
                if check_backward_ad:
                    _compare(_analytical(out, x, v), differences, k, v, x, atol, rtol, number)
        if check_forward_ad:
            _check_forward(func, given, every, eps, atol, rtol, rng)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _weights(rng: np.random.Generator, out: Any) -> Any:
    v = rng.uniform(0.5, 1.5, out._d.shape) * rng.choice([-1.0, 1.0], out._d.shape)
    if out._t.is_complex:
        v = v + 1j * rng.uniform(-1, 1, out._d.shape)
    return np.asarray(v, dtype=out._d.dtype)


def _compare(
    analytical: Any, differences: Any, k: int, v: Any, x: Any, atol: float, rtol: float, number: int
) -> None:
    expected = np.zeros(x._d.size, x._d.dtype)
    for i, row in enumerate(differences):
        parts = [np.real(np.sum(np.conj(v) * d)) for d in row[k]]
        expected[i] = parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]
    expected = expected.reshape(x._d.shape)
    wrong = ~(np.abs(analytical - expected) <= atol + rtol * np.abs(expected))
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.ndim else ()
        raise GradcheckError(
            f"Jacobian mismatch for output {k} with respect to input {number} at {where}: "
            f"numerical {expected[where]}, analytical {analytical[where]} "
            f"(input shape {list(x._d.shape)})"
        )


def _check_forward(
    func: Callable[..., Any], given: Any, every: Any, eps: float, atol: float, rtol: float, rng: Any
) -> None:
    from ..tensor.core import from_array
    from . import forward_ad

    leaves = [x for x in _tensors(given) if x._gf is not None]
    tangents = [_weights(rng, x) for x in leaves]
    with forward_ad.dual_level():
        duals = {
            id(x): forward_ad.make_dual(x.detach(), from_array(t))
            for x, t in zip(leaves, tangents, strict=True)
        }
        outs = _tensors(func(*(duals.get(id(a), a) for a in given)))
        found = [forward_ad.unpack_dual(o).tangent for o in outs]
    for sign in (1, -1):
        for x, t in zip(leaves, tangents, strict=True):
            x._d[...] += sign * eps * t
        moved = [o._d.copy() for o in _tensors(func(*given))]
        for x, t in zip(leaves, tangents, strict=True):
            x._d[...] -= sign * eps * t
        up = moved if sign == 1 else up  # noqa: F821 - set in the first round
    for k, (u, d, t) in enumerate(zip(up, moved, found, strict=True)):
        if not every[k]._t.inexact:
            continue
        expected = (u - d) / (2 * eps)
        got = np.zeros_like(expected) if t is None else t._d
        if not np.allclose(got, expected, rtol, atol, equal_nan=True):
            raise GradcheckError(f"Forward-mode derivative of output {k} is wrong")


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compare the second derivatives of `func` at `inputs` with differences of the first.

    Without `grad_outputs` random ones are taken, not contiguous if `gen_non_contig_grad_outputs`.
    """
    from ..tensor.core import from_array
    from .interface import grad

    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    leaves = [x for x in _tensors(given) if x._gf is not None]
    outs = [o for o in _tensors(func(*given)) if o._gf is not None]
    rng = np.random.default_rng(11)
    if grad_outputs is None:
        drawn = [_weights(rng, o) for o in outs]
        if gen_non_contig_grad_outputs:
            drawn = [np.repeat(w[..., None], 2, -1)[..., 0] for w in drawn]
        weights = [from_array(w).requires_grad_() for w in drawn]
    else:
        weights = _tensors(grad_outputs)

    def first(*args: Any) -> Any:
        xs, ws = args[: len(given)], args[len(given) :]
        results = [o for o in _tensors(func(*xs)) if o._gf is not None]
        wanted = [x for x in _tensors(xs) if x._gf is not None and id(x) in ids]
        found = grad(results, wanted, list(ws), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g._gf is not None)

    ids = {id(x) for x in leaves}
    if not first(*given, *weights):
        return True
    return gradcheck(
        first, (*given, *weights), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception
    )
