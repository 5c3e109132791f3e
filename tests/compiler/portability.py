"""Run as a program: products and convolutions against float64, on the CPU that the settings name.

Prints the vector width in bytes that was compiled for.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

from flambeau.backends.cpu.convolution import (
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
)
from flambeau.backends.cpu.matmul import add_matmul, linear, matmul
from flambeau.backends.cpu.narrow_matmul import int_matmul
from flambeau.compiler import jit, target

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def check(result: np.ndarray, truth: np.ndarray, tolerance: float) -> None:
    assert np.abs(result - truth).max() <= tolerance * np.abs(truth).max()


def main() -> None:
    rng = np.random.default_rng(0)
    wide = np.float64
    for dtype, tolerance in TOLERANCE.items():
        shapes = (
            (1, 40, 300),
            (7, 9, 5),
            (50, 130, 70),
            (33, 500, 2),
            (150, 64, 129),
            (520, 40, 540),
        )
        for m, k, n in shapes:
            a = rng.standard_normal((m, k)).astype(dtype)
            b = rng.standard_normal((k, n)).astype(dtype)
            truth = a.astype(wide) @ b.astype(wide)
            check(matmul(a, b), truth, tolerance)
            check(matmul(np.asfortranarray(a), b), truth, tolerance)
            check(matmul(a, np.asfortranarray(b)), truth, tolerance)
            bias = rng.standard_normal(n).astype(dtype)
            check(linear(a, b.T.copy(), bias, relu=True), np.maximum(truth + bias, 0), tolerance)
            check(add_matmul(bias, a, b, 0.5, 2.0), 2 * truth + bias / 2, tolerance)
            short = [v.astype(ml_dtypes.bfloat16) for v in (a, b)]
            check(matmul(*short).astype(wide), short[0].astype(wide) @ short[1].astype(wide), 0.01)
            bytes_ = [(v * 30).astype(np.int8) for v in (a, b)]
            check(int_matmul(*bytes_), bytes_[0].astype(wide) @ bytes_[1].astype(wide), 0)
        for channels, outputs, size, stride, groups in (
            (3, 8, 19, 2, 1), (16, 20, 14, 1, 1), (6, 6, 13, 1, 6), (8, 12, 9, 2, 4),
        ):  # fmt: skip
            x = rng.standard_normal((2, channels, size, size)).astype(dtype)
            w = rng.standard_normal((outputs, channels // groups, 3, 3)).astype(dtype)
            moves = ((stride, stride), (1, 1), (1, 1), groups)
            y = conv_forward(x, w, None, *moves)
            check(y, conv_forward(x.astype(np.longdouble), w, None, *moves), tolerance)
            short = [v.astype(ml_dtypes.bfloat16) for v in (x, w)]
            truth = conv_forward(*(v.astype(wide) for v in short), None, *moves)
            check(conv_forward(*short, None, *moves).astype(wide), truth, 0.01)
            g = rng.standard_normal(y.shape).astype(dtype)
            dx = conv_backward_input(g, w, x.shape, *moves)
            check(dx, conv_backward_input(g.astype(np.longdouble), w, x.shape, *moves), tolerance)
            dw = conv_backward_weight(g, x, w.shape, *moves)
            check(dw, conv_backward_weight(g.astype(np.longdouble), x, w.shape, *moves), tolerance)
    assert jit.statistics.compiled or jit.statistics.loaded
    print(target.host().vector_bytes)  # noqa: T201


if __name__ == "__main__":
    main()
