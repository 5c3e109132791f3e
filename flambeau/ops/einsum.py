"""Einstein summation: sums of products written with letters, by batched matrix products."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from .record import Arrays, composite

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class _Term(NamedTuple):
    """An operand and one label for each of its dimensions."""

    array: Any
    labels: tuple[Any, ...]


def _from_sublists(operands: list[Any]) -> tuple[str, list[Any]]:
    """The equation for ``einsum(a, [0, 1], b, [1, 2], [0, 2])``."""

    def spell(sublist: Any) -> str:
        return "".join("..." if i is Ellipsis else _letter(i) for i in sublist)

    pairs = len(operands) // 2
    tensors = [operands[2 * i] for i in range(pairs)]
    equation = ",".join(spell(operands[2 * i + 1]) for i in range(pairs))
    if len(operands) % 2:
        equation += "->" + spell(operands[-1])
    return equation, tensors


def _letter(i: Any) -> str:
    if not isinstance(i, int) or not 0 <= i < len(_LETTERS):
        raise RuntimeError(
            f"einsum(): not in the range of supported subscripts [0, 52): sublist format, got {i!r}"
        )
    return _LETTERS[i]


@functools.lru_cache(maxsize=1024)
def _labels(text: str, ndim: int, place: int) -> tuple[Any, ...]:
    """One label for each dimension: letters, and negative numbers for what ``...`` covers."""
    found: list[Any] = []
    before, dots, after = text.partition("...")
    if "." in before + after:
        raise RuntimeError(
            f"einsum(): found '.' for operand {place} that is not part of any ellipsis"
        )
    for c in before + after:
        if not c.isalpha() or not c.isascii():
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {text.index(c)} in the equation "
                f"string, subscripts must be in [a-zA-Z]: {c!r}"
            )
    covered = ndim - len(before) - len(after)
    if covered < 0 or (covered and not dots):
        raise RuntimeError(
            f"einsum(): the number of subscripts in the equation ({len(before) + len(after)}) does "
            f"not match the number of dimensions ({ndim}) for operand {place} and no ellipsis was "
            "given"
        )
    found.extend(before)
    found.extend(range(-covered, 0))
    found.extend(after)
    return tuple(found)


def _output_labels(text: str | None, terms: list[_Term]) -> tuple[Any, ...]:
    every = [x for t in terms for x in t.labels]
    dots = sorted({x for x in every if isinstance(x, int)})
    if text is None:
        letters = sorted({x for x in every if isinstance(x, str) and every.count(x) == 1})
        return (*dots, *letters)
    before, found, after = text.partition("...")
    out = (*before, *(dots if found else ()), *after)
    for x in out:
        if out.count(x) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {x} appears more than once in the output"
            )
        if x not in every:
            if isinstance(x, str) and not x.isalpha():
                raise RuntimeError(f"einsum(): invalid subscript {x!r} in the output")
            raise RuntimeError(
                f"einsum(): output subscript {x} does not appear in the equation for any input "
                "operand"
            )
    return out


def _sizes(terms: list[_Term]) -> dict[Any, int]:
    sizes: dict[Any, int] = {}
    for place, t in enumerate(terms):
        for label, n in zip(t.labels, t.array.shape, strict=True):
            known = sizes.get(label, 1)
            if 1 not in (n, known) and n != known:
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {n} for operand {place} which does not "
                    f"broadcast with previously seen size {known}"
                )
            sizes[label] = n if known == 1 else known
    return sizes


def _without_repeats(m: Any, t: _Term) -> _Term:
    """Diagonals over the labels that an operand has twice."""
    array, labels = t
    while len(set(labels)) < len(labels):
        label = next(x for x in labels if labels.count(x) > 1)
        i = labels.index(label)
        j = labels.index(label, i + 1)
        if array.shape[i] != array.shape[j]:
            raise RuntimeError(
                f"einsum(): subscript {label} is repeated for one operand but the sizes don't "
                f"match, {array.shape[j]} != {array.shape[i]}"
            )
        array = m.diagonal(array, 0, i, j)
        labels = (*(x for k, x in enumerate(labels) if k not in (i, j)), label)
    return _Term(array, labels)


def _sum_out(m: Any, t: _Term, keep: set[Any]) -> _Term:
    gone = tuple(i for i, x in enumerate(t.labels) if x not in keep)
    if not gone:
        return t
    return _Term(m.sum(t.array, gone), tuple(x for x in t.labels if x in keep))


def _permuted(m: Any, array: Any, axes: tuple[int, ...]) -> Any:
    return array if axes == tuple(range(len(axes))) else m.permute(array, axes)


def _arrange(m: Any, t: _Term, order: list[Any]) -> Any:
    """The operand with its dimensions in `order`; size one where it has no such label."""
    present = [x for x in order if x in t.labels]
    axes = tuple(t.labels.index(x) for x in present)
    array = _permuted(m, t.array, axes)
    if len(present) == len(order):
        return array
    sizes = dict(zip(present, array.shape, strict=True))
    return m.reshape(array, tuple(sizes.get(x, 1) for x in order))


def _spread(m: Any, t: _Term, labels: list[Any], sizes: dict[Any, int]) -> _Term:
    """The operand with those of `labels` at full size that it has at size one."""
    if not labels:
        return t
    shape = tuple(
        sizes[x] if x in labels else n for x, n in zip(t.labels, t.array.shape, strict=True)
    )
    return t if shape == tuple(t.array.shape) else _Term(m.expand(t.array, shape), t.labels)


def _contract(m: Any, a: _Term, b: _Term, keep: set[Any], sizes: dict[Any, int]) -> _Term:
    """The product of two operands, summed over the labels that nobody else needs."""
    a = _sum_out(m, a, keep | set(b.labels))
    b = _sum_out(m, b, keep | set(a.labels))
    shared = [x for x in a.labels if x in b.labels]
    summed = [x for x in shared if x not in keep]
    # Of a summed label that one operand has at size one, only the other's sum is needed.
    for x in list(summed):
        if a.array.shape[a.labels.index(x)] != b.array.shape[b.labels.index(x)]:
            a = _spread(m, a, [x], sizes)
            b = _spread(m, b, [x], sizes)
    batch = [x for x in shared if x in keep]
    own_a = [x for x in a.labels if x not in shared]
    own_b = [x for x in b.labels if x not in shared]
    labels = (*batch, *own_a, *own_b)
    if not summed:
        left = _arrange(m, a, [*batch, *own_a, *own_b])
        return _Term(left * _arrange(m, b, [*batch, *own_a, *own_b]), labels)
    a, b = _spread(m, a, batch, sizes), _spread(m, b, batch, sizes)

    def fold(names: list[Any]) -> int:
        return math.prod(sizes_of[x] for x in names)

    sizes_of = dict(zip(a.labels, a.array.shape, strict=True))
    sizes_of.update(zip(b.labels, b.array.shape, strict=True))
    left = _arrange(m, a, [*batch, *own_a, *summed])
    right = _arrange(m, b, [*batch, *summed, *own_b])
    if not batch and len(own_a) == len(own_b) == len(summed) == 1:
        return _Term(m.mm(left, right), labels)
    left = m.reshape(left, (fold(batch), fold(own_a), fold(summed)))
    right = m.reshape(right, (fold(batch), fold(summed), fold(own_b)))
    product = (
        m.bmm(left, right)
        if batch
        else m.unsqueeze(m.mm(m.squeeze(left, 0), m.squeeze(right, 0)), 0)
    )
    return _Term(m.reshape(product, tuple(sizes_of[x] for x in labels)), labels)


@composite(method=False)
def einsum(m: Any, equation: Any, *operands: Arrays) -> Any:
    """Sums of products as an equation says: ``einsum("bij,bjk->bik", x, y)``.

    Letters name dimensions; ``...`` stands for dimensions that broadcast; a letter given twice to
    one operand takes a diagonal; letters missing after ``->`` are summed over. Without ``->`` the
    result has the letters that occur once, in alphabetical order. Also as ``einsum(x, [0, 1], y,
    [1, 2], [0, 2])``. RuntimeError for an equation that does not fit.

    >>> fl.einsum("ij,j->i", fl.ones(2, 3), fl.ones(3)).tolist()
    [3.0, 3.0]
    """
    given = list(operands)
    if not isinstance(equation, str):
        equation, given = _from_sublists([equation, *given])
    elif len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = list(given[0])
    if not given:
        raise RuntimeError("einsum(): must provide at least one operand")
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(given):
        more = "more" if len(texts) < len(given) else "fewer"
        raise RuntimeError(
            f"einsum(): {more} operands were provided than specified in the equation: "
            f"{len(given)} for {equation!r}"
        )
    terms = [
        _Term(x, _labels(text, x.ndim, i))
        for i, (text, x) in enumerate(zip(texts, given, strict=True))
    ]
    out = _output_labels(right if arrow else None, terms)
    terms = [_without_repeats(m, t) for t in terms]
    sizes = _sizes(terms)
    term = terms[0]
    for place, other in enumerate(terms[1:], 2):
        keep = {*out, *(x for t in terms[place:] for x in t.labels)}
        term = _contract(m, term, other, keep, sizes)
    term = _sum_out(m, term, set(out))
    axes = tuple(term.labels.index(x) for x in out)
    # What is made of one operand is a view of it, never itself.
    result = m.permute(term.array, axes) if len(terms) == 1 else _permuted(m, term.array, axes)
    full = tuple(sizes[x] for x in out)
    return result if tuple(result.shape) == full else m.expand(result, full)
