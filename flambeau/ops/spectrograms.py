"""Short-time Fourier transforms.

A signal is cut into frames of `n_fft` samples every `hop_length`, each is weighted by a window and
transformed (Allen and Rabiner 1977). The inverse adds the frames back where they were and divides
by the sum of the squared windows (Griffin and Lim 1984).
"""

from __future__ import annotations

import warnings
from typing import Any

from .record import Array, composite


def _given(m: Any, name: str, input: Any, **arguments: Any) -> str:
    """How a message repeats a call."""

    def spell(v: Any) -> str:
        return f"Tensor{list(v.shape)}" if hasattr(v, "shape") else str(v)

    listed = ", ".join(f"{k}={spell(v)}" for k, v in arguments.items())
    return f"{name}(torch.{m.dtype(input).title}Tensor{list(input.shape)}, {listed})"


def _window(m: Any, window: Any, like: Any, n_fft: int, win_length: int) -> Any:
    """The window in the middle of `n_fft` samples; None is a rectangle."""
    if window is None:
        if win_length == n_fft:
            return None
        window = _rectangle(m, like, win_length)
    t = m.dtype(window)
    if not (t.is_floating_point or t.is_complex):
        window = m.cast(window, m.dtype(_rectangle(m, like, 1)))
    left = (n_fft - win_length) // 2
    if win_length == n_fft:
        return window
    return m.constant_pad_nd(window, [left, n_fft - win_length - left])


def _rectangle(m: Any, like: Any, size: int) -> Any:
    """`size` ones of the real dtype of `like`."""
    like = m.constant(m.real(like) if m.dtype(like).is_complex else like)
    return m.expand(m.number(1, like), [size])


def _is_complex(m: Any, x: Any) -> bool:
    return x is not None and m.dtype(x).is_complex


def _onesided(m: Any, input: Any, window: Any, onesided: bool | None) -> bool:
    complex_ = _is_complex(m, input) or _is_complex(m, window)
    if onesided is None:
        return not complex_
    if onesided and complex_:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    return onesided


@composite()
def stft(
    m: Any,
    input: Array,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Array | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Array:
    """The short-time Fourier transform of signals [time] or [batch, time].

    Gives [batch, frequency, frame], complex (or real pairs, unless `return_complex`).

    >>> signal, window = flambeau.tensor([1.0, -1.0]).repeat(8), flambeau.ones(4)
    >>> spectrum = flambeau.stft(signal, 4, window=window, center=False, return_complex=True)
    >>> spectrum.shape, spectrum[:, 0].abs()
    (torch.Size([3, 13]), tensor([0., 0., 4.]))
    """
    if window is None:
        warnings.warn(
            "stft without a window applies a rectangular one, which leaks: pass hann_window(n_fft)",
            UserWarning,
            stacklevel=2,
        )
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    if return_complex is None:
        if not (_is_complex(m, input) or _is_complex(m, window)):
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs"
            )
        return_complex = True
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false.")
    call = _given(m, "stft", input, n_fft=n_fft, hop_length=hop, win_length=width, window=window)
    x = _checked_signal(m, input, call, n_fft, center, pad_mode)
    if hop <= 0:
        raise RuntimeError(f"{call}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < width <= n_fft:
        raise RuntimeError(f"{call}: expected 0 < win_length <= n_fft, but got win_length={width}")
    if window is not None and tuple(window.shape) != (width,):
        raise RuntimeError(
            f"{call}: expected a 1D window tensor of size equal to win_length={width}, but got "
            f"window with size {list(window.shape)}"
        )
    if not center and align_to_window:
        left = (n_fft - width) // 2
        x = m.constant_pad_nd(x, [left, n_fft - width - left])
    half = _onesided(m, input, window, onesided)
    frames = m.unfold(x, -1, n_fft, hop)
    weights = _window(m, window, x, n_fft, width)
    if weights is not None:
        frames = frames * weights
    norm = "ortho" if normalized else "backward"
    spectrum = (m.fft_rfft if half else m.fft_fft)(frames, None, -1, norm)
    spectrum = m.transpose(spectrum, -1, -2)
    if len(input.shape) == 1:
        spectrum = m.squeeze(spectrum, 0)
    return spectrum if return_complex else m.view_as_real(spectrum)


def _checked_signal(m: Any, input: Any, call: str, n_fft: int, center: bool, pad_mode: str) -> Any:
    t = m.dtype(input)
    if not (t.is_floating_point or t.is_complex):
        raise RuntimeError(f"{call}: expected a tensor of floating point or complex values")
    if not 1 <= len(input.shape) <= 2:
        raise RuntimeError(f"{call}: expected a 1D or 2D tensor")
    x = m.reshape(input, [1, -1]) if len(input.shape) == 1 else input
    if center:
        side = n_fft // 2
        x = m.squeeze(m.pad(m.unsqueeze(x, 0), [side, side], pad_mode), 0)
    if not 0 < n_fft <= x.shape[-1]:
        raise RuntimeError(f"{call}: expected 0 < n_fft < {x.shape[-1]}, but got n_fft={n_fft}")
    return x


@composite()
def istft(
    m: Any,
    input: Array,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Array | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Array:
    """The signals [time] or [batch, time] of a spectrogram that `stft` made; its inverse.

    `length` is the number of samples; without it, the end that the last frame does not fill is cut.

    >>> signal, window = flambeau.arange(16.0), flambeau.hann_window(8)
    >>> spectrum = flambeau.stft(signal, 8, window=window, return_complex=True)
    >>> flambeau.allclose(flambeau.istft(spectrum, 8, window=window), signal, atol=1e-5)
    True
    """
    if window is None:
        warnings.warn(
            "istft without a window takes a rectangular one: pass the window that stft had",
            UserWarning,
            stacklevel=2,
        )
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    call = _given(m, "istft", input, n_fft=n_fft, hop_length=hop, win_length=width, window=window)
    _check_spectrum(m, input, call, n_fft, onesided)
    if not 0 < hop <= width:
        raise RuntimeError(f"{call}: expected 0 < hop_length <= win_length")
    if not 0 < width <= n_fft:
        raise RuntimeError(f"{call}: expected 0 < win_length <= n_fft")
    if window is not None and tuple(window.shape) != (width,):
        raise RuntimeError(f"{call}: Invalid window shape. window has to be 1D and of win_length")
    half = input.shape[-2] != n_fft if onesided is None else onesided
    if return_complex and half:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not return_complex and _is_complex(m, window):
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    x = m.unsqueeze(input, 0) if len(input.shape) == 2 else input
    x = m.transpose(x, -1, -2)
    norm = "ortho" if normalized else "backward"
    if return_complex:
        frames = m.fft_ifft(x, None, -1, norm)
    else:
        # The other half of a whole spectrum of real numbers says nothing new.
        frames = m.fft_irfft(m.narrow(x, -1, 0, n_fft // 2 + 1), n_fft, -1, norm)
    weights = _window(m, window, frames, n_fft, width)
    signal, squares = _overlap_add(m, frames, weights, n_fft, hop)
    signal = _divided(m, signal, squares, call, n_fft // 2 if center else 0, length)
    return m.squeeze(signal, 0) if len(input.shape) == 2 else signal


def _check_spectrum(m: Any, input: Any, call: str, n_fft: int, onesided: bool | None) -> None:
    if not m.dtype(input).is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with "
            "return_complex=True."
        )
    if 0 in input.shape:
        raise RuntimeError(f"{call}: input tensor cannot be empty.")
    if len(input.shape) not in (2, 3):
        raise RuntimeError(f"{call}: expected a tensor with 2 or 3 dimensions")
    points = input.shape[-2]
    half = points != n_fft if onesided is None else onesided
    expected = n_fft // 2 + 1 if half else n_fft
    if points != expected:
        raise RuntimeError(
            f"{call}: expected the frequency dimension (3rd to the last) of the input tensor to "
            f"match {'n_fft / 2 + 1' if half else 'n_fft'} when onesided={half}, but got {points}"
        )


def _overlap_add(m: Any, frames: Any, window: Any, n_fft: int, hop: int) -> tuple[Any, Any]:
    """The weighted frames added where they were, and the sum of the squared weights there."""
    batch, count = frames.shape[0], frames.shape[1]
    total = n_fft + hop * (count - 1)
    if window is None:
        window = _rectangle(m, frames, n_fft)
    squares = m.expand(window * window, [1, count, n_fft])
    return (
        m.unfold_back(frames * window, [batch, total], -1, n_fft, hop),
        m.unfold_back(squares, [1, total], -1, n_fft, hop),
    )


def _divided(m: Any, signal: Any, squares: Any, call: str, start: int, length: int | None) -> Any:
    """The samples from `start` on; too few of them are followed by zeros."""
    total = signal.shape[-1]
    end = total - start if length is None else start + length
    have = max(min(end, total) - start, 0)
    signal, squares = m.narrow(signal, -1, start, have), m.narrow(squares, -1, start, have)
    if have and not m.holds(m.amin(m.abs(m.constant(squares))) > 1e-11):
        raise RuntimeError(f"{call}: window overlap add min: the windows leave a sample uncovered")
    result = signal / squares
    if end - start > have:
        warnings.warn(
            "The length of signal is shorter than the length parameter: zeros follow it",
            UserWarning,
            stacklevel=3,
        )
        result = m.constant_pad_nd(result, [0, end - start - have])
    return result
