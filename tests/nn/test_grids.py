"""Grid sampling against PyTorch: modes, borders, both alignments, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.backends.cpu import interpolation

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(4)


def both(call, *arrays):
    results = []
    for library in (flambeau, torch):
        tensors = [library.from_numpy(a.copy()).requires_grad_() for a in arrays]
        out = call(library, *tensors)
        (out * library.arange(1, out.numel() + 1).reshape(out.shape)).sum().backward()
        results.append([out.detach().numpy(), *(t.grad for t in tensors)])
    ours, theirs = results
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-10)
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        a = np.zeros(b.shape) if a is None else a.numpy()
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic", "volume", "volume nearest"])
def test_grid_sample(mode, padding_mode, align_corners):
    volume = mode.startswith("volume")
    image = RNG.normal(0, 1, (2, 3, 4, 3, 5) if volume else (2, 3, 4, 5))
    grid = RNG.uniform(-1.7, 1.7, (2, 3, 2, 4, 3) if volume else (2, 6, 4, 2))
    mode = {"volume": "bilinear", "volume nearest": "nearest"}.get(mode, mode)

    def call(library, x, points):
        return library.nn.functional.grid_sample(x, points, mode, padding_mode, align_corners)

    both(call, image, grid)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(2, 1, 3, 4), (2, 1, 1, 5), (2, 3, 2, 3, 4)])
@pytest.mark.filterwarnings("ignore:Since version")
def test_affine_grid(size, align_corners):
    dims = len(size) - 2

    def call(library, theta):
        return library.nn.functional.affine_grid(theta, size, align_corners)

    both(call, RNG.normal(0, 1, (2, dims, dims + 1)))


REFUSED = {
    "last": lambda t: t.nn.functional.grid_sample(t.ones(1, 2, 3, 4), t.zeros(1, 3, 3, 3)),
    "batch": lambda t: t.nn.functional.grid_sample(t.ones(1, 2, 3, 4), t.zeros(2, 3, 3, 2)),
    "mode": lambda t: t.nn.functional.grid_sample(t.ones(1, 2, 3, 4), t.zeros(1, 3, 3, 2), "x"),
    "padding": lambda t: t.nn.functional.grid_sample(
        t.ones(1, 2, 3, 4), t.zeros(1, 3, 3, 2), padding_mode="x"
    ),
    "size": lambda t: t.nn.functional.affine_grid(t.ones(1, 2, 3), (1, 2, 2), False),
    "theta": lambda t: t.nn.functional.affine_grid(t.ones(2, 3), (1, 2, 2, 2), False),
    "empty": lambda t: t.nn.functional.affine_grid(t.ones(1, 2, 3), (1, 2, 0, 2), False),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(same, name):
    assert same(REFUSED[name])[0] == "raises"


@pytest.mark.parametrize("taps", [1, 4])
@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_corners_by_kernel_and_by_numpy(dtype, aligned, border, taps, monkeypatch):
    rng = np.random.default_rng(0)
    grid = (rng.standard_normal((3, 2500, 2)) * 1.3).astype(dtype)
    grid[0, :4] = [[1, 1], [-1, -1], [np.inf, 0], [np.nan, 0]]
    with np.errstate(invalid="ignore"):
        found = interpolation.find_corners(grid, 17, 23, aligned, border, taps)
        monkeypatch.setattr(interpolation, "_point_operands", lambda *arrays: None)
        expected = interpolation.find_corners(grid, 17, 23, aligned, border, taps)
    tolerance = 40 * float(np.finfo(dtype).eps)
    # A position that rounding moves across a pixel's middle has other corners, and shares near 0.
    same = (found[1] == expected[1]).all(1)
    assert same.mean() > 0.999
    error = np.abs(found[0] - expected[0]).max(1)[same]
    assert np.nanmax(error) < tolerance
    assert np.isnan(found[0]).sum() == np.isnan(expected[0]).sum()
