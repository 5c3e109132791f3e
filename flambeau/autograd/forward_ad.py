"""Forward-mode derivatives: dual tensors that carry a tangent through every op.

A `DualTensor` belongs to a level, so `_interpret` computes the primal and the tangent of each op.
Tangent rules are not written anywhere: an element-wise op's is its partial derivative, a view's is
the view itself, and any other op's is its reverse rule transposed (the reverse rule is linear in
the incoming gradient, so its own derivative is the forward rule).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..ops.record import Op
from ..tensor.core import TensorCore
from ..tensor.inplace import become
from .grad_mode import FAST, enable_grad, is_grad_enabled, set_grad_enabled
from .levels import Level, Wrapped, call, leaves, level_of, map_tensors
from .pullback import detached, fresh, levels_in, pull, spread_over

_level = -1
_open: list[Level] = []


class UnpackedDualTensor(NamedTuple):
    """The two parts of a dual tensor; the tangent is None for an ordinary tensor."""

    primal: Any
    tangent: Any


class dual_level:
    """The context in which dual tensors exist."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *_: object) -> None:
        exit_dual_level()


def enter_dual_level() -> int:
    """Begin a level; nesting is an error, as in PyTorch."""
    global _level
    if _level >= 0:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _level += 1
    _open.append(Level().__enter__())
    return _level


def exit_dual_level(level: int | None = None) -> None:
    """End the level."""
    global _level
    if _level < 0:
        raise RuntimeError("Trying to exit a forward AD level that does not exist")
    _level -= 1
    _open.pop().__exit__()


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """A dual tensor of `tensor` with the `tangent` of the same shape and dtype."""
    if _level < 0:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    if not tensor.dtype.inexact:
        raise ValueError(
            f"Expected primal to be floating point or complex, but got: {tensor.dtype}"
        )
    if tuple(tensor.shape) != tuple(tangent.shape):
        raise RuntimeError(
            f"Expected tangent of shape {list(tensor.shape)}, got {list(tangent.shape)}"
        )
    return DualTensor.of(tensor, tangent, _open[-1].number)


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """The primal and the tangent of `tensor`."""
    if _open and isinstance(tensor, DualTensor) and tensor.level == _open[-1].number:
        return UnpackedDualTensor(tensor.primal, tensor.tangent)
    return UnpackedDualTensor(tensor, None)


class DualTensor(Wrapped):
    """A tensor and its tangent."""

    primal: Any
    tangent: Any
    part = property(lambda self: self.primal)  # type: ignore[assignment]
    requires_grad = property(  # type: ignore[assignment]
        lambda self: self.primal.requires_grad or self.tangent.requires_grad,
        lambda self, on: self.requires_grad_(on),
    )

    @staticmethod
    def of(primal: Any, tangent: Any, level: int) -> Any:
        """The dual of two tensors."""
        return DualTensor.make(primal._t, primal=primal, tangent=tangent, level=level)

    def with_part(self, primal: Any) -> Any:
        """The dual of another `primal` with the same tangent."""
        return DualTensor.of(primal, self.tangent, self.level)

    def rewrapped(self, f: Callable[[Any], Any]) -> Any:
        """The dual of `f` of both parts."""
        return DualTensor.of(f(self.primal), f(self.tangent), self.level)

    def lifted(self, x: Any) -> Any:
        """`x` as a tensor of this level."""
        if level_of(x) == self.level:
            return x
        return DualTensor.of(x, FAST["F"].zeros_like(x), self.level)

    def parts(self) -> tuple[Any, ...]:
        """The primal and the tangent."""
        return self.primal, self.tangent

    def detach(self) -> Any:
        """The primal alone, out of the tape."""
        return self.primal.detach()

    def __bool__(self) -> bool:
        return bool(self.primal)

    def __int__(self) -> int:
        return int(self.primal)

    def __float__(self) -> float:
        return float(self.primal)

    def __index__(self) -> int:
        return int(self.primal.__index__())

    def item(self) -> Any:
        """The only element of the primal as a Python number."""
        return self.primal.item()

    def tolist(self) -> Any:
        """The elements of the primal as (nested) Python lists."""
        return self.primal.tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"{self.primal!r} with tangent {self.tangent!r}"

    # ------------------------------------------------------------ ops
    def apply_op(self, op: Op, arguments: dict[str, Any]) -> Any:
        """The primal and the tangent of each result."""
        return _push_forward(op, arguments, self.level)

    draw_op = apply_op

    def draw(self, public: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """What ``public(*args, **kwargs)``, a function that draws numbers, gives: no tangent."""
        kwargs = {n: _primal(x, self.level) for n, x in kwargs.items()}
        result = public(*(_primal(x, self.level) for x in args), **kwargs)
        if not public.__name__.endswith("_") or not _is_dual(args[0], self.level):
            return result
        args[0].tangent.zero_()
        return args[0]

    def change(self, t: Any, result: Any, where: str) -> Any:
        """Write both parts of `result` into those of `t`, so that views of them change too."""
        if not isinstance(result, DualTensor) or result.level != self.level:
            result = DualTensor.of(result, FAST["F"].zeros_like(result), self.level)
        fits = t.shape == result.shape and t._t is result._t
        if not fits or level_of(t) > self.level:
            return become(t, result)
        if level_of(t) != self.level:
            return become(t, result)
        t.primal.copy_(result.primal)
        try:
            t.tangent.copy_(result.tangent)
        except RuntimeError:  # a tangent that is one number for many elements
            t.__dict__["tangent"] = result.tangent
        return t

    def get_by(self, t: Any, items: tuple[Any, ...]) -> Any:
        """``t[items]`` with dual numbers nowhere but in `t`: indices are integers."""
        return t[tuple(_primal(i, self.level) for i in items)]

    def set_by(self, t: Any, items: tuple[Any, ...], value: Any) -> None:
        """``t[items] = value``, for both parts."""
        items = tuple(_primal(i, self.level) for i in items)
        if level_of(t) < self.level:
            if not (isinstance(value, DualTensor) and value.level == self.level):
                t[items] = value
                return
            plain = t.view_as(t) if level_of(t) else t.detach()
            plain = DualTensor.of(plain, FAST["F"].zeros_like(plain), self.level)
            become(t, plain)
        dual = isinstance(value, DualTensor) and value.level == self.level
        t.primal[items] = value.primal if dual else value
        t.tangent[items] = value.tangent if dual else 0

    def pull_at(
        self, level: int, outs: Any, sources: Any, cotangents: Any, below: Any
    ) -> list[Any]:
        """Gradients of dual tensors, which are dual; see pullback.py."""
        sources = [_primal(s, level) for s in sources]
        first, moving = [], []
        for o, v in zip(outs, cotangents, strict=True):
            ours = isinstance(o, DualTensor) and o.level == level
            v0, v1 = peel(v, level)
            first.append((o.primal if ours else o, v0))
            if ours:
                moving.append((o.tangent, v0))
            if v1 is not None:
                moving.append((o.primal if ours else o, v1))
        primal = below([o for o, _ in first], sources, [v for _, v in first])
        tangent = below([o for o, _ in moving], sources, [v for _, v in moving])
        found = []
        for p, t in zip(primal, tangent, strict=True):
            if p is None and t is None:
                found.append(None)
                continue
            p = FAST["F"].zeros_like(t) if p is None else p
            t = FAST["F"].zeros_like(p) if t is None else t
            found.append(_join(p, t, level))
        return found


def peel(x: Any, level: int) -> tuple[Any, Any]:
    """The primal and the tangent (or None) of `x` at `level`, which may lie inside others."""
    if x is None or level_of(x) < level:
        return x, None
    if x.level == level:
        return x.primal, x.tangent
    if isinstance(x, DualTensor):
        p0, p1 = peel(x.primal, level)
        t0, t1 = peel(x.tangent, level)
        if p1 is None and t1 is None:
            return x, None
        p1 = FAST["F"].zeros_like(p0) if p1 is None else p1
        t1 = FAST["F"].zeros_like(t0) if t1 is None else t1
        return DualTensor.of(p0, t0, x.level), DualTensor.of(p1, t1, x.level)
    p0, p1 = peel(x.part, level)
    return (x, None) if p1 is None else (x.with_part(p0), x.with_part(p1))


def _join(p: Any, t: Any, level: int) -> Any:
    """A dual tensor of `level`, which lies below the levels of `p` and `t`."""
    top = max(level_of(p), level_of(t))
    if top < level:
        return DualTensor.of(p, t, level)
    like = p if level_of(p) == top else t
    p, t = like.lifted(p), like.lifted(t)
    if isinstance(like, DualTensor):
        return DualTensor.of(
            _join(p.primal, t.primal, level), _join(p.tangent, t.tangent, level), top
        )
    return like.with_part(_join(p.part, t.part, level))


def _primal(x: Any, level: int) -> Any:
    return map_tensors(lambda y: y.primal if _is_dual(y, level) else y, x)


def _moving(x: Any, level: int) -> list[Any]:
    """The tangents in an argument."""
    return [y.tangent for y in leaves([x]) if _is_dual(y, level)]


def _is_dual(x: Any, level: int) -> bool:
    return isinstance(x, DualTensor) and x.level == level


def _push_forward(op: Op, arguments: dict[str, Any], level: int) -> Any:
    primals = {n: _primal(v, level) if n in op.tensors else v for n, v in arguments.items()}
    duals = [n for n in op.tensors if n not in op.lists and _is_dual(arguments.get(n), level)]
    listed = [n for n in op.lists if any(_is_dual(x, level) for x in arguments[n])]
    if op.family == "view" and duals == [op.tensors[0]]:
        out = call(op, primals)
        moved = call(op, {**primals, op.tensors[0]: arguments[op.tensors[0]].tangent})
        return _paired(out, moved, level)
    if op.partials and not op.grad and all(n in op.partials for n in duals):
        return _pointwise(op, arguments, primals, duals, level)
    return _transposed(op, arguments, primals, duals, listed, level)


def _paired(out: Any, tangent: Any, level: int) -> Any:
    if isinstance(out, tuple):
        return tuple(_paired(o, t, level) for o, t in zip(out, tangent, strict=True))
    return out if tangent is None or not out._t.inexact else DualTensor.of(out, tangent, level)


def _pointwise(op: Op, arguments: Any, primals: Any, duals: Sequence[str], level: int) -> Any:
    F = FAST["F"]
    out = call(op, primals)
    if not out._t.inexact:
        return out
    known = {**op.defaults, **primals, "out": out}
    total = None
    for name in duals:
        partial = op.partials[name]
        code = partial.__code__
        p = partial(F, *(known[q] for q in code.co_varnames[1 : code.co_argcount]))
        term = (arguments[name].tangent * p).to(out._t)
        total = term if total is None else total + term
    return DualTensor.of(out, total.expand(out.shape), level)


def _transposed(
    op: Op, arguments: Any, primals: Any, duals: Sequence[str], listed: Sequence[str], level: int
) -> Any:
    """The tangent as the derivative, along the tangents, of the reverse rule in its gradient."""
    involved = leaves([list(primals.values()), [_moving(v, level) for v in arguments.values()]])
    recording = is_grad_enabled() and any(t.requires_grad for t in involved)
    over = levels_in(primals.values())
    sources: list[Any] = []
    tangents: list[Any] = []

    def live(x: Any) -> Any:
        if not _is_dual(x, level):
            return x
        sources.append(fresh(spread_over(x.primal, over), connected=recording))
        tangents.append(x.tangent)
        return sources[-1]

    with enable_grad():
        given = dict(primals)
        for n in duals:
            given[n] = live(arguments[n])
        for n in listed:
            given[n] = [live(x) for x in arguments[n]]
        out = call(op, given)
        outs = list(out) if isinstance(out, tuple) else [out]
        results = [_result(o, sources, tangents, recording, level) for o in outs]
    if not isinstance(out, tuple):
        return results[0]
    return type(out)(*results) if hasattr(out, "_fields") else tuple(results)


def _result(
    o: Any, sources: Sequence[Any], tangents: Sequence[Any], recording: bool, level: int
) -> Any:
    """The output `o` as a dual tensor, or as it is where no tangent comes to it."""
    if not o._t.inexact or not o.requires_grad:
        return o
    # Rules are linear in v, but some take its logarithm or sign on the way.
    v = fresh(spread_over(FAST["F"].ones_like(o), levels_in([o])), connected=False)
    back = pull([o], sources, [v], create=True)
    pairs = [(b, t) for b, t in zip(back, tangents, strict=True) if b is not None]
    pairs = [(b, t) for b, t in pairs if b.requires_grad]
    tangent = None
    if pairs:
        with set_grad_enabled(recording):
            (tangent,) = pull([b for b, _ in pairs], [v], [t for _, t in pairs], create=recording)
    if tangent is None:
        tangent = FAST["F"].zeros_like(o)
    return DualTensor.of(o if recording else detached(o), tangent, level)


__all__ = [
    "DualTensor",
    "TensorCore",
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]
