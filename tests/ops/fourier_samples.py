"""Sample calls for Fourier transforms; see `samples`, which takes them in."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.compare import normal

Call = tuple[tuple[Any, ...], dict[str, Any]]
REAL = normal(3, 4, 5)
COMPLEX = normal(3, 4, 5) + 1j * normal(3, 4, 5, seed=1)
WINDOW = np.hanning(8)[1:-1]
SIGNAL = normal(2, 20)
SPECTRUM = normal(2, 4, 9) + 1j * normal(2, 4, 9, seed=1)


def call(*args: Any, **kwargs: Any) -> Call:
    """One sample call."""
    return args, kwargs


TO_REAL, FROM_REAL = ("irfft", "hfft"), ("rfft", "ihfft")

FOURIER: dict[str, list[Call]] = {
    "fft_c2c": [call(COMPLEX, (0, 2), "ortho", True), call(COMPLEX, (1,), "backward", False)],
    "fft_r2c": [call(REAL, (0, 2), "ortho"), call(REAL, (1,), "forward")],
    "fft_c2r": [call(COMPLEX, (0, 2), "ortho", 8), call(COMPLEX, (2,), "backward", 9)],
    **{
        f"fft_{n}": [call(COMPLEX), call(COMPLEX, 3, 0, "ortho")] for n in ("fft", "ifft", *TO_REAL)
    },
    **{f"fft_{n}": [call(REAL), call(REAL, 3, 0, "ortho")] for n in FROM_REAL},
    **{
        f"fft_{n}{kind}": [call(REAL if n in FROM_REAL else COMPLEX, (2, 6), (1, 2), "forward")]
        for n in ("fft", "ifft", *TO_REAL, *FROM_REAL)
        for kind in ("2", "n")
    },
    "fft_fftshift": [call(REAL), call(REAL, (0, 2))],
    "fft_ifftshift": [call(REAL), call(REAL, 1)],
    "stft": [
        call(SIGNAL, 6, 2, window=WINDOW, return_complex=True),
        call(SIGNAL[0], 8, 3, 6, WINDOW, False, normalized=True, return_complex=False),
    ],
    "istft": [call(SPECTRUM, 6, 2, window=WINDOW)],
}
