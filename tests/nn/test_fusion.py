"""Folding of batch normalizations, memory formats of weights, merged masks, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def both(call):
    return [call(L) for L in (flambeau, torch)]


def normalization(L, dims, features, affine=True):
    bn = getattr(L.nn, f"BatchNorm{dims}d")(features, affine=affine)
    rng = np.random.default_rng(features)
    for value in bn.state_dict().values():
        if value.dtype == L.float32:
            value.copy_(L.tensor(rng.uniform(0.5, 2, value.shape).tolist()))
    return bn.eval()


def filled(L, layer):
    rng = np.random.default_rng(3)
    for value in layer.state_dict().values():
        value.copy_(L.tensor(rng.normal(size=value.shape).tolist()))
    return layer.eval()


LAYERS = {
    "conv1d": (lambda L: L.nn.Conv1d(3, 4, 2), 1, (2, 3, 5), False),
    "conv2d": (lambda L: L.nn.Conv2d(3, 4, 2, bias=False), 2, (2, 3, 5, 5), False),
    "conv3d": (lambda L: L.nn.Conv3d(3, 4, 2), 3, (2, 3, 4, 4, 4), False),
    "transposed": (lambda L: L.nn.ConvTranspose2d(3, 4, 2), 2, (2, 3, 5, 5), True),
}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_a_fused_convolution_does_both(name, affine):
    make, dims, shape, transpose = LAYERS[name]

    def fused(L):
        layer, bn = filled(L, make(L)), normalization(L, dims, 4, affine)
        made = L.nn.utils.fuse_conv_bn_eval(layer, bn, transpose)
        x = L.arange(float(np.prod(shape))).reshape(shape) / 50
        assert L.allclose(made(x), bn(layer(x)), atol=1e-4)
        assert made is not layer
        return made.weight.tolist(), made.bias.tolist(), made.bias.requires_grad, type(made.weight)

    ours, theirs = both(fused)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
    assert ours[2] == theirs[2]
    assert ours[3] is flambeau.nn.Parameter


@pytest.mark.parametrize("features", [4, 1])
def test_a_fused_linear_layer_does_both(features):
    def fused(L):
        layer, bn = filled(L, L.nn.Linear(3, 4)), normalization(L, 1, features)
        made = L.nn.utils.fuse_linear_bn_eval(layer, bn)
        return made.weight.tolist(), made.bias.tolist()

    ours, theirs = both(fused)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)


def test_fusion_refuses_what_pytorch_refuses():
    for L in (flambeau, torch):
        conv, bn = L.nn.Conv2d(3, 4, 1).eval(), L.nn.BatchNorm2d(4).eval()
        bare = L.nn.BatchNorm2d(4, track_running_stats=False).eval()
        wide = L.nn.Linear(3, 5).eval()
        for fuse, pair in (
            (L.nn.utils.fuse_conv_bn_eval, (L.nn.Conv2d(3, 4, 1), bn)),
            (L.nn.utils.fuse_conv_bn_eval, (conv, L.nn.BatchNorm2d(4))),
            (L.nn.utils.fuse_conv_bn_eval, (conv, bare)),
            (L.nn.utils.fuse_linear_bn_eval, (wide, L.nn.BatchNorm1d(4).eval())),
        ):
            with pytest.raises(AssertionError):
                fuse(*pair)


@pytest.mark.parametrize("dims", [2, 3])
def test_weights_change_their_memory_format(dims):
    def strides(L):
        conv = getattr(L.nn, f"Conv{dims}d")
        model = L.nn.Sequential(conv(3, 4, 2), L.nn.Sequential(conv(4, 2, 2)), L.nn.Linear(2, 2))
        values = [p.tolist() for p in model.parameters()]
        convert = getattr(L.nn.utils, f"convert_conv{dims}d_weight_memory_format")
        kind = L.channels_last if dims == 2 else L.channels_last_3d
        assert convert(model, kind) is model
        assert [p.tolist() for p in model.parameters()] == values
        return [p.stride() for p in model.parameters()]

    ours, theirs = both(strides)
    assert ours == theirs


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("mask", [None, "plain", "heads"])
def test_masks_are_merged(mask, padded):
    def merged(L):
        layer = L.nn.MultiheadAttention(4, 2)
        attention = None if mask is None else L.arange(9.0).reshape(3, 3)
        if mask == "heads":
            attention = L.arange(36.0).reshape(4, 3, 3)
        padding = L.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 5.0]]) if padded else None
        found, kind = layer.merge_masks(attention, padding, L.zeros(2, 3, 4))
        return None if found is None else found.tolist(), kind

    ours, theirs = both(merged)
    assert ours == theirs


def test_pools_with_indices():
    def pooled(L):
        x = L.arange(128.0).reshape(1, 2, 4, 4, 4).sin()
        three, two = L.full((1, 2, 3), 0.4), L.full((1, 2, 2), 0.4)
        F = L.nn.functional
        found = [
            F.fractional_max_pool3d_with_indices(x, 2, 2, _random_samples=three),
            F.fractional_max_pool2d_with_indices(x[:, :, 0], 2, 2, _random_samples=two),
        ]
        return [part.tolist() for pair in found for part in pair]

    ours, theirs = both(pooled)
    for mine, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-6)
