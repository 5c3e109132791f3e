"""Pooling and resampling by compiled kernels against PyTorch: values, indices, gradients."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.backends.cpu import interpolation, pooling

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch):
    """Let kernels also take what is too small to gain from them."""
    monkeypatch.setattr(pooling, "_FEW", 1)
    monkeypatch.setattr(interpolation, "_FEW", 1)


def compare(x, call, rtol=1e-5):
    """`call` of a library's functional namespace and a tensor: results, and a weighted gradient."""
    found = []
    for library in (torch, flambeau):
        t = library.from_numpy(x.copy()).requires_grad_(True)
        try:
            results = call(library.nn.functional, t)
        except (RuntimeError, ValueError) as error:
            found.append(type(error).__name__)
            continue
        results = results if isinstance(results, tuple) else (results,)
        weights = np.random.default_rng(5).standard_normal(tuple(results[0].shape)).astype(x.dtype)
        (results[0] * library.from_numpy(weights)).sum().backward()
        found.append([r.detach().numpy() for r in results] + [t.grad.numpy()])
    theirs, ours = found
    assert isinstance(theirs, str) == isinstance(ours, str), (theirs, ours)
    if isinstance(theirs, str):
        return
    for a, b in zip(theirs, ours, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol)


def image(rng, rank, odd):
    """Images with many ties; if `odd` with NaN and infinities."""
    largest = {1: 2500, 2: 40, 3: 12}[rank]
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 6)), *rng.integers(5, largest, rank))
    x = rng.standard_normal(shape).round(1).astype(rng.choice(["f4", "f8"]))
    if odd:
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.2] = -np.inf
    return x


@pytest.mark.parametrize("seed", range(30))
def test_pooling(seed):
    rng = np.random.default_rng(seed)
    flambeau.set_num_threads(1 + seed % 3)
    rank = 1 + seed % 3
    x = image(rng, rank, seed % 2)
    kernel, stride, dilation = (rng.integers(1, n, rank).tolist() for n in (7, 6, 3))
    padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
    ceil = bool(rng.integers(0, 2))
    window = (kernel, stride, padding, dilation, ceil)
    compare(x, lambda f, t: getattr(f, f"max_pool{rank}d")(t, *window))
    compare(x, lambda f, t: getattr(f, f"max_pool{rank}d")(t, *window, return_indices=True))
    more = () if rank == 1 else ([None, 3][seed // 2 % 2],)
    mean = (kernel, stride, padding, ceil, bool(rng.integers(0, 2)), *more)
    compare(x, lambda f, t: getattr(f, f"avg_pool{rank}d")(t, *mean))
    counts = rng.integers(1, 8, rank).tolist()
    compare(x, lambda f, t: getattr(f, f"adaptive_max_pool{rank}d")(t, counts, return_indices=True))
    compare(x, lambda f, t: getattr(f, f"adaptive_avg_pool{rank}d")(t, counts))
    flambeau.set_num_threads(2)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_pooling_of_half_precision(rank, dtype):
    x = np.random.default_rng(rank).standard_normal((2, 3, *[12] * rank)).astype("f4")

    def call(f, t):
        half = t.to(getattr(torch if f is torch.nn.functional else flambeau, dtype))
        return getattr(f, f"avg_pool{rank}d")(getattr(f, f"max_pool{rank}d")(half, 2), 3).to(
            t.dtype
        )

    compare(x, call, rtol=2e-2)


MODES = {1: ["nearest", "nearest-exact", "linear"], 3: ["nearest", "nearest-exact", "trilinear"]}
MODES[2] = ["nearest", "nearest-exact", "bilinear", "bicubic", "bilinear smooth", "bicubic smooth"]
CASES = [(rank, mode) for rank, modes in MODES.items() for mode in modes]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("rank", "mode"), CASES)
def test_interpolation(rank, mode, seed):
    rng = np.random.default_rng(seed)
    x = image(rng, rank, False).astype("f8")  # PyTorch's positions are as exact as the images
    mode, _, smooth = mode.partition(" ")
    size = [int(max(1, n * s)) for n, s in zip(x.shape[2:], rng.uniform(0.2, 3, rank), strict=True)]
    keywords = {"antialias": True} if smooth else {}
    if "nearest" not in mode:
        keywords["align_corners"] = bool(seed % 2)
    compare(x, lambda f, t: f.interpolate(t, size, mode=mode, **keywords))


def test_rows_wider_than_the_kernels_scratch():
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 5000))
    compare(x, lambda f, t: f.interpolate(t, (4, 6000), mode="bilinear"))
    compare(x, lambda f, t: f.max_pool2d(t, 3, 2, 1))
    compare(x, lambda f, t: f.max_pool2d(t, (2, 4300), 1))
    compare(x, lambda f, t: f.avg_pool2d(t, (2, 4300), 1))
    compare(x, lambda f, t: f.adaptive_max_pool2d(t, (2, 7)))
    compare(x, lambda f, t: f.adaptive_avg_pool2d(t, (2, 7)))


def test_grids_of_many_points():
    rng = np.random.default_rng(0)
    grid = rng.uniform(-1.3, 1.3, (2, 30, 40, 2)).astype("f4")
    x = rng.standard_normal((2, 5, 20, 30)).astype("f4")

    def call(f, t):
        library = torch if f is torch.nn.functional else flambeau
        points = library.from_numpy(grid)
        return f.grid_sample(t, points + 0 * t.mean(), align_corners=False)

    compare(x, call, rtol=1e-3)
