"""Table look-up: rows by index, sums of rows, one-hot rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...autograd import no_grad
from ...dtypes import int32, int64
from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["embedding", "embedding_bag", "one_hot"]


def _renormalize(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Shrinks the rows that are used to a norm of at most ``max_norm``, in place."""
    with no_grad():
        used = indices.reshape(-1).unique()
        rows = weight.detach()[used]
        norms = fl.linalg_vector_norm(rows, norm_type, 1, True)
        scale = fl.where(norms > max_norm, max_norm / (norms + 1e-7), fl.ones_like(norms))
        weight.detach().index_copy_(0, used, rows * scale)


def _resolve_padding(padding_idx: int | None, rows: int, message: str) -> int | None:
    """``padding_idx`` counted from the front; AssertionError with ``message`` if out of range."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError(message)
    return padding_idx % rows


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of ``weight`` (V, D) at the integers ``input`` (*): (*, D).

    Args:
        padding_idx: a row that gets no gradient.
        max_norm: rows that are used are first shrunk in place to this ``norm_type``-norm.
        scale_grad_by_freq: divides a row's gradient by the times it occurs in ``input``.
        sparse: makes the gradient of ``weight`` a sparse tensor.

    Raises IndexError for an index out of range.
    """
    padding_idx = _resolve_padding(
        padding_idx, weight.size(0), "Padding_idx must be within num_embeddings"
    )
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    return fl.embedding(
        weight, input, -1 if padding_idx is None else padding_idx, scale_grad_by_freq, sparse
    )


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Rows that are 1 at the given class and 0 elsewhere: int64 (*) -> int64 (*, num_classes).

    -1 takes one class more than the largest. Raises RuntimeError for other dtypes and classes
    out of range.

    >>> one_hot(fl.tensor([0, 2])).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    if tensor.dtype is not int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() == 0 and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if num_classes == -1:
        num_classes = max(int(tensor.max()) + 1, 1)
    try:
        return fl.one_hot_rows(tensor, num_classes)
    except IndexError:
        if not fl.holds(tensor.min() >= 0):
            message = "Class values must be non-negative."
        elif num_classes < 1:
            message = "num_classes should be positive"
        else:
            message = "Class values must be smaller than num_classes."
    raise RuntimeError(message)


# -- bags ------------------------------------------------------------------------------------


def _check_bag(
    input: Tensor, offsets: Tensor | None, mode: str, per_sample_weights: Tensor | None
) -> None:
    if per_sample_weights is not None and per_sample_weights.size() != input.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.size()}) is not None, "
            f"then it must have the same shape as the input ({input.size()})"
        )
    if input.dim() not in (1, 2):
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    if input.dim() == 2 and offsets is not None:
        raise ValueError(
            "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
            f"fixed length sequences. However, found offsets of type {type(offsets)}"
        )
    if input.dim() == 1 and (offsets is None or offsets.dim() != 1):
        got = " but got None" if offsets is None else ""
        raise ValueError(f"offsets has to be a 1D Tensor{got}")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only "
            f"supported for mode='sum' (got mode='{mode}')."
        )
    if offsets is not None and offsets.numel():
        if int(offsets[0]) != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
                f"from position 0. However, got {int(offsets[0])}"
            )
        if int(offsets[-1]) > input.size(0):
            raise RuntimeError(
                f"offsets[-1] can not be greater than input's length {input.size(0)} but got "
                f"offsets[-1] of {int(offsets[-1])}"
            )


def _bounds(input: Tensor, offsets: Tensor | None, include_last: bool) -> Tensor:
    """Where each bag begins among the flattened indices, and where the last one ends."""
    if offsets is None:
        count, length = input.shape
        return fl.arange(0, (count + 1) * max(length, 1), max(length, 1), device=input.device)
    if include_last:
        return offsets.to(int64)
    return fl.cat([offsets.to(int64), fl.tensor([input.size(0)], device=input.device)])


def _bags(input: Tensor, offsets: Tensor | None, include_last: bool) -> tuple[Tensor, int]:
    """The bag of each flattened index, and the number of bags."""
    if offsets is None:
        count, length = input.shape
        return fl.arange(count, device=input.device).repeat_interleave(length), count
    starts = offsets.to(int64)
    length = input.size(0)
    count = starts.size(0) - 1 if include_last else starts.size(0)
    begins = starts[:count]
    marks = fl.zeros(length + 1, dtype=int64, device=input.device)
    marks = marks.index_add(0, begins, fl.ones_like(begins))
    return marks.cumsum(0)[:length] - 1, count


def _bags_of_rows(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None,
    max_norm: float | None,
    norm_type: float,
    mode: str,
    factors: Tensor | None,
    include_last: bool,
    padding_idx: int | None,
) -> Tensor:
    """Sums or means of looked-up rows, which the gradient of ``weight`` is made of."""
    bags, count = _bags(input, offsets, include_last)
    flat = input.reshape(-1)
    factors = None if factors is None else factors.reshape(-1)
    if padding_idx is not None:
        kept = (flat != padding_idx).nonzero().squeeze(1)
        flat, bags = flat[kept], bags[kept]
        factors = None if factors is None else factors[kept]
    rows = embedding(flat, weight, None, max_norm, norm_type, False, True)
    if factors is not None:
        rows = rows * factors.unsqueeze(1)
    sums = fl.zeros([count, rows.size(1)], dtype=rows.dtype).index_add(0, bags, rows)
    if mode == "sum":
        return sums
    sizes = fl.bincount(bags, minlength=count).clamp(min=1).to(rows.dtype)
    return sums / sizes.unsqueeze(1)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or maximum of the rows of ``weight`` (V, D) in each bag of indices: (B, D).

    Args:
        input: integers (B, L), one bag a row, or (N,) with ``offsets``.
        offsets: (B,), where each bag starts in ``input``; with ``include_last_offset`` one
            entry more, the end of the last.
        mode: "sum", "mean" or "max". Empty bags give zeros.
        per_sample_weights: factors in the input's shape, for "sum".
        padding_idx: an index that counts for nothing.

    Raises ValueError, RuntimeError or NotImplementedError for what does not fit.
    """
    if input.dtype not in (int32, int64):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {input.type()} instead"
        )
    _check_bag(input, offsets, mode, per_sample_weights)
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    padding_idx = _resolve_padding(
        padding_idx, weight.size(0), "padding_idx must be within the number of embeddings"
    )
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if sparse:
        return _bags_of_rows(
            input, weight, offsets, max_norm, norm_type, mode, per_sample_weights,
            include_last_offset, padding_idx,
        )  # fmt: skip
    if mode != "max":
        if max_norm is not None:
            _renormalize(weight, input, max_norm, norm_type)
        return fl.embedding_bags(
            weight,
            input.reshape(-1),
            _bounds(input, offsets, include_last_offset),
            None if per_sample_weights is None else per_sample_weights.reshape(-1),
            -1 if padding_idx is None else padding_idx,
            mode == "mean",
            scale_grad_by_freq,
        )
    bags, count = _bags(input, offsets, include_last_offset)
    flat = input.reshape(-1)
    if padding_idx is not None:
        kept = (flat != padding_idx).nonzero().squeeze(1)
        flat, bags = flat[kept], bags[kept]
    rows = embedding(flat, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    empty = fl.zeros([count, rows.size(1)], dtype=rows.dtype, device=rows.device)
    places = bags.unsqueeze(1).expand(rows.shape)
    return empty.scatter_reduce(0, places, rows, "amax", include_self=False)
