"""Orthogonal polynomials by their three-term recurrences, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[Any, int, Any, Any], Any]

# For each family: the polynomial of degree one, and the one of degree k + 1 from those of k and k -
# 1.
_FIRST: dict[str, Callable[[Any], Any]] = {
    "chebyshev_t": lambda x: x,
    "chebyshev_u": lambda x: 2 * x,
    "chebyshev_v": lambda x: 2 * x - 1,
    "chebyshev_w": lambda x: 2 * x + 1,
    "hermite_h": lambda x: 2 * x,
    "hermite_he": lambda x: x,
    "laguerre_l": lambda x: 1 - x,
    "legendre_p": lambda x: x,
}


def _chebyshev(x: Any, k: int, p: Any, q: Any) -> Any:
    return 2 * x * p - q


_STEP: dict[str, Step] = {
    "chebyshev_t": _chebyshev,
    "chebyshev_u": _chebyshev,
    "chebyshev_v": _chebyshev,
    "chebyshev_w": _chebyshev,
    "hermite_h": lambda x, k, p, q: 2 * x * p - 2 * k * q,
    "hermite_he": lambda x, k, p, q: x * p - k * q,
    "laguerre_l": lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1),
    "legendre_p": lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1),
}
FAMILIES = tuple(_FIRST)


def polynomial(family: str, x: Any, n: Any) -> Any:
    """The polynomial of degree trunc(n) at x; zero for a degree that is negative or no number."""
    x, n = np.broadcast_arrays(x, n)
    kind = x.dtype
    x, degree = x.astype(np.float64), np.where(np.isfinite(n), np.trunc(n), -1)
    before, here = np.ones_like(x), _FIRST[family](x)
    out = np.where(degree < 0, 0.0, np.where(degree == 0, before, here))
    top = int(degree.max()) if degree.size else 0
    for k in range(1, top):
        before, here = here, _STEP[family](x, k, here, before)
        out = np.where(degree == k + 1, here, out)
    return out.astype(kind)
