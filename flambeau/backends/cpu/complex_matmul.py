"""Products of complex matrices as one product of real ones.

The real and imaginary parts of A lie side by side: (m, k) complex numbers are (m, 2 k) real ones.
Each number x + i y of B becomes the matrix [[x, y], [-y, x]], by which a row (real, imaginary) is
multiplied as a complex number is by x + i y; the result again has its parts side by side.
"""

from __future__ import annotations

import math

import numpy as np

from ...compiler import jit
from ...compiler.kernel import kernel
from ...compiler.language import Array, T, simd
from .matmul import matmul, reference_matmul

_REAL = {np.dtype(np.complex64): np.float32, np.dtype(np.complex128): np.float64}
_FEW, _FLAT = 32**3, 8
"""Products of numbers, and rows of A, below which NumPy is as fast."""


@kernel
def spread(first: int, last: int, x: Array[T], out: Array[T], columns: int) -> None:
    """Each row of complex numbers as two of real numbers: itself, and times i."""
    for row in range(first, last):
        source = x[row * 2 * columns :]
        same, turned = out[row * 4 * columns :], out[(row * 4 + 2) * columns :]
        for j in simd(2 * columns):
            same[j] = source[j]
        for j in simd(columns):
            turned[2 * j] = -source[2 * j + 1]
            turned[2 * j + 1] = source[2 * j]


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b`` for complex arrays, by NumPy if they are small or odd."""
    real = _REAL.get(a.dtype)
    if real is None or a.dtype != b.dtype or not jit.available() or min(a.ndim, b.ndim) < 2:
        return reference_matmul(a, b)
    (m, k), n = a.shape[-2:], b.shape[-1]
    if b.shape[-2] != k or m < _FLAT or m * n * k < _FEW:
        return reference_matmul(a, b)
    a, b = (np.require(x, requirements="CA") for x in (a, b))
    wide = np.empty((*b.shape[:-2], 2 * k, 2 * n), real)
    spread(math.prod(b.shape[:-1]), 4 * n, b.view(real), wide, n)
    return matmul(a.view(real), wide).view(a.dtype)
