"""Resizing against PyTorch: every mode, up and down, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(2)

SHAPES = {1: (2, 3, 7), 2: (2, 3, 5, 8), 3: (1, 2, 4, 5, 3)}
TARGETS = {1: [3, 7, 14, 20], 2: [(3, 4), (10, 16), (9, 5), (5, 8)], 3: [(3, 7, 3), (8, 2, 5)]}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def both(array, **kwargs):
    results = []
    for library in (flambeau, torch):
        x = library.from_numpy(array.copy()).requires_grad_()
        out = library.nn.functional.interpolate(x, **kwargs)
        (out * out * library.arange(1, out.numel() + 1).reshape(out.shape)).sum().backward()
        results.append((out.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


KINDS = [(d, m) for d in (1, 2, 3) for m in ("nearest", "nearest-exact", "area", "line")]


@pytest.mark.parametrize(("dims", "mode"), [*KINDS, (2, "cubic")])
def test_to_a_size(dims, mode):
    mode = {"line": LINEAR[dims], "cubic": "bicubic"}.get(mode, mode)
    for size in TARGETS[dims]:
        both(RNG.normal(0, 1, SHAPES[dims]), size=size, mode=mode)
        if mode in ("bicubic", LINEAR[dims]):
            both(RNG.normal(0, 1, SHAPES[dims]), size=size, mode=mode, align_corners=True)


@pytest.mark.parametrize("factor", [2, 0.5, 1.7, 0.3, (1.3, 0.6)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear", "bicubic"])
@pytest.mark.parametrize("recompute", [None, True])
def test_by_a_factor(factor, mode, recompute):
    x = RNG.normal(0, 1, (1, 2, 7, 9))
    both(x, scale_factor=factor, mode=mode, recompute_scale_factor=recompute)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 4), (10, 16), (9, 3)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_antialias(mode, size, align_corners):
    x = RNG.normal(0, 1, (1, 2, 7, 9))
    both(x, size=size, mode=mode, antialias=True, align_corners=align_corners)


REFUSED = {
    "neither": {},
    "both": {"size": 3, "scale_factor": 2},
    "dimensions": {"size": 3, "mode": "linear"},
    "sizes": {"size": (3, 3, 3)},
    "factors": {"scale_factor": (3, 3, 3)},
    "aligned": {"size": 3, "align_corners": True},
    "recompute": {"size": 3, "recompute_scale_factor": True},
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    kinds = []
    for library in (flambeau, torch):
        with pytest.raises((ValueError, NotImplementedError)) as caught:
            library.nn.functional.interpolate(library.ones(1, 2, 3, 4), **REFUSED[name])
        kinds.append((caught.type, str(caught.value)[:25]))
    assert kinds[0] == kinds[1]


def test_unknown_mode_and_antialias():
    x = flambeau.ones(1, 2, 3, 4)
    with pytest.raises(NotImplementedError, match="cubic"):
        flambeau.nn.functional.interpolate(x, size=3, mode="cubic")
    with pytest.raises(ValueError, match="Anti-alias"):
        flambeau.nn.functional.interpolate(x, size=3, antialias=True)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("Upsample", {"scale_factor": 2}),
        ("Upsample", {"size": (4, 7), "mode": "bilinear", "align_corners": False}),
        ("Upsample", {"scale_factor": (2, 1.5), "mode": "bicubic"}),
        ("UpsamplingNearest2d", {"size": 5}),
        ("UpsamplingBilinear2d", {"scale_factor": 3}),
    ],
)
def test_layers(name, kwargs):
    x = RNG.normal(0, 1, (1, 2, 3, 4))
    ours, theirs = (getattr(library.nn, name)(**kwargs) for library in (flambeau, torch))
    assert repr(ours) == repr(theirs)
    got, expected = ours(flambeau.from_numpy(x)), theirs(torch.from_numpy(x))
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)
