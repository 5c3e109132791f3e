"""Grid sampling against PyTorch: modes, borders, both alignments, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

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
