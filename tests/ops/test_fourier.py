"""Fourier transforms against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck
from tests.oracle import agree

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(4, 5, 6))
COMPLEX = REAL + 1j * RNG.normal(size=REAL.shape)


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("name", ["fft", "ifft", "hfft", "irfft"])
@pytest.mark.parametrize(("n", "dim"), [(None, -1), (3, 0), (9, 1)])
def test_one_dimension(name: str, n: int | None, dim: int, norm: str | None) -> None:
    expected = getattr(np.fft, name)(COMPLEX, n, dim, norm)
    found = getattr(flambeau.fft, name)(flambeau.tensor(COMPLEX), n, dim, norm)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ["rfft", "ihfft"])
@pytest.mark.parametrize(("n", "dim"), [(None, -1), (3, 0), (9, 1)])
def test_one_dimension_of_real_numbers(
    name: str, n: int | None, dim: int, norm: str | None
) -> None:
    expected = getattr(np.fft, name)(REAL, n, dim, norm)
    found = getattr(flambeau.fft, name)(flambeau.tensor(REAL), n, dim, norm)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "irfftn", "fft2", "ifft2", "irfft2"])
@pytest.mark.parametrize("s", [None, (3, 8)])
def test_several_dimensions(name: str, s: Any) -> None:
    x = COMPLEX
    expected = getattr(np.fft, name)(x, s, (-2, -1))
    found = getattr(flambeau.fft, name)(flambeau.tensor(x), s, (-2, -1))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["rfft", "irfft", "fft", "ifft", "hfft", "ihfft"])
@pytest.mark.parametrize("n", [4, 5])
def test_derivatives(name: str, n: int) -> None:
    real = name in ("rfft", "ihfft")
    x = flambeau.tensor((REAL if real else COMPLEX)[0, :2], requires_grad=True)

    def transform(v: Any) -> Any:
        return getattr(flambeau.fft, name)(v, n)

    assert gradcheck(transform, (x,))
    assert gradgradcheck(transform, (x,))


def test_single_precision_stays_single() -> None:
    x = flambeau.ones(8)
    assert flambeau.fft.fft(x).dtype is flambeau.complex64
    assert flambeau.fft.irfft(flambeau.fft.rfft(x)).dtype is flambeau.float32
    assert flambeau.fft.fft(flambeau.arange(4)).dtype is flambeau.complex64


def test_frequencies_and_shifts() -> None:
    for n in (1, 4, 5):
        np.testing.assert_allclose(flambeau.fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5))
        np.testing.assert_allclose(flambeau.fft.rfftfreq(n, 0.5).numpy(), np.fft.rfftfreq(n, 0.5))
        x = np.arange(n * 3).reshape(n, 3)
        for name in ("fftshift", "ifftshift"):
            ours, theirs = getattr(flambeau.fft, name), getattr(np.fft, name)
            np.testing.assert_array_equal(ours(flambeau.tensor(x)).numpy(), theirs(x))
            np.testing.assert_array_equal(ours(flambeau.tensor(x), 1).numpy(), theirs(x, 1))


MISTAKES = {
    "no points": lambda L: L.fft.fft(L.ones(3), 0),
    "no such dimension": lambda L: L.fft.fft(L.ones(3), dim=2),
    "a dimension twice": lambda L: L.fft.fftn(L.ones(3, 3), dim=(0, 0)),
    "shape and dim differ": lambda L: L.fft.fftn(L.ones(3, 3), s=(2, 2), dim=(0,)),
    "too long a shape": lambda L: L.fft.fftn(L.ones(3), s=(2, 2)),
    "complex where real": lambda L: L.fft.rfft(L.ones(3, dtype=L.complex64)),
    "norm": lambda L: L.fft.fft(L.ones(3), norm="loud"),
    "half": lambda L: L.fft.fft(L.ones(3).half()),
    "a number": lambda L: L.fft.fft(L.tensor(1.0)),
    "no axis": lambda L: L.fft.rfftn(L.ones(3), dim=()),
    "stft of integers": lambda L: L.stft(L.arange(9), 4, window=L.ones(4), return_complex=True),
    "stft without return_complex": lambda L: L.stft(L.ones(9), 4, window=L.ones(4)),
    "stft window": lambda L: L.stft(L.ones(9), 4, window=L.ones(3), return_complex=True),
    "stft hop": lambda L: L.stft(L.ones(9), 4, 0, window=L.ones(4), return_complex=True),
    "istft of real numbers": lambda L: L.istft(L.ones(3, 5), 4, window=L.ones(4)),
    "istft of other points": lambda L: L.istft(
        L.ones(4, 5, dtype=L.complex64), 16, window=L.ones(16)
    ),
    "istft not covered": lambda L: L.istft(L.ones(3, 5, dtype=L.complex64), 4, window=L.zeros(4)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_raise_as_in_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as theirs:
        MISTAKES[name](torch)
    with pytest.raises(type(theirs.value)):
        MISTAKES[name](flambeau)


@pytest.mark.parametrize("hop", [2, 4])
def test_stft_is_the_transform_of_each_frame(hop: int) -> None:
    x = RNG.normal(size=64)
    window = np.hanning(10)[1:-1]
    found = flambeau.stft(
        flambeau.tensor(x), 8, hop, window=flambeau.tensor(window), center=False,
        return_complex=True,
    )  # fmt: skip
    framed = np.lib.stride_tricks.sliding_window_view(x, 8)[::hop]
    np.testing.assert_allclose(found.numpy(), np.fft.rfft(framed * window).T, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [{}, {"normalized": True}, {"onesided": False}, {"hop_length": 3, "win_length": 10}],
)
def test_istft_inverts_stft_as_in_torch(options: dict[str, Any]) -> None:
    signal = RNG.normal(size=(2, 50)).astype(np.float32)
    window = np.hanning(options.get("win_length", 16) + 2)[1:-1].astype(np.float32)

    def script(L: Any) -> Any:
        w = L.tensor(window)
        s = L.stft(L.tensor(signal), 16, window=w, return_complex=True, **options)
        return [s.tolist(), L.istft(s, 16, window=w, length=48, **options).tolist()]

    agree(script, rtol=1e-4, atol=1e-5)
    w = flambeau.tensor(window)
    s = flambeau.stft(flambeau.tensor(signal), 16, window=w, return_complex=True, **options)
    back = flambeau.istft(s, 16, window=w, length=48, **options)
    np.testing.assert_allclose(back.numpy(), signal[:, :48], atol=1e-5)


def test_a_lossy_istft_warns() -> None:
    s = flambeau.stft(flambeau.ones(16), 8, window=flambeau.ones(8), return_complex=True)
    with pytest.warns(UserWarning, match="shorter"):
        flambeau.istft(s, 8, window=flambeau.ones(8), length=30)


@pytest.mark.parametrize("name", ["irfft", "hfft", "irfft2", "hfftn"])
def test_real_results_go_into_real_outputs(name: str) -> None:
    torch = pytest.importorskip("torch")
    for library in (flambeau, torch):
        spectrum = library.ones(3, 4, dtype=library.complex64)
        function = getattr(library.fft, name)
        plain = function(spectrum)
        out = library.empty(0)
        assert function(spectrum, out=out) is out
        np.testing.assert_array_equal(out.numpy(), plain.numpy())
        with pytest.raises(RuntimeError, match="expects a floating point output tensor"):
            function(spectrum, out=library.empty(0, dtype=library.complex64))


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("dims", [(0,), (2,), (1, 0), (0, 2), (2, 0, 1)])
@pytest.mark.parametrize("shape", [(1, 2, 3), (4, 5, 6), (3, 1, 2), (2, 3, 1)])
def test_the_whole_spectrum_of_real_numbers(
    shape: tuple[int, ...], dims: tuple[int, ...], forward: bool
) -> None:
    x = RNG.normal(size=shape)
    name = "fftn" if forward else "ifftn"
    for norm in ("backward", "ortho", "forward"):
        expected = getattr(np.fft, name)(x + 0j, axes=dims, norm=norm)
        found = getattr(flambeau.fft, name)(flambeau.tensor(x), dim=dims, norm=norm)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("call", ["fft", "ifft", "fft2", "ifft2", "fftn", "ifftn", "ihfft"])
def test_zeros_have_the_signs_of_pytorch(call: str) -> None:
    torch = pytest.importorskip("torch")
    for shape in ((2, 2), (4, 4), (2, 8)):
        ours, theirs = (
            np.signbit(getattr(L.fft, call)(L.ones(shape)).resolve_conj().numpy().imag)
            for L in (flambeau, torch)
        )
        # Of longer transforms the zeros are what rounding leaves, but for the sum.
        chosen = slice(None) if shape == (2, 2) else (0, 0)
        np.testing.assert_array_equal(ours[chosen], theirs[chosen])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3000,), (3001,), (30, 100), (3, 7, 101), (5000, 1), (70000,)])
def test_transforms_of_many_real_numbers(shape: Any, dtype: Any) -> None:
    values = np.random.default_rng(1).normal(size=shape).astype(dtype)
    values.reshape(-1, shape[-1])[0] = 1.0  # whose transform is zero nearly everywhere
    given = flambeau.tensor(values)
    results = []
    for threads in (1, 3):
        flambeau.set_num_threads(threads)
        results.append([flambeau.fft.fft(given).numpy(), flambeau.fft.rfft(given).numpy()])
    flambeau.set_num_threads(2)
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    whole, half = results[0]
    assert whole.dtype == np.result_type(dtype, np.complex64)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    exact = np.fft.fft(values.astype(np.float64))
    scale = np.abs(exact).max() * tolerance
    np.testing.assert_allclose(whole, exact, rtol=0, atol=scale)
    np.testing.assert_allclose(half, exact[..., : shape[-1] // 2 + 1], rtol=0, atol=scale)
    first, image = np.split(whole, [shape[-1] // 2 + 1], -1)
    assert not np.signbit(first.imag[first.imag == 0]).any()
    mirrored = np.conj(first[..., 1 : image.shape[-1] + 1][..., ::-1])
    np.testing.assert_array_equal(image, mirrored)
