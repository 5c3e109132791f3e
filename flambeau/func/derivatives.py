"""First derivatives of functions: `grad`, `vjp`, `jvp` and `linearize`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd import enable_grad, is_grad_enabled, set_grad_enabled
from ..autograd.forward_ad import DualTensor
from ..autograd.levels import Level
from ..autograd.pullback import begin, depends_on_others, detached, pull, running
from ..tensor import Tensor
from ..tensor import functions as fl
from ..utils._pytree import tree_flatten, tree_map, tree_unflatten

argnums_t = int | tuple[int, ...]


# ---------------------------------------------------------------- arguments
def chosen(args: tuple[Any, ...], argnums: Any) -> Any:
    """The arguments that `argnums` names: one, or a tuple of them."""
    if isinstance(argnums, bool) or not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if isinstance(argnums, int):
        return args[_checked(argnums, len(args))]
    if not argnums:
        raise RuntimeError("argnums must be non-empty")
    found = [_checked(n, len(args)) for n in argnums]
    if len(set(found)) != len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return tuple(args[n] for n in found)


def _checked(number: Any, count: int) -> int:
    if not isinstance(number, int):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got element {number!r}")
    if not -count <= number < count:
        raise RuntimeError(f"Got argnum={number}, but only {count} positional inputs")
    return number % count


def replaced(args: tuple[Any, ...], argnums: Any, values: Any) -> tuple[Any, ...]:
    """`args` with `values` where `argnums` says."""
    out = list(args)
    pairs = [(argnums, values)] if isinstance(argnums, int) else zip(argnums, values, strict=True)
    for n, v in pairs:
        out[n % len(args)] = v
    return tuple(out)


def check_tensors(values: list[Any], where: str) -> None:
    """Refuse what is no tensor."""
    for v in values:
        if not isinstance(v, Tensor):
            raise RuntimeError(f"{where} to return only tensors, got unsupported type {type(v)}")


def begin_all(values: list[Any], recording: bool) -> list[Any]:
    """`values` at the beginning of tapes of their own."""
    for v in values:
        if not isinstance(v, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(v)}")
        if not v.dtype.inexact:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
    return [begin(v, connected=recording) for v in values]


def split_aux(result: Any, where: str) -> tuple[Any, Any]:
    """The output and what the function returned beside it."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(
            f"{where}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return result


def outside(tree: Any, recording: bool) -> Any:
    """The tensors of `tree` as they are where nothing of the inner tape is known."""
    if recording:
        return tree
    return tree_map(lambda x: detached(x) if isinstance(x, Tensor) else x, tree)


# ---------------------------------------------------------------- reverse mode
def grad_and_value(
    func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of `func`, whose result is a scalar, and the result: (gradient, value).

    Gradients are for the arguments that `argnums` names, in their structure. With `has_aux` the
    function returns (result, anything) and the value is that pair.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        recording = is_grad_enabled()
        flat, spec = tree_flatten(chosen(args, argnums))
        with enable_grad():
            starts = begin_all(flat, recording)
            given = replaced(args, argnums, tree_unflatten(starts, spec))
            with running(starts):
                output, aux = func(*given, **kwargs), None
                if has_aux:
                    output, aux = split_aux(output, "grad_and_value(f)(*args)")
                _check_scalar(output)
                record = recording and depends_on_others([output], starts)
                start = fl.ones_like(output)
                with set_grad_enabled(record):
                    found = pull([output], starts, [start], create=record)
            grads = [fl.zeros_like(x) if g is None else g for x, g in zip(flat, found, strict=True)]
        value = outside((output, aux) if has_aux else output, record)
        return tree_unflatten(grads, spec), value

    return wrapped


def _check_scalar(output: Any) -> None:
    if not isinstance(output, Tensor):
        raise RuntimeError(
            f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}"
        )
    if output.dim():
        raise RuntimeError(
            "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor "
            f"with {output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
        )
    if output.is_complex():
        raise RuntimeError(
            f"grad can be implicitly created only for real scalar outputs but got {output.dtype}"
        )


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of `func`, whose result is a scalar.

    Gradients are for the arguments that `argnums` names, in their structure. With `has_aux` the
    function returns (result, anything) and this one (gradient, anything).

    >>> import flambeau
    >>> grad(lambda x: x.sin())(flambeau.tensor(0.0))
    tensor(1.)
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        grads, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapped


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``func(*primals)`` and the function from cotangents of it to those of the primals.

    With `has_aux`, the function's second result comes third.
    """
    recording = is_grad_enabled()
    flat, spec = tree_flatten(primals)
    with enable_grad():
        starts = begin_all(flat, recording)
        with running(starts):
            output, aux = func(*tree_unflatten(starts, spec)), None
        if has_aux:
            output, aux = split_aux(output, "vjp(f, *primals)")
        outs, out_spec = tree_flatten(output)
        check_tensors(outs, "vjp(f, *primals): expected f(*primals)")
    known = recording and depends_on_others(outs, starts)

    def pullback(*cotangents: Any, retain_graph: bool = True, create_graph: Any = None) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        flat_cotangents, given_spec = tree_flatten(given)
        if given_spec != out_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                f"outputs to the function. cotangents: {given_spec}, primal output: {out_spec}"
            )
        _check_cotangents(outs, flat_cotangents)
        wanted = known or any(v.requires_grad for v in flat_cotangents)
        record = wanted and is_grad_enabled() if create_graph is None else create_graph
        with set_grad_enabled(record), running(starts):
            found = pull(outs, starts, flat_cotangents, create=record)
            grads = [fl.zeros_like(x) if g is None else g for x, g in zip(flat, found, strict=True)]
        return tree_unflatten(grads, spec)

    value = outside(output, known)
    return (value, pullback, outside(aux, known)) if has_aux else (value, pullback)


def _check_cotangents(outs: list[Any], cotangents: list[Any]) -> None:
    for n, (o, v) in enumerate(zip(outs, cotangents, strict=True)):
        if tuple(o.shape) != tuple(v.shape):
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{n}] has a shape of {v.shape} and output[{n}] "
                f"has a shape of {o.shape}."
            )


# ---------------------------------------------------------------- forward mode
def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """``func(*primals)`` and its derivative along `tangents`, a tuple like `primals`.

    With `has_aux`, the function's second result comes third. `strict` refuses results that do not
    depend on the primals.
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to "
            "call f(*primals)."
        )
    flat, spec = tree_flatten(primals)
    moving, moving_spec = tree_flatten(tangents)
    if spec != moving_spec:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python "
            "structure. For example, if primals is a tuple of 3 tensors, tangents also must be. "
            f"Got primals with structure {spec} and tangents with structure {moving_spec}"
        )
    _check_pairs(flat, moving)
    with Level() as level:
        number = level.number
        duals = [DualTensor.of(p, t, number) for p, t in zip(flat, moving, strict=True)]
        output, aux = func(*tree_unflatten(duals, spec)), None
        if has_aux:
            output, aux = split_aux(output, "jvp(f, primals, tangents)")
        outs, out_spec = tree_flatten(output)
        check_tensors(outs, "jvp(f, primals, tangents): expected f(*primals)")
        pairs = [_unpacked(o, number, strict) for o in outs]
        aux = tree_map(lambda x: _primal(x, number), aux)
    value = tree_unflatten([p for p, _ in pairs], out_spec)
    tangent = tree_unflatten([t for _, t in pairs], out_spec)
    return (value, tangent, aux) if has_aux else (value, tangent)


def _check_pairs(primals: list[Any], tangents: list[Any]) -> None:
    if not primals:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to contain at least one Tensor."
        )
    for p, t in zip(primals, tangents, strict=True):
        for x in (p, t):
            if not isinstance(x, Tensor):
                raise RuntimeError(
                    "jvp(f, primals, tangents): Expected primals to contain only Tensors, got "
                    f"unsupported type {type(x)}"
                )
        if not p.dtype.inexact:
            raise ValueError(f"Expected primal to be floating point or complex, but got: {p.dtype}")
        if tuple(p.shape) != tuple(t.shape):
            raise RuntimeError(
                "Trying to set a forward gradient that has a different size than that of the "
                "original Tensor, this is not supported. Tensor is of size "
                f"{list(p.shape)} while the given forward gradient is of size {list(t.shape)}."
            )


def _unpacked(out: Any, number: int, strict: bool) -> tuple[Any, Any]:
    if isinstance(out, DualTensor) and out.level == number:
        return out.primal, out.tangent
    if strict:
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. "
            "This is not allowed with strict=True."
        )
    return out, fl.zeros_like(out)


def _primal(x: Any, number: int) -> Any:
    return x.primal if isinstance(x, DualTensor) and x.level == number else x


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``func(*primals)`` and its derivative there: a linear function of tangents like `primals`.

    The function is run once; the derivative is the transpose of its pullback.
    """
    output, pullback = vjp(func, *primals)
    flat, spec = tree_flatten(primals)
    outs, out_spec = tree_flatten(output)
    with enable_grad():
        seeds = [begin(fl.ones_like(o), connected=False) for o in outs]
        back = pullback(tree_unflatten(seeds, out_spec), create_graph=True)
        backs = tree_flatten(back)[0]

    def pushforward(*tangents: Any) -> Any:
        moving, given_spec = tree_flatten(tangents)
        if given_spec != spec:
            raise RuntimeError(
                "jvp_fn: Expected the tangents to have the structure of the primals, got "
                f"{given_spec} and {spec}"
            )
        _check_pairs(flat, moving)
        record = is_grad_enabled() and any(t.requires_grad for t in (*flat, *moving))
        with set_grad_enabled(record):
            found = pull(backs, seeds, moving, create=record)
        filled = [fl.zeros_like(o) if g is None else g for o, g in zip(outs, found, strict=True)]
        return tree_unflatten(filled, out_spec)

    return output, pushforward
