"""Derivatives of functions of tensors: products with vectors, Jacobians and Hessians.

A function takes one tensor or several (a tuple) and returns one or a tuple. Results are detached
unless `create_graph`. With `strict`, a result or derivative that does not depend on an input is an
error, not zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..tensor.core import is_tensor
from .batching import BatchLevel
from .forward_ad import DualTensor
from .grad_mode import FAST, enable_grad, set_grad_enabled
from .levels import Level
from .pullback import detached, fresh, pull, running

Func = Callable[..., Any]


class _Call:
    """One call of the user's function with inputs at the beginning of a tape."""

    def __init__(self, func: Func, inputs: Any, name: str, create: bool) -> None:
        self.name, self.create = name, create
        self.single, given = _as_tuple(inputs, "The inputs given to", name)
        self.inputs = [fresh(x, connected=create) for x in given]
        with enable_grad(), running(self.inputs):
            outputs = func(*self.inputs)
        self.single_output, self.outputs = _as_tuple(
            outputs, "The outputs of the user-provided function given to", name
        )

    def check_recorded(self, strict: bool) -> None:
        """With `strict`, refuse outputs through which nothing flows."""
        for i, o in enumerate(self.outputs):
            if strict and not o.requires_grad:
                raise RuntimeError(
                    f"Output {i} of the user-provided function does not require gradients. The "
                    "outputs must be computed in a differentiable manner from the input when "
                    "running in strict mode."
                )

    def finished(self, values: Sequence[Any], single: bool) -> Any:
        """`values` as they are returned."""
        done = [v if self.create else detached(v) for v in values]
        return done[0] if single else tuple(done)


def _as_tuple(value: Any, what: str, name: str) -> tuple[bool, tuple[Any, ...]]:
    """Whether `value` is a single tensor, and its tensors."""
    if not isinstance(value, (tuple, list)):
        if is_tensor(value):
            return True, (value,)
        raise TypeError(
            f"{what} {name} must be either a Tensor or a tuple of Tensors but the given "
            f"{what.split()[1]} {_of(what)}has type {type(value)}."
        )
    for i, x in enumerate(value):
        if not is_tensor(x):
            raise TypeError(
                f"{what} {name} must be either a Tensor or a tuple of Tensors but the value at "
                f"index {i} has type {type(x)}."
            )
    return False, tuple(value)


def _of(what: str) -> str:
    return "of the user-provided function " if "user-provided" in what else ""


def _vector(v: Any, like: Sequence[Any], missing: str, name: str) -> list[Any]:
    """`v`, one tensor for each of `like`, or ones for a single number."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"The vector v can only be None if {missing}.")
        return [FAST["F"].ones_like(like[0])]
    _, given = _as_tuple(v, "The v given to", name)
    if len(given) != len(like):
        if len(like) == 1 and not isinstance(v, (tuple, list)):
            raise RuntimeError("The given v should contain a single Tensor.")
        single = len(like) == 1 and len(given) > 1
        raise RuntimeError(
            "The given v should contain a single Tensor."
            if single and name == "vjp"
            else f"v is a tuple of invalid length: should be {len(like)} but got {len(given)}."
        )
    for i, (x, o) in enumerate(zip(given, like, strict=True)):
        if x.shape != o.shape:
            entry = f"Entry {i} in v" if len(like) > 1 else "v"
            raise RuntimeError(f"{entry} has invalid size: should be {o.shape} but got {x.shape}.")
    return list(given)


_ONE_OUTPUT = "the user-provided function returns a single Tensor with a single element"
_ONE_INPUT = "the input to the user-provided function is a single Tensor with a single element"


def _gradients(
    outs: Sequence[Any], sources: Sequence[Any], v: Sequence[Any], create: bool
) -> list[Any]:
    live = [(o, g) for o, g in zip(outs, v, strict=True) if o.requires_grad]
    if not live:
        return [None] * len(sources)
    with set_grad_enabled(create):
        return pull([o for o, _ in live], sources, [g for _, g in live], create=create)


def _filled(
    grads: Sequence[Any], like: Sequence[Any], strict: bool, create: bool, stage: str
) -> list[Any]:
    """`grads` with zeros for None, which `strict` refuses."""
    filled = []
    for i, (g, x) in enumerate(zip(grads, like, strict=True)):
        if strict and g is None:
            raise RuntimeError(_MISSING[stage].format(i=i))
        if strict and create and stage in ("back", "double_back_trick") and not g.requires_grad:
            raise RuntimeError(
                "The jacobian of the user-provided function is independent of input "
                f"{i}. This is not allowed in strict mode when create_graph=True."
            )
        filled.append(FAST["F"].zeros_like(x) if g is None else g)
    return filled


_MISSING = {
    "back": "The output of the user-provided function is independent of input {i}. This is not "
    "allowed in strict mode.",
    "double_back": "The hessian of the user-provided function is independent of entry {i} in the "
    "grad_jacobian. This is not allowed in strict mode as it prevents from using the double "
    "backward trick to replace forward mode AD.",
    "double_back_trick": "The hessian of the user-provided function is independent of entry {i} in "
    "the grad_jacobian. This is not allowed in strict mode as it prevents from using the double "
    "backward trick to replace forward mode AD.",
    "hessian": "While computing the hessian, found that the jacobian of the user-provided function "
    "with respect to input {i} is independent of the input. This is not allowed in strict mode. "
    "You should ensure that your function is twice differentiable and that the jacobian depends "
    "on the inputs (this would be violated by a linear function for example).",
}


# ---------------------------------------------------------------- products with vectors
def vjp(
    func: Func, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``func(*inputs)`` and the product of `v` with its Jacobian.

    `v` has the shapes of the outputs; it may be None for a single number.
    """
    c = _Call(func, inputs, "vjp", create_graph)
    c.check_recorded(strict)
    vector = _vector(v, c.outputs, _ONE_OUTPUT, "vjp")
    found = _gradients(c.outputs, c.inputs, vector, create_graph)
    grads = _filled(found, c.inputs, strict, create_graph, "back")
    return c.finished(c.outputs, c.single_output), c.finished(grads, c.single)


def jvp(
    func: Func, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``func(*inputs)`` and the product of its Jacobian with `v`, by two runs backwards.

    `v` has the shapes of the inputs; it may be None for a single number.
    """
    _, given = _as_tuple(inputs, "The inputs given to", "jvp")
    vector = _vector(v, given, _ONE_INPUT, "jvp")
    c = _Call(func, inputs, "jvp", create_graph)
    c.check_recorded(strict)
    with enable_grad():
        seeds = [fresh(FAST["F"].zeros_like(o), connected=False) for o in c.outputs]
        back = _gradients(c.outputs, c.inputs, seeds, True)
        backs = _filled(back, c.inputs, strict, create_graph, "back") if strict else back
    pairs = [(b, t) for b, t in zip(backs, vector, strict=True) if b is not None]
    found = _gradients([b for b, _ in pairs], seeds, [t for _, t in pairs], create_graph)
    tangents = _filled(found, c.outputs, strict, create_graph, "double_back")
    return c.finished(c.outputs, c.single_output), c.finished(tangents, c.single_output)


def _scalar(c: _Call) -> None:
    if not c.single_output:
        raise RuntimeError(f"The function given to {c.name} should return a single Tensor")
    if c.outputs[0].numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {c.name} should contain a single element"
        )


def _first_gradient(c: _Call, strict: bool) -> list[Any]:
    """The gradient of a scalar function, recorded."""
    _scalar(c)
    c.check_recorded(strict)
    with enable_grad():
        ones = [FAST["F"].ones_like(o) for o in c.outputs]
        found = _gradients(c.outputs, c.inputs, ones, True)
        return _filled(found, c.inputs, strict, False, "back")


def _check_second(grads: Sequence[Any], strict: bool) -> None:
    for i, g in enumerate(grads):
        if strict and not g.requires_grad:
            raise RuntimeError(_MISSING["hessian"].format(i=i))


def vhp(
    func: Func, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``func(*inputs)``, a scalar, and the product of `v` with its Hessian."""
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def hvp(
    func: Func, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``func(*inputs)``, a scalar, and the product of its Hessian with `v`.

    The Hessian is symmetric where it exists, so this is the product of `vhp`.
    """
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def _hessian_product(
    name: str, func: Func, inputs: Any, v: Any, create_graph: bool, strict: bool
) -> tuple[Any, Any]:
    _, given = _as_tuple(inputs, "The inputs given to", name)
    vector = _vector(v, given, _ONE_INPUT, name)
    c = _Call(func, inputs, name, create_graph)
    grads = _first_gradient(c, strict)
    _check_second(grads, strict)
    found = _gradients(grads, c.inputs, vector, create_graph)
    products = _filled(found, c.inputs, strict, create_graph, "double_back")
    return c.finished(c.outputs, True), c.finished(products, c.single)


# ---------------------------------------------------------------- matrices
def _check_strategy(strategy: str, vectorize: bool, strict: bool, create: bool) -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode" and create:
        raise NotImplementedError(
            "torch.autograd.functional.jacobian: `create_graph=True` and `strategy="
            '"forward-mode"` are not supported together (yet). Please either set '
            '`create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strategy == "forward-mode" and strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are '
            "not supported together (yet). Please either set `strict=False` or "
            '`strategy="reverse-mode"`.'
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is"
            "only implemented for `vectorize=True`."
        )
    if vectorize and strict:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not "
            "supported together. Please either set `strict=False` or `vectorize=False`."
        )


def jacobian(
    func: Func,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of `func`: (*output's shape, *input's shape) for each output and input.

    A single tensor where both are single, a tuple where one is not, a tuple for each output of
    tuples for each input where neither is. `vectorize` computes all rows at once; only then
    `strategy` may be "forward-mode".
    """
    _check_strategy(strategy, vectorize, strict, create_graph)
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs)
    c = _Call(func, inputs, "jacobian", create_graph)
    c.check_recorded(strict)
    rows = [
        _rows(c, o, create_graph, strict, vectorize, number) for number, o in enumerate(c.outputs)
    ]
    return _arranged([[_done(b, create_graph) for b in row] for row in rows], c)


def _done(x: Any, create: bool) -> Any:
    return x if create else detached(x)


def _arranged(blocks: list[list[Any]], c: Any) -> Any:
    """Blocks by output and input, without the tuples that single ones do not have."""
    rows = [row[0] if c.single else tuple(row) for row in blocks]
    return rows[0] if c.single_output else tuple(rows)


def _rows(c: _Call, o: Any, create: bool, strict: bool, vectorize: bool, number: int) -> list[Any]:
    """The blocks of one output."""
    F, count = FAST["F"], math.prod(o.shape)
    shapes = [(*o.shape, *x.shape) for x in c.inputs]
    if not count or not o.requires_grad:
        return [F.zeros(s, dtype=x.dtype) for s, x in zip(shapes, c.inputs, strict=True)]
    basis = F.eye(count, dtype=o.dtype).reshape(count, *o.shape)
    if vectorize:
        found = _batched_gradients([o], c.inputs, [basis], create)
    else:
        steps = [_gradients([o], c.inputs, [basis[i]], create) for i in range(count)]
        found = [None if col[0] is None else F.stack(list(col)) for col in zip(*steps, strict=True)]
    blocks = []
    for i, (g, s, x) in enumerate(zip(found, shapes, c.inputs, strict=True)):
        if strict and g is None:
            raise RuntimeError(
                f"Output {number} of the user-provided function is independent of input {i}. This "
                "is not allowed in strict mode."
            )
        if strict and create and not g.requires_grad:
            raise RuntimeError(
                "The jacobian of the user-provided function is independent of input "
                f"{i}. This is not allowed in strict mode when create_graph=True."
            )
        blocks.append(F.zeros(s, dtype=x.dtype) if g is None else g.reshape(s))
    return blocks


def _batched_gradients(
    outs: Sequence[Any], sources: Sequence[Any], rows: Sequence[Any], create: bool
) -> list[Any]:
    """The gradients along all `rows` at once, each with the rows' dimension first."""
    with BatchLevel(rows[0].shape[0], "different") as level:
        found = _gradients(outs, sources, [level.wrap(r) for r in rows], create)
        return [None if g is None else level.unwrap_within(g) for g in found]


def _forward_jacobian(func: Func, inputs: Any) -> Any:
    F = FAST["F"]
    single, given = _as_tuple(inputs, "The inputs given to", "jacobian")
    counts = [math.prod(x.shape) for x in given]
    total, start, basis = sum(counts), 0, []
    for x, n in zip(given, counts, strict=True):
        part = F.zeros(total, n, dtype=x.dtype)
        part.diagonal(-start).fill_(1)
        basis.append(part.reshape(total, *x.shape))
        start += n
    with BatchLevel(max(total, 1), "different") as rows, Level() as level:
        number = level.number
        duals = [DualTensor.of(x, rows.wrap(b), number) for x, b in zip(given, basis, strict=True)]
        single_output, outs = _as_tuple(
            func(*duals), "The outputs of the user-provided function given to", "jacobian"
        )
        columns = []
        for o in outs:
            dual = isinstance(o, DualTensor) and o.level == number
            columns.append(rows.unwrap(o.tangent if dual else F.zeros_like(o)))
        shapes = [tuple(o.shape) for o in outs]
    blocks = [
        [
            p.reshape(*s, *x.shape).detach()
            for p, x in zip(c.movedim(0, -1).split(counts, -1), given, strict=True)
        ]
        for c, s in zip(columns, shapes, strict=True)
    ]
    lines = [row[0] if single else tuple(row) for row in blocks]
    return lines[0] if single_output else tuple(lines)


def hessian(
    func: Func,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of the scalar function `func`: the Jacobian of its gradient.

    (*input's shape, *input's shape) for each pair of inputs.
    """
    single, _ = _as_tuple(inputs, "The inputs given to", "hessian")

    def gradient(*xs: Any) -> Any:
        if outer_jacobian_strategy == "forward-mode":
            xs = tuple(fresh(x, connected=True) for x in xs)
        with enable_grad():
            outputs = func(*xs)
        is_single, outs = _as_tuple(
            outputs, "The outputs of the user-provided function given to", "hessian"
        )
        if not is_single:
            raise RuntimeError("The function given to hessian should return a single Tensor")
        if outs[0].numel() != 1:
            raise RuntimeError(
                "The Tensor returned by the function given to hessian should contain a single "
                "element"
            )
        if strict and not outs[0].requires_grad:
            raise RuntimeError(
                "Output 0 of the user-provided function does not require gradients. The outputs "
                "must be computed in a differentiable manner from the input when running in strict "
                "mode."
            )
        with enable_grad():
            found = _gradients(outs, xs, [FAST["F"].ones_like(outs[0])], True)
            grads = _filled(found, xs, strict, False, "back")
        _check_second(grads, strict)
        return grads[0] if single else tuple(grads)

    return jacobian(
        gradient,
        inputs,
        create_graph=create_graph,
        strict=strict,
        vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
