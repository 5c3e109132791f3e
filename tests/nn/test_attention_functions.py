"""`torch.nn.attention`: changed scores, block masks, causal biases, the choice of kernels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau as fl
from flambeau.nn.attention import SDPBackend, bias, sdpa_kernel
from flambeau.nn.attention import flex_attention as ours

rng = np.random.default_rng(0)
QKV = [rng.standard_normal((2, 4, 150, 8)).astype(np.float32) for _ in range(3)]
HEADS = np.array([0.5, -1.0, 2.0, 0.0], np.float32)


def causal(b, h, q, kv):
    return q >= kv


CALLS = {
    "plain": lambda m, lib, a, heads: m.flex_attention(*a),
    "scores": lambda m, lib, a, heads: m.flex_attention(
        *a, score_mod=lambda s, b, h, q, kv: s * heads[h] + (q - kv) * 0.1
    ),
    "lse": lambda m, lib, a, heads: m.flex_attention(*a, return_aux=m.AuxRequest(lse=True))[1].lse,
    "causal": lambda m, lib, a, heads: m.flex_attention(
        *a, block_mask=m.create_block_mask(causal, 1, 1, 150, 150, BLOCK_SIZE=64), scale=0.3
    ),
    "window": lambda m, lib, a, heads: m.flex_attention(
        *a,
        block_mask=m.create_block_mask(
            m.and_masks(causal, lambda b, h, q, kv: q - kv < 20 + h), None, 4, 150, 150
        ),
    ),
    "empty rows": lambda m, lib, a, heads: m.flex_attention(
        *a, block_mask=m.create_block_mask(lambda b, h, q, kv: q * 0 + kv < b * 90, 2, 1, 150, 150)
    ),
    "shared heads": lambda m, lib, a, heads: m.flex_attention(
        a[0], a[1][:, :2], a[2][:, :2], enable_gqa=True
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_flex_attention_as_in_torch(name):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch.nn.attention.flex_attention")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b = (
            CALLS[name](m, lib, [lib.tensor(x) for x in QKV], lib.tensor(HEADS))
            for m, lib in ((ours, fl), (theirs, torch))
        )
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-5, atol=2e-6)


def test_flex_attention_has_gradients():
    q, k, v = (fl.tensor(x[:1, :2, :3, :2], dtype=fl.float64).requires_grad_() for x in QKV)
    heads = fl.tensor([0.5, 2.0], dtype=fl.float64, requires_grad=True)
    mask = ours.create_block_mask(causal, 1, 1, 3, 3)

    def f(q, k, v, heads):
        return ours.flex_attention(q, k, v, lambda s, b, h, i, j: s * heads[h], mask)

    assert fl.autograd.gradcheck(f, (q, k, v, heads))


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("size", [16, (8, 32)])
def test_block_masks_as_in_torch(separate, size):
    theirs = pytest.importorskip("torch.nn.attention.flex_attention")
    a, b = (
        m.create_block_mask(
            causal, 1, 2, 70, 90, BLOCK_SIZE=size, separate_full_blocks=separate, device="cpu"
        )
        for m in (ours, theirs)
    )
    for kind in ("kv", "q"):
        for name in (f"{kind}_num_blocks", f"{kind}_indices"):
            for full in ("", "full_"):
                x, y = getattr(a, full + name), getattr(b, full + name)
                assert (x is None) == (y is None)
                assert x is None or x.tolist() == y.tolist()
    assert a.shape == b.shape
    assert a.to_dense().tolist() == b.to_dense().tolist()
    assert a.sparsity() == pytest.approx(b.sparsity())


def test_masks_are_combined():
    either = ours.or_masks(causal, lambda b, h, q, kv: kv == 2)
    expected = np.tri(3, dtype=bool)
    expected[:, 2] = True
    np.testing.assert_array_equal(ours.create_mask(either, 1, 1, 3, 3).numpy()[0, 0], expected)
    with pytest.raises(RuntimeError, match="callable"):
        ours.and_masks(3)
    scores = ours.create_mask(lambda s, b, h, q, kv: fl.where(q == kv, s, -fl.inf), 1, 1, 2, 2)
    assert scores.tolist() == [[[[True, False], [False, True]]]]


@pytest.mark.parametrize(
    ("shapes", "error"),
    [
        (((2, 3, 4), (2, 3, 4)), NotImplementedError),
        (((2, 4, 3, 4), (2, 2, 3, 4)), ValueError),
        (((1, 2, 3, 4), (2, 2, 3, 4)), ValueError),
    ],
)
def test_flex_attention_refuses(shapes, error):
    q, k = (fl.ones(s) for s in shapes)
    with pytest.raises(error):
        ours.flex_attention(q, k, k)


@pytest.mark.parametrize("name", ["causal_upper_left", "causal_lower_right"])
def test_causal_biases(name):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch.nn.attention.bias")
    q, k = QKV[0][:, :, :5], QKV[1][:, :, :9]
    results = []
    for lib, module in ((fl, bias), (torch, theirs)):
        mask = getattr(module, name)(5, 9)
        found = lib.nn.functional.scaled_dot_product_attention(
            lib.tensor(q), lib.tensor(k), lib.tensor(k), attn_mask=mask
        )
        results.append((found.numpy(), mask._materialize().numpy(), int(mask.variant)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert results[0][2] == results[1][2]
    with pytest.raises(AssertionError):
        getattr(bias, name)(3)


def test_kernels_are_chosen():
    x = fl.tensor(QKV[0])
    plain = fl.nn.functional.scaled_dot_product_attention(x, x, x)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        chosen = fl.nn.functional.scaled_dot_product_attention(x, x, x)
    np.testing.assert_array_equal(plain.numpy(), chosen.numpy())
    with pytest.raises(AssertionError), sdpa_kernel("math"):
        pass
    refused = pytest.raises(RuntimeError, match="No viable backend")
    with refused, sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        fl.nn.functional.scaled_dot_product_attention(x, x, x)
    assert int(SDPBackend.MATH) == 0
