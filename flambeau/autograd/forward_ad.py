"""Forward-mode derivatives: dual tensors that carry a tangent through every op.

A `DualTensor` has no array of its own, so the short functions pass it on, and `_interpret` computes
the primal and the tangent. Tangent rules are not written anywhere: an element-wise op's is its
partial derivative, a view's is the view itself, and any other op's is its reverse rule transposed
(the reverse rule is linear in the incoming gradient, so its own derivative is the forward rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..ops.record import Op
from ..tensor.core import TensorCore, from_array, new
from ..tensor.indexing import split
from ..tensor.tensor import Tensor
from .grad_mode import FAST, enable_grad, is_grad_enabled

_level = -1


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
    return _level


def exit_dual_level(level: int | None = None) -> None:
    """End the level."""
    global _level
    if _level < 0:
        raise RuntimeError("Trying to exit a forward AD level that does not exist")
    _level -= 1


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
    return DualTensor.of(tensor, tangent)


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """The primal and the tangent of `tensor`."""
    if isinstance(tensor, DualTensor):
        return UnpackedDualTensor(tensor.primal, tensor.tangent)
    return UnpackedDualTensor(tensor, None)


class DualTensor(Tensor):
    """A tensor and its tangent."""

    primal: Any
    tangent: Any
    _d = property(lambda self: _no_array())

    @staticmethod
    def of(primal: Any, tangent: Any) -> Any:
        """The dual of two tensors."""
        out = new(DualTensor)
        out.__dict__.update(primal=primal, tangent=tangent)
        out._t, out._gf, out._grad = primal._t, primal._gf, None
        out._s = out._view = None
        out._v = 0
        return out

    shape = property(lambda self: self.primal.shape)
    ndim = property(lambda self: self.primal.ndim)
    device = property(lambda self: self.primal.device)
    requires_grad = property(lambda self: self.primal.requires_grad)
    _version = property(lambda self: self.primal._version)

    def __getattribute__(self, name: str) -> Any:
        if name in _FACTS:
            return getattr(object.__getattribute__(self, "primal"), name)
        return object.__getattribute__(self, name)

    def detach(self) -> Any:
        """The primal alone, out of the tape."""
        return self.primal.detach()

    def __len__(self) -> int:
        return len(self.primal)

    def __bool__(self) -> bool:
        return bool(self.primal)

    def __int__(self) -> int:
        return int(self.primal)

    def __float__(self) -> float:
        return float(self.primal)

    def __getitem__(self, index: Any) -> Any:
        items = index if isinstance(index, tuple) else (index,)
        basic, advanced = split(self.primal, items)
        out = self if basic is None else FAST["F"].basic_index(self, basic)
        return out if advanced is None else FAST["F"].advanced_index(out, advanced)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"{self.primal!r} with tangent {self.tangent!r}"

    def _interpret(self, op: Op, tensors: tuple[Any, ...], values: dict[str, Any]) -> Any:
        named = dict(zip(op.tensors, tensors, strict=True))
        arguments = {
            n: named.get(n, values.get(n))
            for n in op.signature.parameters
            if n in named or n in values
        }
        return _push_forward(op, arguments)


_FACTS = frozenset(
    [
        "size",
        "dim",
        "numel",
        "nelement",
        "stride",
        "is_contiguous",
        "is_floating_point",
        "is_complex",
        "element_size",
        "item",
        "tolist",
        "data_ptr",
        "storage_offset",
    ]
)


def _no_array() -> Any:
    raise AttributeError("a dual tensor has no array of its own")


def _primal(x: Any) -> Any:
    if isinstance(x, DualTensor):
        return x.primal
    if isinstance(x, (list, tuple)):
        return [_primal(y) for y in x]
    return x


def _call(op: Op, arguments: dict[str, Any]) -> Any:
    function = getattr(FAST["F"], op.name)
    positional = [
        arguments[n]
        for n, p in op.signature.parameters.items()
        if p.kind is not p.KEYWORD_ONLY and n in arguments
    ]
    keyword = {
        n: arguments[n]
        for n, p in op.signature.parameters.items()
        if p.kind is p.KEYWORD_ONLY and n in arguments
    }
    return function(*positional, **keyword)


def _push_forward(op: Op, arguments: dict[str, Any]) -> Any:
    primals = {n: _primal(v) if n in op.tensors else v for n, v in arguments.items()}
    duals = [
        n for n in op.tensors if n not in op.lists and isinstance(arguments.get(n), DualTensor)
    ]
    listed = [n for n in op.lists if any(isinstance(x, DualTensor) for x in arguments[n])]
    if op.family == "view" and duals == [op.tensors[0]]:
        out = _call(op, primals)
        moved = _call(op, {**primals, op.tensors[0]: arguments[op.tensors[0]].tangent})
        return _paired(out, moved)
    if op.partials and not op.grad and all(n in op.partials for n in duals):
        return _pointwise(op, arguments, primals, duals)
    return _transposed(op, arguments, primals, duals, listed)


def _paired(out: Any, tangent: Any) -> Any:
    if isinstance(out, tuple):
        return tuple(_paired(o, t) for o, t in zip(out, tangent, strict=True))
    return out if tangent is None or not out._t.inexact else DualTensor.of(out, tangent)


def _pointwise(op: Op, arguments: Any, primals: Any, duals: Sequence[str]) -> Any:
    F = FAST["F"]
    out = _call(op, primals)
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
    return DualTensor.of(out, total.expand(out.shape))


def _transposed(
    op: Op, arguments: Any, primals: Any, duals: Sequence[str], listed: Sequence[str]
) -> Any:
    """The tangent as the derivative, along the tangents, of the reverse rule in its gradient."""
    from .interface import grad

    recording = is_grad_enabled()
    sources: list[Any] = []
    tangents: list[Any] = []

    def live(x: Any) -> Any:
        if not isinstance(x, DualTensor):
            return x
        source = x.primal if x.primal.requires_grad else x.primal.detach().requires_grad_()
        sources.append(source)
        tangents.append(x.tangent)
        return source

    with enable_grad():
        given = dict(primals)
        for n in duals:
            given[n] = live(arguments[n])
        for n in listed:
            given[n] = [live(x) for x in arguments[n]]
        out = _call(op, given)
        outs = list(out) if isinstance(out, tuple) else [out]
        results: list[Any] = []
        for o in outs:
            if o._gf is None:
                results.append(o)
                continue
            # Rules are linear in v, but some take its logarithm or sign on the way.
            v = from_array(FAST["F"].ones_like(o)._d).requires_grad_()
            back = grad(o, sources, v, retain_graph=True, create_graph=True, allow_unused=True)
            pairs = [(b, t) for b, t in zip(back, tangents, strict=True) if b is not None]
            live_pairs = [(b, t) for b, t in pairs if b._gf is not None]
            tangent = FAST["F"].zeros_like(o)
            if live_pairs:
                (tangent,) = grad(
                    [b for b, _ in live_pairs], v, [t for _, t in live_pairs],
                    create_graph=recording, materialize_grads=True,
                )  # fmt: skip
            primal = (
                o
                if recording and any(s is p for s in sources for p in _flat(primals))
                else o.detach()
            )
            results.append(DualTensor.of(primal, tangent))
    if not isinstance(out, tuple):
        return results[0]
    return type(out)(*results) if hasattr(out, "_fields") else tuple(results)


def _flat(values: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for v in values.values():
        found += v if isinstance(v, list) else [v]
    return [v for v in found if isinstance(v, TensorCore)]
