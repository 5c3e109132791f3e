"""Tensors without data: shapes, dtypes and strides as PyTorch's meta device has them."""

from __future__ import annotations

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()

PROGRAMS = {
    "pointwise": lambda L, t: (t * 2 + 1).exp().relu(),
    "comparison": lambda L, t: t > 0,
    "promotion": lambda L, t: t.int() / 2,
    "broadcast": lambda L, t: t + L.empty(3, 1, device="meta"),
    "matmul": lambda L, t: t @ t.transpose(-1, -2),
    "reduction": lambda L, t: t.sum(1, keepdim=True),
    "all": lambda L, t: t.mean(),
    "max": lambda L, t: tuple(t.max(1)),
    "named": lambda L, t: t.max(1).indices,
    "sort": lambda L, t: tuple(t.sort(1)),
    "topk": lambda L, t: t.topk(2, -1).values,
    "softmax": lambda L, t: t.softmax(-1),
    "view": lambda L, t: t.view(3, 8),
    "permute": lambda L, t: t.permute(2, 0, 1),
    "reshape of a transpose": lambda L, t: t.transpose(0, 2).reshape(-1),
    "index": lambda L, t: t[1, :, ::2],
    "none index": lambda L, t: t[:, None],
    "gather by list": lambda L, t: t[:, [0, 1, 1]],
    "cat": lambda L, t: L.cat([t, t], 1),
    "stack": lambda L, t: L.stack([t, t]),
    "split": lambda L, t: t.split(2, 1),
    "cast": lambda L, t: t.double(),
    "expand": lambda L, t: t[:, :1].expand(2, 7, 4),
    "in place": lambda L, t: t.mul_(2).add_(1),
    "linear": lambda L, t: L.nn.functional.linear(t, L.empty(5, 4, device="meta")),
    "conv": lambda L, t: L.nn.functional.conv1d(t, L.empty(6, 3, 2, device="meta")),
    "layer_norm": lambda L, t: L.nn.functional.layer_norm(t, [4]),
    "pool": lambda L, t: L.nn.functional.max_pool1d(t, 2),
    "where": lambda L, t: L.where(t > 0, t, 0.0),
    "clone": lambda L, t: t.clone(),
    "like": lambda L, t: L.zeros_like(t),
    "new": lambda L, t: t.new_ones(3),
    "detach": lambda L, t: t.detach(),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_shapes_dtypes_and_strides(name):
    def script(L):
        t = L.empty(2, 3, 4, device="meta")
        out = PROGRAMS[name](L, t)
        parts = out if isinstance(out, tuple) else (out,)
        return [(p.shape, str(p.dtype), p.is_meta, p.stride(), p.is_contiguous()) for p in parts]

    agree(script)


@scripts
def facts(L):
    t = L.empty(2, 3, device="meta", dtype=L.float64)
    return (
        t.shape, t.numel(), t.nbytes, t.element_size(), t.stride(), t.is_meta, t.device.type, t.dim(),
        len(t), t.is_contiguous(), t.t().is_contiguous(), t.requires_grad, t.is_floating_point(),
    )  # fmt: skip


@scripts.raises
def no_item(L):
    L.empty(1, device="meta").item()


@scripts.raises
def no_list(L):
    L.empty(1, device="meta").tolist()


@scripts.raises
def no_array(L):
    L.empty(1, device="meta").numpy()


@scripts.raises
def no_truth(L):
    bool(L.empty(1, device="meta"))


@scripts.raises
def shapes_are_still_checked(L):
    return L.empty(2, 3, device="meta") + L.empty(2, 4, device="meta")


@scripts.raises
def products_are_still_checked(L):
    return L.empty(2, 3, device="meta") @ L.empty(2, 4, device="meta")


@scripts.raises
def views_are_still_checked(L):
    return L.empty(2, 3, device="meta").view(4, 2)


@scripts
def from_a_real_tensor(L):
    t = L.ones(2, 3).t().to("meta")
    return t.shape, t.stride(), str(t.dtype)


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_nothing_is_allocated_however_large():
    t = flambeau.empty(1_000_000, 1_000_000, device="meta")
    out = ((t * 2 + t).exp().t()[5:] > 0).to(flambeau.float64)
    assert out.shape == (999_995, 1_000_000)
    assert out.nbytes == 8 * 999_995 * 1_000_000


def test_values_that_decide_a_shape_are_asked_for():
    t = flambeau.empty(3, device="meta")
    for f in (lambda: t.nonzero(), lambda: t[t > 0], lambda: flambeau.unique(t)):
        with pytest.raises((NotImplementedError, RuntimeError)):
            f()


def test_the_repr_shows_shape_and_device():
    text = repr(flambeau.empty(2, 3, device="meta"))
    assert "meta" in text
    assert "2, 3" in text
