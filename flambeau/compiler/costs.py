"""What a kernel costs: floating-point operations, bytes moved, and the time of one thread.

The times are for float32 on one thread with operands in the second-level cache, taken on an AMD
EPYC; other machines differ by small factors, which is enough for what they decide: how many threads
a loop is worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from .expressions import Expression, inputs_of

# Nanoseconds per element and array that a loop streams through.
_STREAM = 0.05
# Nanoseconds per element of what costs more than an addition; whatever is not here and has no
# machine code of its own does not matter, for such a loop is NumPy's.
_SIMPLE = 0.01
_TIMES = {
    **dict.fromkeys(("true_divide", "reciprocal", "trunc_divide", "heaviside"), 0.05),
    **dict.fromkeys(("sqrt", "exp2", "rsqrt", "ldexp"), 0.15),
    **dict.fromkeys(("exp", "expm1", "tanh", "sigmoid", "fmod", "ndtr"), 0.3),
    **dict.fromkeys(("log", "remainder", "hypot", "xlogy", "entr"), 0.5),
    **dict.fromkeys(("asin", "acos"), 0.6),
    **dict.fromkeys(("erf", "sin", "cos", "tan", "sinc", "floor_divide"), 0.8),
    **dict.fromkeys(("log1p", "log2", "log10", "xlog1py", "atan", "sinh", "cosh"), 0.9),
    **dict.fromkeys(("atan2", "asinh", "acosh", "atanh"), 1.3),
    **dict.fromkeys(("erfc", "logaddexp", "logaddexp2"), 1.8),
    **dict.fromkeys(("pow", "erfinv", "digamma"), 2.5),
    "lgamma": 5.0,
}
# What NumPy and SciPy take for one call on any array, and for an element beyond it, in nanoseconds,
# where that is not what an addition takes.
_LAUNCH = 1200.0
_USUAL = (350.0, 0.15)
_NUMPY = {
    **dict.fromkeys(("sigmoid", "sign", "sgn", "rsqrt"), (2000.0, 0.6)),
    **dict.fromkeys(("sin", "cos", "tan"), (350.0, 1.8)),
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "log2", "log10", "tanh"), (350.0, 0.5)),
    **dict.fromkeys(
        ("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"), (350.0, 5.0)
    ),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not"), (350.0, 0.7)),
    "atan2": (500.0, 8.0),
    "pow": (1200.0, 1.0),
    **dict.fromkeys(("fmod", "remainder", "floor_divide"), (1700.0, 4.0)),
    **dict.fromkeys(("hypot", "logaddexp", "logaddexp2", "erf", "ndtr"), (700.0, 4.0)),
    **dict.fromkeys(("erfc", "erfinv", "xlogy", "xlog1py", "entr", "digamma"), (700.0, 8.0)),
    **dict.fromkeys(("lgamma", "sinc", "heaviside", "trunc_divide", "where"), (1200.0, 1.0)),
}
_FREE = {"input", "const", "real", "to_float"}


class Cost(NamedTuple):
    """Floating-point operations and bytes of one launch of a kernel.

    None: as many bytes as its arrays have.
    """

    flops: float
    bytes: float | None = None


def count_flops(e: Expression) -> int:
    """Return how many operations `e` takes for one element, shared parts counted once."""
    return sum(node.op not in _FREE for node in nodes_of(e))


def nanoseconds(e: Expression, arrays: int, itemsize: int = 4) -> float:
    """Return what `e` takes one thread for one element, streaming through `arrays` arrays.

    `itemsize` is that of the numbers computed with: half as many doubles fit in a vector.
    """
    single = _STREAM * arrays + sum(_TIMES.get(n.op, _SIMPLE) for n in nodes_of(e))
    return single * itemsize / 4


def break_even(e: Expression) -> float:
    """Return from how many elements a kernel of `e` takes less time than NumPy's functions."""
    calls = [_NUMPY.get(n.op, _USUAL) for n in nodes_of(e) if n.op not in _FREE]
    start, each = (sum(parts) for parts in zip(*calls, strict=True)) if calls else (0.0, 0.0)
    gain = each - nanoseconds(e, len(inputs_of(e)) + 1)
    if start >= _LAUNCH:
        return 0.0
    return (_LAUNCH - start) / gain if gain > 0 else math.inf


def nodes_of(e: Expression) -> Iterator[Expression]:
    """Every node of `e`, once."""
    seen: set[int] = set()
    open_ = [e]
    while open_:
        node = open_.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            if node.op not in ("input", "const"):
                open_ += node.args
