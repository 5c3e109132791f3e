"""Random numbers inside `vmap`: refused, the same for all examples, or different for each.

The level that draws is closed meanwhile, so what is called here is the business of the levels
around it. Where examples differ, one call draws for all of them: a generator that fills 16
numbers at a time gives other ones when it is asked for a few.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ...ops.record import Op
from ...tensor.core import TensorCore
from ..grad_mode import FAST
from ..levels import map_tensors
from .rules import Call, one_by_one, stacked

_BY_VALUE = frozenset(
    "bernoulli binomial multinomial normal poisson _standard_gamma _sample_dirichlet".split()
)
"""Functions whose numbers depend on the values of a tensor."""


def draw(level: Any, public: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What ``public(*args, **kwargs)``, a function that draws numbers, gives at `level`."""
    if kwargs.get("out") is not None:
        raise RuntimeError(
            "vmap: We do not support calling out variants of random operations inside of vmap. "
            f"Please use non-out variants as a workaround ({public.__name__})"
        )
    if public.__name__.endswith("_"):
        return _into(level, public, args[0], args[1:], kwargs)
    bound = inspect.signature(public).bind(*args, **kwargs)
    tensors = {n: x for n, x in bound.arguments.items() if isinstance(x, TensorCore)}
    if level.randomness == "same":
        if not any(level.holds(x) for x in tensors.values()):
            return public(*args, **kwargs)
        _check_same(public.__name__)
        like = args[0]  # what is like a batched tensor has an example's shape
        return public(FAST["F"].empty(like.shape, dtype=like._t), *args[1:], **kwargs)
    name = public.__name__
    if tensors:
        return _by_tensors(level, public, bound, tensors)
    if name in ("rand", "randn"):
        size = kwargs.pop("size", args)
        size = size[0] if size and isinstance(size[0], (tuple, list)) else size
        return level.wrap(public((level.size, *size), **kwargs))
    return level.wrap(stacked([public(*args, **kwargs) for _ in range(level.size)]))


def _check_same(name: str) -> None:
    if name in _BY_VALUE:
        raise RuntimeError(
            "Vmap does not currently support same randomness with a batched tensor input. Please "
            f"file an issue with functorch ({name})"
        )


def _by_tensors(level: Any, public: Any, bound: Any, tensors: dict[str, Any]) -> Any:
    """Numbers for all examples by their tensors, which broadcast against each other."""
    rank = max(len(x.shape) for x in tensors.values())
    for name, x in tensors.items():
        whole = level.unwrap(x)
        shape = (level.size, *[1] * (rank - len(x.shape)), *x.shape)
        bound.arguments[name] = whole.reshape(shape).contiguous()
    if public.__name__ != "multinomial" or rank == 1:
        return level.wrap(public(*bound.args, **bound.kwargs))
    whole = bound.arguments["input"]
    bound.arguments["input"] = whole.reshape(-1, whole.shape[-1])
    drawn = public(*bound.args, **bound.kwargs)
    return level.wrap(drawn.reshape(*whole.shape[:-1], -1))


def _into(level: Any, public: Any, t: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Fill `t`."""
    values = (*args, *kwargs.values())
    batched = any(level.holds(x) for x in values)
    if level.randomness == "same":
        if batched:
            _check_same("bernoulli")
        if not level.holds(t):
            return public(t, *args, **kwargs)
        t.part.copy_(public(FAST["F"].empty(t.shape, dtype=t._t), *args, **kwargs))
        return t
    if not level.holds(t):
        raise RuntimeError(
            "vmap: Cannot ask for different inplace randomness on an unbatched tensor. "
            "This will appear like same randomness. If this is necessary for your usage, "
            "please file an issue with functorch."
        )
    if batched:
        args = tuple(_aligned(level, x, len(t.shape)) for x in args)
        kwargs = {n: _aligned(level, x, len(t.shape)) for n, x in kwargs.items()}
    public(t.part, *args, **kwargs)
    return t


def _aligned(level: Any, x: Any, rank: int) -> Any:
    if not level.holds(x):
        return x
    return x.part.reshape(level.size, *[1] * (rank - len(x.shape)), *x.shape)


def draw_op(level: Any, op: Op, arguments: dict[str, Any]) -> Any:
    """What `op`, which draws numbers, gives at `level`."""
    c = Call(level, op, arguments)
    if level.randomness == "same":
        if not c.batched():
            return _in_order(c).run()
        _check_same(op.name)
        generator = FAST["F"].default_generator
        state = generator.get_state()
        return map_tensors(level.wrap, one_by_one(_in_order(c), lambda: generator.set_state(state)))
    whole = op.name in _WHOLE and not c.args.get("channels")
    return map_tensors(level.wrap, _in_order(c, whole).run() if whole else one_by_one(c))


_WHOLE = "dropout_noise alpha_noise rrelu _standard_gamma _sample_dirichlet".split()
"""Ops that take any number of dimensions."""


def _in_order(c: Call, whole: bool = False) -> Call:
    """The call with its tensors in C order, `whole` ones with a value for each example."""
    given = dict(c.args)
    for name in c.op.tensors:
        if whole:
            given[name] = c.level.wrap(c.full(name))
        given[name] = given[name].contiguous()
    return Call(c.level, c.op, given)
