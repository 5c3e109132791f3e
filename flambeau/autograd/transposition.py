"""`autograd.grad` inside transformations, and for many gradients of the outputs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .batching import BatchLevel
from .grad_mode import FAST, set_grad_enabled
from .pullback import pull


def along(
    outs: Sequence[Any], targets: Sequence[Any], starts: Sequence[Any], create: bool
) -> list[Any]:
    """The gradients of `outs` for `targets` along `starts` (None: 1 for a scalar)."""
    if len(starts) != len(outs):
        raise RuntimeError(f"got {len(outs)} tensors and {len(starts)} gradients")
    filled = []
    for number, (o, v) in enumerate(zip(outs, starts, strict=True)):
        if not o.requires_grad:
            raise RuntimeError(
                f"element {number} of tensors does not require grad and does not have a grad_fn"
            )
        if v is None and o.numel() != 1:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs "
                f"(this one has shape {list(o.shape)})"
            )
        v = FAST["F"].ones_like(o) if v is None else v
        if tuple(v.shape) != tuple(o.shape):
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{number}] has a shape of {v.shape} and "
                f"output[{number}] has a shape of {o.shape}."
            )
        filled.append(v)
    for t in targets:
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    with set_grad_enabled(create):
        return pull(outs, targets, filled, create=create)


def along_rows(
    outs: Sequence[Any], targets: Sequence[Any], starts: Sequence[Any], create: bool
) -> list[Any]:
    """`along` for each of the first dimension of `starts`, which the results have as well."""
    with BatchLevel(starts[0].shape[0]) as level:
        rows = [level.wrap(v) for v in starts]
        found = along(outs, targets, rows, create)
        return [None if g is None else level.unwrap_within(g) for g in found]


__all__ = ["along", "along_rows"]
