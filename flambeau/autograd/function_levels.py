"""Custom operations inside `vmap` and forward mode."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..tensor.core import TensorCore
from .batching import BatchLevel
from .batching.tensor import BatchedTensor
from .forward_ad import DualTensor
from .function import Function, FunctionCtx
from .grad_mode import FAST, no_grad
from .levels import Wrapped, highest, level_of

_NOTES = "For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"


class VmapInfo(NamedTuple):
    """What a function's static method `vmap` is told."""

    batch_size: int
    randomness: str


def apply_wrapped(cls: type[Function], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The results of the function for arguments of which some are wrapped."""
    top = highest(args)
    if isinstance(top, DualTensor):
        return _with_tangents(cls, args, kwargs, top.level)
    if not cls._has_setup():
        raise RuntimeError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, "
            f"jacrev, ...), it must override the setup_context staticmethod. {_NOTES}"
        )
    assert isinstance(top, BatchedTensor)
    own = cls.vmap is not Function.vmap
    name = cls.__name__
    if cls.generate_vmap_rule:
        if own:
            raise RuntimeError(
                f"You tried to vmap over {name}, but it has both generate_vmap_rule=True and an "
                "overridden vmap staticmethod. Please set generate_vmap_rule=False or delete the "
                f"overridden vmap staticmethod to avoid ambiguity. {_NOTES}"
            )
        return _generated(cls, top.owner, args)
    if not own:
        raise RuntimeError(
            f"You tried to vmap over {name}, but it does not have vmap support. Please override "
            f"and implement the vmap staticmethod or set generate_vmap_rule=True. {_NOTES}"
        )
    return _by_own_rule(cls, top.owner, args)


# ---------------------------------------------------------------- forward mode
def _with_tangents(
    cls: type[Function], args: tuple[Any, ...], kwargs: dict[str, Any], number: int
) -> Any:
    def is_dual(x: Any) -> bool:
        return isinstance(x, DualTensor) and x.level == number

    primals = tuple(a.primal if is_dual(a) else a for a in args)
    if any(isinstance(p, Wrapped) for p in primals):
        output, ctx = cls.apply(*primals, **kwargs), FunctionCtx()
        with no_grad():
            if cls._has_setup():
                cls.setup_context(ctx, primals, cls.forward(*primals, **kwargs))
            else:
                cls.forward(ctx, *primals, **kwargs)
    else:
        output, ctx = cls._applied(primals, kwargs)
    tangents = [a.tangent if is_dual(a) else None for a in args]
    ctx._moving = True
    try:
        moved = cls.jvp(ctx, *tangents)
    finally:
        ctx._moving = False
    if isinstance(output, TensorCore):
        return output if moved is None else DualTensor.of(output, moved, number)
    if not isinstance(moved, tuple):
        moved = (moved,)
    return tuple(
        o if t is None or not isinstance(o, TensorCore) else DualTensor.of(o, t, number)
        for o, t in zip(output, moved, strict=True)
    )


# ---------------------------------------------------------------- many examples
def _by_own_rule(cls: type[Function], level: BatchLevel, args: tuple[Any, ...]) -> Any:
    info = VmapInfo(level.size, level.randomness)
    in_dims = tuple(0 if level.holds(a) else None for a in args)
    parts = [a.part if level.holds(a) else a for a in args]
    answer = cls.vmap(info, in_dims, *parts)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise RuntimeError(
            "Expected the vmap staticmethod to have two returns, an output and out_dims with "
            f"pytree structure compatible with the output. Got a {type(answer)} instead"
        )
    return _wrapped(level, *answer)


def _wrapped(level: BatchLevel, output: Any, dims: Any) -> Any:
    if isinstance(output, (tuple, list)):
        each = dims if isinstance(dims, (tuple, list)) else [dims] * len(output)
        return tuple(_wrapped(level, o, d) for o, d in zip(output, each, strict=True))
    if dims is None or not isinstance(output, TensorCore):
        return output
    return level.wrap(output if dims == 0 else output.movedim(dims, 0))


def _generated(cls: type[Function], level: BatchLevel, args: tuple[Any, ...]) -> Any:
    """The function's own methods on batched tensors, as one operation on what these are made of."""
    size, randomness = level.size, level.randomness
    batched = [level.holds(a) for a in args]
    single: list[bool] = []

    class Batched(Function):
        """The function for all examples."""

        @staticmethod
        def forward(ctx: Any, *parts: Any) -> Any:
            with BatchLevel(size, randomness) as inner:
                given = tuple(
                    inner.wrap(p) if b else p for p, b in zip(parts, batched, strict=True)
                )
                own = FunctionCtx()
                own.needs_input_grad = ctx.needs_input_grad
                output = cls.forward(*given)
                cls.setup_context(own, given, output)
                single.append(not isinstance(output, (tuple, list)))
                outputs = (output,) if single[-1] else tuple(output)
                made = {id(o): _part(inner, o) for o in outputs}
                held = [_saved(inner, t, made) for t in own._to_save]
                ctx.own, ctx.saved_batched = own, [b for _, b in held]
                ctx.save_for_backward(*(t for t, _ in held))
                if own._for_forward is not None:
                    held = [_saved(inner, t, made) for t in own._for_forward]
                    ctx.forward_batched = [b for _, b in held]
                    ctx.save_for_forward(*(t for t, _ in held))
                ctx.mark_non_differentiable(
                    *(made[id(o)] for o in own._non_differentiable if id(o) in made)
                )
                own._to_save = own._non_differentiable = ()
                own._for_forward = None
                return tuple(made[id(o)] for o in outputs)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            with BatchLevel(size, randomness) as inner:
                answer = cls.backward(_restored(ctx, inner), *_rewrapped(inner, grads))
                answers = answer if isinstance(answer, tuple) else (answer,)
                return tuple(_returned(inner, a, b) for a, b in zip(answers, batched, strict=True))

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            with BatchLevel(size, randomness) as inner:
                moving = tuple(
                    inner.wrap_within(t) if b and t is not None else t
                    for t, b in zip(tangents, batched, strict=True)
                )
                answer = cls.jvp(_restored(ctx, inner), *moving)
                answers = answer if isinstance(answer, tuple) else (answer,)
                return tuple(_part(inner, a) for a in answers)

    Batched.__name__ = cls.__name__
    parts = [a.part if b else a for a, b in zip(args, batched, strict=True)]
    found = tuple(level.wrap(o) if isinstance(o, TensorCore) else o for o in Batched.apply(*parts))
    return found[0] if single[-1] else found


def _part(level: BatchLevel, x: Any) -> Any:
    return level.unwrap_within(x) if isinstance(x, TensorCore) else x


def _saved(level: BatchLevel, t: Any, made: dict[int, Any]) -> tuple[Any, bool]:
    """What a saved tensor is made of, and whether that has a value for each example."""
    if t is None:
        return None, False
    if id(t) in made:
        return made[id(t)], True
    return (t.part, True) if level.holds(t) else (t, False)


def _restored(ctx: Any, level: BatchLevel) -> FunctionCtx:
    """The function's own context with what it saved, as batched tensors."""
    own: FunctionCtx = ctx.own
    again = FunctionCtx()
    again.__dict__.update(own.__dict__)
    moving = ctx._moving and ctx._for_forward is not None
    marks = ctx.forward_batched if moving else ctx.saved_batched
    again._to_save = tuple(
        level.wrap(t) if b else t for t, b in zip(ctx.saved_tensors, marks, strict=True)
    )
    again.needs_input_grad = ctx.needs_input_grad
    return again


def _rewrapped(level: BatchLevel, grads: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if g is None else level.wrap_within(g) for g in grads)


def _returned(level: BatchLevel, r: Any, batched: bool) -> Any:
    """The gradient for what an argument is made of; one that all examples share gets the sum."""
    if r is None:
        return None
    if level_of(r) == 0 and not batched:
        return r
    whole = level.unwrap_within(r)
    return whole if batched else FAST["F"].sum(whole, 0)


__all__ = ["VmapInfo", "apply_wrapped"]
