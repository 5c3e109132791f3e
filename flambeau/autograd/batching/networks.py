"""Batched normalisation, pooling and losses."""

from __future__ import annotations

from typing import Any

from ...tensor.core import TensorCore
from ..grad_mode import FAST
from .rules import Call, decomposed, rule


def _split_off(c: Call) -> Any:
    """The op by way of what it is made of, as what the results are made of."""
    out = decomposed(c)
    if isinstance(out, TensorCore):
        return c.level.unwrap(out)
    return tuple(c.level.unwrap(o) for o in out)


@rule("layer_norm rms_norm_rows")
def layer_norm(c: Call) -> Any:
    """Normalising the last dimensions; examples are more rows."""
    return c.run() if c.only("input") else _split_off(c)


@rule("group_norm")
def group_norm(c: Call) -> Any:
    """Normalising groups of channels; examples are more items."""
    x = c.part("input")
    if not c.only("input") or not c.size:
        return _split_off(c)
    return c.run(input=x.reshape(-1, *x.shape[2:])).reshape(x.shape)


@rule("batch_norm")
def batch_norm(c: Call) -> Any:
    """Normalising over the items of an example; examples are more channels."""
    x = c.part("input")
    if c["training"] and c["running_mean"] is not None and not c.is_batched("running_mean"):
        raise RuntimeError(
            "Batch norm got a batched tensor as input while the running_mean or running_var, "
            "which will be updated in place, were not batched. If you are using a module and do "
            "not need eval mode, please set `track_running_stats` to be False. If you are using a "
            "prebuilt module and do not need eval mode, please see the functorch website for "
            "resources on how to patch your module to work with vmap"
        )
    if not c.only("input") or not c.size:
        return _split_off(c)
    if not c["training"]:
        return c.run(input=x.reshape(-1, *x.shape[2:])).reshape(x.shape)
    # Statistics are taken per channel: examples become more channels.
    affine = c["weight"] is not None or c["bias"] is not None
    channels = x.transpose(0, 1).reshape(x.shape[1], -1, *x.shape[3:])
    out = c.run(input=channels, weight=None, bias=None)
    out = out.reshape(x.shape[1], c.size, *x.shape[2:]).transpose(0, 1)
    if not affine:
        return out
    shape = (-1, *[1] * (len(x.shape) - 3))
    if c["weight"] is not None:
        out = out * c["weight"].reshape(shape)
    return out if c["bias"] is None else out + c["bias"].reshape(shape)


@rule("max_pool_windows_back")
def all_full(c: Call) -> Any:
    """Every argument has a value for each example."""
    return c.run_full()


@rule("border_pad border_pad_back")
def border_pad(c: Call) -> Any:
    """Examples count as channels or, where there are batches of those, are joined with them."""
    first = c.op.tensors[0]
    x, dims = c.part(first), len(c["pad"]) // 2
    if c.rank(first) <= dims + 1 or not c.size:
        if first == "grad":
            return c.run(input_size=(c.size, *c["input_size"]))
        return c.run()
    changes: dict[str, Any] = {first: x.reshape(-1, *x.shape[2:])}
    if first == "grad":
        size = tuple(c["input_size"])
        changes["input_size"] = (c.size * size[0], *size[1:])
    out = c.run(**changes)
    return out.reshape(c.size, -1, *out.shape[1:])


@rule("nll_loss_of_classes")
def nll_loss(c: Call) -> Any:
    """Examples are more items of one loss, which is then reduced for each example."""
    x, target, weight = c.full("input"), c.full("target"), c["weight"]
    word, ignored = c["reduction"], c["ignore_index"]
    if word not in ("none", "mean", "sum") or not c.size or c.is_batched("weight"):
        return None
    rank = len(target.shape) - 1
    if rank:
        x, items = x.reshape(-1, *x.shape[2:]), target.reshape(-1, *target.shape[2:])
    else:
        items = target
    F = FAST["F"]
    losses = F.nll_loss_of_classes(x, items, weight, ignored, "none").reshape(target.shape)
    if word == "none":
        return losses
    dims = tuple(range(1, rank + 1))
    total = losses.sum(dims) if rank else losses
    if word == "sum":
        return total
    counted = target != ignored
    if weight is None:
        share = counted.to(total.dtype)
    else:
        share = weight[F.where(counted, target, 0)] * counted
    return total / (share.sum(dims) if rank else share)
