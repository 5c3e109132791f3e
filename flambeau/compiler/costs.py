"""What a kernel costs: floating-point operations, bytes moved, and the time of one thread.

The times are for float32 on one thread with operands in the second-level cache, taken on an AMD
EPYC; other machines differ by small factors, which is enough for what they decide: how many threads
a loop is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .expressions import Expression

# Nanoseconds per element and array that a loop streams through.
_STREAM = 0.05
# Nanoseconds per element of what costs more than an addition; whatever is not here and has no
# machine code of its own does not matter, for such a loop is NumPy's.
_SIMPLE = 0.01
_TIMES = {
    **dict.fromkeys(("true_divide", "reciprocal"), 0.05),
    **dict.fromkeys(("sqrt", "exp2", "log2", "rsqrt"), 0.15),
    **dict.fromkeys(("exp", "expm1", "tanh", "sigmoid", "sinh", "cosh", "atan"), 0.3),
    **dict.fromkeys(("log", "log1p", "log10"), 0.4),
    **dict.fromkeys(("erf", "erfc", "sin", "cos", "tan", "pow", "atan2"), 0.7),
    **dict.fromkeys(("asin", "acos", "asinh", "acosh", "atanh", "hypot", "fmod", "remainder"), 4.0),
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
    return sum(node.op not in _FREE for node in _nodes(e))


def nanoseconds(e: Expression, arrays: int, itemsize: int = 4) -> float:
    """Return what `e` takes one thread for one element, streaming through `arrays` arrays.

    `itemsize` is that of the numbers computed with: half as many doubles fit in a vector.
    """
    single = _STREAM * arrays + sum(_TIMES.get(n.op, _SIMPLE) for n in _nodes(e))
    return single * itemsize / 4


def _nodes(e: Expression) -> Iterator[Expression]:
    seen: set[int] = set()
    open_ = [e]
    while open_:
        node = open_.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            if node.op not in ("input", "const"):
                open_ += node.args
