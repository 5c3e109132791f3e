"""`rearrange`: dimensions permuted, joined and split by a pattern of their names.

The notation is that of einops (Rogozhnikov, "Einops: Clear and Reliable Tensor Manipulations with
Einstein-like Notation", ICLR 2022).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from ..tensor import functions as fl

_TOKEN = re.compile(r"\s*(\(|\)|\.\.\.|…|1\b|[A-Za-z_]\w*)")
ELLIPSIS = "..."


def _parse(text: str, pattern: str) -> list[list[str]]:
    """One list of names for each dimension; [] for one of size 1."""
    groups: list[list[str]] = []
    inside: list[str] | None = None
    position, text = 0, text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"rearrange: cannot read {text[position:]!r} in pattern {pattern!r}")
        token, position = match[1], match.end()
        if token == "(" and inside is None:
            inside = []
        elif token == ")" and inside is not None:
            groups.append(inside)
            inside = None
        elif token in "()":
            raise ValueError(f"rearrange: unbalanced parentheses in pattern {pattern!r}")
        else:
            names = [] if token == "1" else [ELLIPSIS if token == "…" else token]
            if inside is None:
                groups.append(names)
            else:
                inside += names
    if inside is not None:
        raise ValueError(f"rearrange: unbalanced parentheses in pattern {pattern!r}")
    names = [n for g in groups for n in g]
    if len(names) != len(set(names)):
        raise ValueError(f"rearrange: a name stands twice on one side of pattern {pattern!r}")
    return groups


def _filled(groups: list[list[str]], dots: list[str]) -> list[list[str]]:
    """`groups` with the names `dots` for what the dots stand for."""
    filled: list[list[str]] = []
    for g in groups:
        if g == [ELLIPSIS]:
            filled += [[n] for n in dots]
        else:
            filled.append([m for n in g for m in (dots if n == ELLIPSIS else [n])])
    return filled


def _sizes(
    groups: list[list[str]], shape: Sequence[int], known: dict[str, int], pattern: str
) -> dict[str, int]:
    sizes = dict(known)
    for names, size in zip(groups, shape, strict=True):
        unknown = [n for n in names if n not in sizes]
        rest = math.prod(sizes[n] for n in names if n in sizes)
        if len(unknown) > 1:
            raise ValueError(f"rearrange: the sizes of {unknown} cannot be inferred in {pattern!r}")
        if unknown and rest and size % rest == 0:
            sizes[unknown[0]] = size // rest
        elif rest != size:
            raise ValueError(
                f"rearrange: a dimension of size {size} does not fit {names} in {pattern!r}"
            )
    return sizes


def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Any:
    """`tensor` (or a sequence of them, stacked) as `pattern` says: ``"b (h w) c -> b c h w"``.

    `axes_lengths` are the sizes that cannot be inferred. ValueError for a pattern that does not
    fit.
    """
    if isinstance(tensor, (list, tuple)):
        tensor = fl.stack(list(tensor))
    left, arrow, right = pattern.partition("->")
    if not arrow:
        raise ValueError(f"rearrange: pattern {pattern!r} has no '->'")
    before, after = _parse(left, pattern), _parse(right, pattern)
    named = [n for g in before for n in g]
    if set(named) != {n for g in after for n in g}:
        raise ValueError(f"rearrange: both sides of {pattern!r} must have the same names")
    if set(axes_lengths) - set(named):
        raise ValueError(f"rearrange: {sorted(set(axes_lengths) - set(named))} not in {pattern!r}")
    if any(len(g) > 1 and ELLIPSIS in g for g in before):
        raise ValueError(f"rearrange: an ellipsis in parentheses on the left of {pattern!r}")
    has_dots = ELLIPSIS in named
    extra = tensor.dim() - (len(before) - has_dots)
    if extra < 0 or (extra and not has_dots):
        raise ValueError(
            f"rearrange: pattern {pattern!r} does not fit a tensor of {tensor.dim()} dimensions"
        )
    dots = [f"...{i}" for i in range(extra)] if has_dots else []
    before, after = _filled(before, dots), _filled(after, dots)
    sizes = _sizes(before, tensor.shape, axes_lengths, pattern)
    order = [n for g in before for n in g]
    whole = tensor.reshape([sizes[n] for n in order])
    whole = whole.permute([order.index(n) for g in after for n in g])
    return whole.reshape([math.prod(sizes[n] for n in g) for g in after])


__all__ = ["rearrange"]
