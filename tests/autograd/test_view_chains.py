"""In-place changes of views of views, against PyTorch: the order of the views must not get lost."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

CHAINS = {
    "rows of a transpose": lambda t: t.t()[1:3],
    "a column of rows": lambda t: t[1:][:, 2],
    "a row of a part in another shape": lambda t: t[1].view(2, 2)[0],
    "a permuted slice": lambda t: t[0:1].permute(1, 0).select(1, 0),
    "an expanded dimension": lambda t: t.unsqueeze(1).transpose(0, 2)[2],
}


def _gradients(library, name):
    leaf = library.arange(8.0).reshape(2, 4).requires_grad_()
    weight = library.tensor(3.0, requires_grad=True)
    base = leaf * 1.5
    part = CHAINS[name](base)
    part.mul_(weight).add_(leaf.sum())
    (base * base).sum().backward()
    return base.detach().numpy(), leaf.grad.numpy(), weight.grad.numpy()


@pytest.mark.parametrize("name", CHAINS)
def test_a_change_through_several_views(name):
    for ours, theirs in zip(_gradients(flambeau, name), _gradients(torch, name), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
