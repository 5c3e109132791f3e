"""Window functions, against PyTorch."""

from __future__ import annotations

import pytest

from tests.oracle import FAILING, agree

NAMES = ["hann", "hamming", "blackman", "bartlett", "kaiser"]


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("length", [0, 1, 2, 9, 16])
@pytest.mark.parametrize("name", NAMES)
def test_values(name: str, length: int, periodic: bool) -> None:
    def script(L):
        window = getattr(L, f"{name}_window")
        return [window(length, periodic), window(length, periodic, dtype=L.float64)]

    agree(script, atol=1e-7)


def test_shapes_of_their_own() -> None:
    def script(L):
        return [L.hamming_window(7, True, 0.6, 0.4), L.kaiser_window(7, False, 3.5),
                L.hann_window(4, requires_grad=True).requires_grad]  # fmt: skip

    agree(script, atol=1e-7)


@pytest.mark.parametrize("number", [0, 1])
def test_refused(number: int) -> None:
    script = [lambda L: L.hann_window(-1), lambda L: L.hann_window(4, dtype=L.int64)][number]
    FAILING.add(script)
    agree(script)
