"""Losses over sequences whose alignment with the target is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...dtypes import int32, int64
from ...tensor import Tensor
from ...tensor import functions as fl
from .reductions import check_reduction, reduce_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ctc_loss"]

# Stands for log(0): finite, so that no difference of two of them is NaN.
_NEVER = -1e30


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification: -log of the probability of all fitting alignments.

    Args:
        log_probs: (T, N, C) or (T, C), as from `log_softmax`.
        targets: classes, (N, S) padded, or (sum of the lengths,) one after the other.
        input_lengths, target_lengths: (N,), or a number for one sequence.
        blank: the class that separates.
        reduction: "mean" divides each loss by its target's length first.
        zero_infinity: whether an impossible target counts as 0, without gradient.

    As in PyTorch the gradient is the one with respect to the logits of a softmax. Source: Graves
    et al., 2006. Raises RuntimeError for sizes that do not fit.
    """
    check_reduction(reduction)
    single = log_probs.dim() == 2
    scores = log_probs.unsqueeze(1) if single else log_probs
    batch = scores.size(1)
    inputs = _lengths(input_lengths, batch, "input", log_probs.device)
    sizes = _lengths(target_lengths, batch, "target", log_probs.device)
    _check(scores, inputs, blank)
    labels = _padded(targets, sizes, batch)
    loss = -_log_likelihood(scores, labels, inputs, sizes, blank)
    impossible = loss > -0.5 * _NEVER
    loss = loss + _softmax_part(scores, inputs)
    loss = loss.masked_fill(impossible, 0.0 if zero_infinity else float("inf"))
    if reduction == "mean":
        return (loss / sizes.clamp(min=1).to(loss.dtype)).mean()
    return reduce_loss(loss.squeeze(0) if single else loss, reduction)


def _lengths(given: Any, batch: int, what: str, device: Any) -> Tensor:
    """Lengths as an int64 tensor (N,)."""
    if isinstance(given, Tensor):
        if given.dtype not in (int32, int64):
            raise RuntimeError(f"{what}_lengths must be integral")
        lengths = given.to(int64).reshape(-1)
    else:
        listed = [given] if isinstance(given, int) else list(given)
        lengths = fl.tensor(listed, dtype=int64, device=device)
    if lengths.size(0) != batch:
        raise RuntimeError(f"{what}_lengths must be of size batch_size")
    return lengths


def _check(scores: Tensor, inputs: Tensor, blank: int) -> None:
    steps, _, classes = scores.shape
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    longest = int(inputs.max()) if inputs.numel() else 0
    if longest > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {longest} "
            "(while checking arguments for ctc_loss)"
        )


def _padded(targets: Tensor, sizes: Tensor, batch: int) -> Tensor:
    """Targets as (N, S), whatever stands in the places beyond a length."""
    lengths = [int(n) for n in sizes]
    longest = max([*lengths, 0])
    if targets.dim() == 2:
        if targets.size(0) != batch or targets.size(1) < longest:
            raise RuntimeError(
                f"Expected tensor to have size at least {longest} at dimension 1, but got size "
                f"{targets.size(1)} for argument #2 'targets' (while checking arguments for "
                "ctc_loss)"
            )
        return targets.to(int64)[:, :longest]
    if targets.size(0) != sum(lengths):
        raise RuntimeError(
            f"Expected tensor to have size {sum(lengths)} at dimension 0, but got size "
            f"{targets.size(0)} for argument #2 'targets' (while checking arguments for ctc_loss)"
        )
    if not lengths:
        return fl.zeros([0, 0], dtype=int64, device=targets.device)
    rows, start = [], 0
    for length in lengths:
        row = targets[start : start + length].to(int64)
        rows.append(fl.pad(row, (0, longest - length), "constant", 0))
        start += length
    return fl.stack(rows)


def _between(blanks: Tensor, labels: Tensor) -> Tensor:
    """(N, 2 S + 1): the `labels` (N, S), with one of the `blanks` (N, S + 1) on each side."""
    pairs = fl.stack([blanks[:, :-1], labels], -1).flatten(1)
    return fl.cat([pairs, blanks[:, -1:]], 1)


def _log_likelihood(
    scores: Tensor, labels: Tensor, inputs: Tensor, sizes: Tensor, blank: int
) -> Tensor:
    """Logarithm of p(labels | scores), (N,), by the forward recursion over labels and blanks."""
    steps, batch, _ = scores.shape
    places = 2 * labels.size(1) + 1
    blanks = fl.full([batch, labels.size(1) + 1], blank, dtype=int64, device=labels.device)
    extended = _between(blanks, labels)
    # A blank may be left out between two different labels.
    changes = fl.cat([labels[:, :1] < 0, labels[:, 1:] != labels[:, :-1]], 1)
    may_skip = _between(blanks < 0, changes)
    emitted = scores.gather(2, extended.expand(steps, batch, places))  # (T, N, places)
    start = fl.arange(places, device=labels.device) < (1 + (sizes > 0).to(int64)).unsqueeze(1)
    never = fl.full([batch, places], _NEVER, dtype=scores.dtype, device=scores.device)
    alpha = fl.where(start, emitted[0], never) if steps else never
    for t in range(1, steps):
        one = fl.pad(alpha[:, :-1], (1, 0), "constant", _NEVER)
        two = fl.pad(alpha[:, :-2], (2, 0), "constant", _NEVER) if places > 1 else never
        ways = fl.stack([alpha, one, fl.where(may_skip, two, never)])
        reached = (fl.logsumexp(ways, 0) + emitted[t]).clamp(min=_NEVER)
        alpha = fl.where((t < inputs).unsqueeze(1), reached, alpha)
    last = (2 * sizes).unsqueeze(1)
    on_blank = alpha.gather(1, last).squeeze(1)
    on_label = alpha.gather(1, (last - 1).clamp(min=0)).squeeze(1)
    on_label = fl.where(sizes > 0, on_label, never[:, 0])
    total = fl.logsumexp(fl.stack([on_blank, on_label]), 0)
    nothing_read = fl.where(sizes > 0, never[:, 0], fl.zeros_like(total))
    return fl.where(inputs > 0, total, nothing_read)


def _softmax_part(scores: Tensor, inputs: Tensor) -> Tensor:
    """Zeros (N,) whose derivative is ``exp(scores)`` at the steps that are read."""
    steps = fl.arange(scores.size(0), device=scores.device).unsqueeze(1)
    read = (steps < inputs).unsqueeze(2)
    mass = scores.exp().masked_fill(~read, 0.0).sum((0, 2))
    return mass - mass.detach()
