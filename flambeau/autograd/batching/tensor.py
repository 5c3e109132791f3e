"""Batched tensors: one tensor that stands for an example's, whose first dimension counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...ops.record import Op
from ...tensor.inplace import become
from ...tensor.shape import Size
from ..grad_mode import FAST
from ..levels import Level, Wrapped, level_of, map_tensors
from . import randomness, rules


class BatchLevel(Level):
    """One running `vmap` over `size` examples; `randomness` is "error", "different" or "same"."""

    size: int

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.size = size
        self.randomness = randomness

    def wrap(self, value: Any) -> Any:
        """The batched tensor of `value`, whose first dimension counts the examples."""
        return BatchedTensor.make(value._t, part=value, level=self.number, owner=self)

    def holds(self, x: Any) -> bool:
        """Whether `x` is a batched tensor of this level."""
        return isinstance(x, BatchedTensor) and x.level == self.number

    def unwrap(self, x: Any) -> Any:
        """What `x` is made of: (size, *shape); tensors that are not of this level are repeated."""
        if self.holds(x):
            return x.part
        return x.unsqueeze(0).expand(self.size, *x.shape)

    def unwrap_within(self, x: Any) -> Any:
        """`unwrap` of a tensor of which this level may be an inner one."""
        if level_of(x) <= self.number:
            return self.unwrap(x)
        if isinstance(x, BatchedTensor):
            return x.with_part(self.unwrap_within(x.part).transpose(0, 1))
        return x.rewrapped(self.unwrap_within)

    def wrap_within(self, x: Any) -> Any:
        """The opposite of `unwrap_within`."""
        if level_of(x) < self.number:
            return self.wrap(x)
        if isinstance(x, BatchedTensor):
            return x.with_part(self.wrap_within(x.part.transpose(0, 1)))
        return x.rewrapped(self.wrap_within)

    # ------------------------------------------------------------ random numbers
    def draw(self, public: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """What ``public(*args, **kwargs)``, a function that draws numbers, gives here."""
        with self._drawing(public.__name__):
            return randomness.draw(self, public, args, kwargs)

    def draw_op(self, op: Op, arguments: dict[str, Any]) -> Any:
        """What `op`, which draws numbers, gives here."""
        with self._drawing(op.name):
            return randomness.draw_op(self, op, arguments)

    @contextmanager
    def _drawing(self, name: str) -> Iterator[None]:
        """What is called inside is the business of the levels around this one."""
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use "
                "the 'same' or 'different' randomness flags on vmap or perform the randomness "
                f"operation out of vmap ({name})"
            )
        self.close()
        try:
            yield
        finally:
            self.open()


class BatchedTensor(Wrapped):
    """What an example's tensor is inside `vmap`."""

    owner: BatchLevel
    shape = property(lambda self: Size(self.part.shape[1:]))

    def with_part(self, part: Any) -> Any:
        """The batched tensor of another `part`."""
        return self.owner.wrap(part)

    def rewrapped(self, f: Callable[[Any], Any]) -> Any:
        """The batched tensor of `f` of the part."""
        return self.owner.wrap(f(self.part))

    def lifted(self, x: Any) -> Any:
        """`x` as a tensor of this level."""
        return x if level_of(x) == self.level else self.owner.wrap(self.owner.unwrap(x))

    def parts(self) -> tuple[Any, ...]:
        """The tensor that this one is made of."""
        return (self.part,)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        inner = repr(self.part).replace("\n", "\n    ")
        return f"BatchedTensor(lvl={self.level}, bdim=0, value=\n    {inner}\n)"

    # ------------------------------------------------------------ ops
    def apply_op(self, op: Op, arguments: dict[str, Any]) -> Any:
        """The results of `op` for all examples."""
        return rules.apply(self.owner, op, arguments)

    def change(self, t: Any, result: Any, where: str) -> Any:
        """Write `result` into what `t` is made of."""
        if level_of(t) < self.level:
            raise_captured(where)
        result = self.lifted(result)
        if t.shape == result.shape:
            t.part.copy_(result.part)
            return t
        if len(t.shape) >= len(result.shape) or t.numel() != result.numel():
            raise RuntimeError(
                f"{where}: output with shape {list(t.shape)} doesn't match the broadcast shape "
                f"{list(result.shape)}"
            )
        return become(t, result)

    def get_by(self, t: Any, items: tuple[Any, ...]) -> Any:
        """``t[items]`` with batched indices."""
        from .indexing import gather_items

        return gather_items(self.owner, t, items)

    def set_by(self, t: Any, items: tuple[Any, ...], value: Any) -> None:
        """``t[items] = value`` with batched tensors."""
        from .indexing import scatter_items

        if level_of(t) < self.level:
            raise_captured("__setitem__")
        scatter_items(self.owner, t, items, value)

    def pull_at(
        self, level: int, outs: Any, sources: Any, cotangents: Any, below: Any
    ) -> list[Any]:
        """Gradients per example; see pullback.py."""
        owner = self.owner
        live = [i for i, o in enumerate(outs) if owner.holds(o) and cotangents[i] is not None]
        inner = [owner.unwrap_within(cotangents[i]) for i in live]
        out_parts = [outs[i].part for i in live]
        found: list[Any] = [None] * len(sources)
        own = [k for k, s in enumerate(sources) if owner.holds(s)]
        if own:
            grads = below(out_parts, [sources[k].part for k in own], inner)
            for k, g in zip(own, grads, strict=True):
                found[k] = None if g is None else owner.wrap_within(g)
        shared = [k for k in range(len(sources)) if k not in own]
        if shared and live:
            self._pull_shared(shared, out_parts, sources, inner, below, found)
        rest = [i for i in range(len(outs)) if i not in live]
        if rest and shared:
            more = below([outs[i] for i in rest], [sources[k] for k in shared],
                         [cotangents[i] for i in rest])  # fmt: skip
            for k, g in zip(shared, more, strict=True):
                if g is not None:
                    found[k] = g if found[k] is None else found[k] + g
        return found

    def _pull_shared(
        self, shared: Any, outs: Any, sources: Any, cotangents: Any, below: Any, found: Any
    ) -> None:
        """The gradients, per example, for sources that all examples share: one example a time."""
        rows = []
        for b in range(self.owner.size):
            only = []
            for v in cotangents:
                masked = FAST["F"].zeros_like(v)
                masked[b] = v[b]
                only.append(masked)
            rows.append(below(outs, [sources[k] for k in shared], only))
        for k, column in zip(shared, zip(*rows, strict=True), strict=True):
            if all(g is not None for g in column):
                found[k] = self.owner.wrap_within(FAST["F"].stack(list(column)))

    def everywhere(self) -> bool:
        """Whether this 0-d tensor is true for every example."""
        return FAST["F"].holds(self.part.all())

    # ------------------------------------------------------------ creation
    def made_like(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What ``zeros_like`` and the like give: as many as there are examples."""
        return self.owner.wrap(function(self.part, *args, **kwargs))

    def made_new(
        self, function: Callable[..., Any], size: tuple[int, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What ``new_zeros`` and the like give: as many as there are examples."""
        return self.owner.wrap(function((self.owner.size, *size), **kwargs))

    # ------------------------------------------------------------ what examples cannot say
    def item(self) -> Any:
        """Refused: there is one element for each example."""
        raise RuntimeError(
            "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over "
            "calling .item() on a Tensor, please try to rewrite what you're doing with other "
            "operations. If error is occurring somewhere inside PyTorch internals, please file a "
            "bug report."
        )

    def tolist(self) -> Any:
        """Refused: there is one list for each example."""
        self.item()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused: there is one array for each example."""
        self.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self.item()

    def __int__(self) -> int:
        return int(self.item())

    __index__ = __int__

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __bool__(self) -> bool:
        raise RuntimeError(
            "vmap: It looks like you're attempting to use a Tensor in some data-dependent control "
            "flow. We don't support that yet, please shout over at "
            "https://github.com/pytorch/functorch/issues/257 ."
        )


def raise_captured(where: str) -> None:
    """Report an in-place change of one tensor by as many values as there are examples."""
    raise RuntimeError(
        f"vmap: inplace arithmetic(self, *extra_args) ({where}) is not possible because there "
        "exists a Tensor `other` in extra_args that has more elements than `self`. This happened "
        "due to `other` being vmapped over but `self` not being vmapped over in a vmap. Please "
        "try to use out-of-place operators instead of inplace arithmetic. If said operator is "
        "being called inside the PyTorch framework, please file a bug report instead."
    )


def wrap_results(level: BatchLevel, value: Any) -> Any:
    """Every tensor in `value` as a batched one."""
    return map_tensors(level.wrap, value)
