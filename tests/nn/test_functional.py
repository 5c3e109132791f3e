"""Functions that no layer covers, and the errors of all: each case on both libraries."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F

RNG = np.random.default_rng(1)


def attempt(*actions):
    seen = []
    for action in actions:
        try:
            seen.append(action())
        except Exception as error:
            seen.append((type(error).__name__, str(error)))
    return seen


def test_every_public_name_is_there():
    assert len(set(F.__all__)) == len(F.__all__)
    missing = [name for name in F.__all__ if not callable(getattr(F, name, None))]
    assert not missing


def test_every_public_name_is_torchs():
    torch = pytest.importorskip("torch")
    assert not [name for name in F.__all__ if not hasattr(torch.nn.functional, name)]


def on_both(call, *arrays):
    """Values and gradients of ``call(torch, *tensors)`` agree between the libraries."""
    torch = pytest.importorskip("torch")
    results = []
    for library in (flambeau, torch):
        library.manual_seed(2)
        tensors = [library.from_numpy(np.array(a)) for a in arrays]
        for tensor in tensors:
            if tensor.is_floating_point():
                tensor.requires_grad_()
        out = call(library, *tensors)
        if out.requires_grad:
            (out * library.arange(1, out.numel() + 1).reshape(out.shape)).sum().backward()
        results.append([out.detach().numpy()] + [t.grad for t in tensors])
    ours, theirs = results
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-12)
    assert ours[0].dtype == theirs[0].dtype
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        if b is not None:
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)


def normal(*shape):
    return RNG.normal(0, 1, shape)


VALUES = {
    "normalize": (lambda t, x: t.nn.functional.normalize(x), normal(3, 4)),
    "normalize p": (lambda t, x: t.nn.functional.normalize(x, 3.0, 0), normal(3, 4)),
    "normalize zero": (lambda t, x: t.nn.functional.normalize(x), np.zeros((2, 3))),
    "pdist": (lambda t, x: t.nn.functional.pdist(x), normal(5, 3)),
    "pdist 1": (lambda t, x: t.nn.functional.pdist(x, 1.0), normal(5, 3)),
    "gumbel": (lambda t, x: t.nn.functional.gumbel_softmax(x, 0.7), normal(4, 5)),
    "gumbel hard": (
        lambda t, x: t.nn.functional.gumbel_softmax(x, 0.7, hard=True, dim=0),
        normal(4, 5),
    ),
    "softmax dtype": (
        lambda t, x: t.nn.functional.softmax(x, 1, dtype=t.float64),
        normal(3, 4).astype(np.float32),
    ),
    "log_softmax dtype": (
        lambda t, x: t.nn.functional.log_softmax(x, 0, dtype=t.float64),
        normal(3, 4).astype(np.float32),
    ),
    "softmin dtype": (lambda t, x: t.nn.functional.softmin(x, 0, dtype=t.float64), normal(3, 4)),
    "mse weight": (
        lambda t, x, y, w: t.nn.functional.mse_loss(x, y, weight=w),
        normal(3, 4),
        normal(3, 4),
        RNG.uniform(0.1, 1, (3, 4)),
    ),
    "l1 weight": (
        lambda t, x, y, w: t.nn.functional.l1_loss(x, y, weight=w, reduction="sum"),
        normal(3, 4),
        normal(3, 4),
        RNG.uniform(0.1, 1, (3, 4)),
    ),
    "huber weight": (
        lambda t, x, y, w: t.nn.functional.huber_loss(x, y, weight=w),
        normal(3, 4),
        normal(3, 4),
        RNG.uniform(0.1, 1, (3, 4)),
    ),
    "reduce=False": (
        lambda t, x, y: t.nn.functional.smooth_l1_loss(x, y, reduce=False),
        normal(3, 4),
        normal(3, 4),
    ),
    "size_average=False": (
        lambda t, x, y: t.nn.functional.soft_margin_loss(x, y.detach(), size_average=False),
        normal(3, 4),
        np.sign(normal(3, 4)),
    ),
    "gaussian number": (
        lambda t, x, y: t.nn.functional.gaussian_nll_loss(x, y, 0.7),
        normal(3, 4),
        normal(3, 4),
    ),
    "rrelu training": (lambda t, x: t.nn.functional.rrelu(x, training=True), normal(3, 4)),
    "dropout of integers' place": (
        lambda t, x: t.nn.functional.dropout(x, 0.5) + t.nn.functional.dropout(x, 0.2),
        normal(3, 4),
    ),
    "one_hot": (lambda t, x: t.nn.functional.one_hot(x), RNG.integers(0, 5, (2, 3))),
    "one_hot wide": (lambda t, x: t.nn.functional.one_hot(x, 9), RNG.integers(0, 5, (2, 3))),
    "embedding padding": (
        lambda t, i, w: t.nn.functional.embedding(i, w, padding_idx=1),
        RNG.integers(0, 3, (2, 3)),
        normal(4, 2),
    ),
    "max_pool positions": (
        lambda t, x: t.nn.functional.max_pool2d_with_indices(x, 2, 1)[1],
        normal(2, 3, 5, 5),
    ),
    "adaptive positions": (
        lambda t, x: t.nn.functional.adaptive_max_pool2d(x, (2, None), return_indices=True)[1],
        normal(2, 3, 5, 4),
    ),
    "layer norm in groups of one": (
        lambda t, x, w: t.nn.functional.layer_norm(x, [4], w),
        normal(3, 4),
        normal(4),
    ),
    "batch norm without statistics": (
        lambda t, x: t.nn.functional.batch_norm(x, None, None, training=True),
        normal(5, 3, 2),
    ),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.filterwarnings("ignore")
def test_values(name):
    on_both(*VALUES[name])


def x34(torch):
    return torch.arange(12.0).reshape(3, 4) / 7 - 1


REFUSED = {
    "unknown reduction": lambda t: attempt(
        lambda: t.nn.functional.mse_loss(x34(t), x34(t), reduction="x"),
        lambda: t.nn.functional.kl_div(x34(t), x34(t), reduction="x"),
        lambda: t.nn.functional.nll_loss(x34(t), t.tensor([0, 1, 2]), reduction="x"),
        lambda: t.nn.functional.gaussian_nll_loss(x34(t), x34(t), 1.0, reduction="x"),
        lambda: t.nn.functional.multilabel_soft_margin_loss(x34(t), x34(t), reduction="x"),
    ),
    "weights of another shape": lambda t: attempt(
        lambda: t.nn.functional.mse_loss(x34(t), x34(t), weight=t.ones(4)),
        lambda: t.nn.functional.huber_loss(x34(t), x34(t), weight=t.ones(4)),
        lambda: t.nn.functional.multi_margin_loss(x34(t), t.tensor([0, 1, 2]), weight=t.ones(3)),
    ),
    "broadcasting": lambda t: attempt(
        lambda: t.nn.functional.mse_loss(t.ones(3, 4), t.zeros(4)),
        lambda: t.nn.functional.binary_cross_entropy(t.ones(3, 4), t.ones(4)),
        lambda: t.nn.functional.binary_cross_entropy_with_logits(x34(t), t.ones(4)),
    ),
    "bad parameters": lambda t: attempt(
        lambda: t.nn.functional.smooth_l1_loss(x34(t), x34(t), beta=-1.0),
        lambda: t.nn.functional.huber_loss(x34(t), x34(t), delta=0.0),
        lambda: t.nn.functional.multi_margin_loss(x34(t), t.tensor([0, 1, 2]), p=3),
        lambda: t.nn.functional.triplet_margin_loss(x34(t), x34(t), x34(t), margin=0),
        lambda: t.nn.functional.cross_entropy(x34(t), t.tensor([0, 1, 2]), label_smoothing=1.5),
        lambda: t.nn.functional.cross_entropy(x34(t), x34(t), ignore_index=1),
        lambda: t.nn.functional.dropout(x34(t), -0.1),
        lambda: t.nn.functional.alpha_dropout(x34(t), 1.1),
        lambda: t.nn.functional.hardtanh(x34(t), 1.0, -1.0),
        lambda: t.nn.functional.pad(x34(t), (1, 1), "reflect", 3.0),
    ),
    "shapes of vector losses": lambda t: attempt(
        lambda: t.nn.functional.cosine_embedding_loss(x34(t), x34(t), t.ones(3, 4)),
        lambda: t.nn.functional.cosine_embedding_loss(x34(t), x34(t), t.tensor(1)),
        lambda: t.nn.functional.cosine_embedding_loss(t.ones(3), x34(t), t.ones(3)),
        lambda: t.nn.functional.margin_ranking_loss(x34(t), x34(t), t.ones(3)),
        lambda: t.nn.functional.triplet_margin_loss(x34(t), x34(t), t.ones(4)),
        lambda: t.nn.functional.triplet_margin_with_distance_loss(x34(t), x34(t), t.ones(4)),
    ),
    "targets": lambda t: attempt(
        lambda: t.nn.functional.multi_margin_loss(x34(t), t.tensor([0, 1])),
        lambda: t.nn.functional.multilabel_margin_loss(x34(t), t.tensor([0, 1, 2])),
    ),
    "variances": lambda t: attempt(
        lambda: t.nn.functional.gaussian_nll_loss(x34(t), x34(t), -1.0),
        lambda: t.nn.functional.gaussian_nll_loss(x34(t), x34(t), -t.ones(3, 4)),
        lambda: t.nn.functional.gaussian_nll_loss(x34(t), x34(t), t.ones(3, 2)),
    ),
    "one_hot": lambda t: attempt(
        lambda: t.nn.functional.one_hot(t.tensor([1, -1])),
        lambda: t.nn.functional.one_hot(t.tensor([1, 2]), 2),
        lambda: t.nn.functional.one_hot(t.tensor([1.0])),
        lambda: t.nn.functional.one_hot(t.zeros(0, dtype=t.int64)),
        lambda: t.nn.functional.one_hot(t.zeros(0, dtype=t.int64), 3),
    ),
    "embedding": lambda t: attempt(
        lambda: t.nn.functional.embedding(t.tensor([0]), x34(t), padding_idx=3),
        lambda: t.nn.functional.embedding_bag(t.tensor([0]), x34(t)),
        lambda: t.nn.functional.embedding_bag(t.tensor([0]), x34(t), t.tensor([[0]])),
        lambda: t.nn.functional.embedding_bag(t.tensor([0]), x34(t), t.tensor([0]), mode="x"),
        lambda: t.nn.functional.embedding_bag(t.tensor([0]), x34(t), t.tensor([0, 2])),
        lambda: t.nn.functional.embedding_bag(
            t.tensor([0]), x34(t), t.tensor([0]), mode="sum", per_sample_weights=t.ones(2)
        ),
    ),
    "normalization": lambda t: attempt(
        lambda: t.nn.functional.batch_norm(t.ones(1, 3), None, None, training=True),
        lambda: t.nn.functional.instance_norm(t.ones(1, 3, 1)),
        lambda: t.nn.functional.group_norm(t.ones(3), 1),
        lambda: t.nn.functional.group_norm(t.ones(1, 3), 3),
    ),
    "images": lambda t: attempt(
        lambda: t.nn.functional.pixel_shuffle(t.ones(1, 3, 2, 2), 2),
        lambda: t.nn.functional.pixel_shuffle(t.ones(2, 2), 2),
        lambda: t.nn.functional.pixel_unshuffle(t.ones(1, 3, 2), 2),
        lambda: t.nn.functional.channel_shuffle(t.ones(1, 3, 2), 2),
        lambda: t.nn.functional.unfold(t.ones(1, 1, 4, 5), (8, 2)),
        lambda: t.nn.functional.fold(t.ones(1, 8, 11), (4, 5), (2, 2)),
        lambda: t.nn.functional.fold(t.ones(1, 7, 12), (4, 5), (2, 2)),
        lambda: t.nn.functional.dropout1d(t.ones(3)),
        lambda: t.nn.functional.dropout2d(t.ones(3, 2), 0.0),
        lambda: t.nn.functional.bilinear(t.ones(2, 3), t.ones(2, 4), t.ones(5, 3, 2)),
    ),
    "unpooling": lambda t: attempt(
        lambda: t.nn.functional.max_unpool2d(t.ones(1, 1, 2, 2), t.full((1, 1, 2, 2), 99), 2),
        lambda: t.nn.functional.max_unpool1d(
            t.ones(1, 1, 2), t.zeros(1, 1, 2, dtype=t.int64), 2, output_size=(9,)
        ),
    ),
    "layers": lambda t: attempt(
        lambda: t.nn.Conv2d(3, 4, 2, stride=2, padding="same"),
        lambda: t.nn.Conv2d(3, 4, 2, groups=2),
        lambda: t.nn.Conv2d(4, 3, 2, groups=2),
        lambda: t.nn.Conv2d(4, 3, 2, groups=0),
        lambda: t.nn.ConvTranspose2d(3, 4, 2, padding_mode="reflect"),
        lambda: t.nn.ConvTranspose2d(3, 4, 2)(t.ones(1, 3, 4, 4), output_size=(9, 9)),
        lambda: t.nn.ConvTranspose2d(3, 4, 2)(t.ones(1, 3, 4, 4), output_size=(9,)),
        lambda: t.nn.BatchNorm1d(3)(t.ones(3)),
        lambda: t.nn.BatchNorm2d(3)(t.ones(3)),
        lambda: t.nn.BatchNorm3d(3)(t.ones(3)),
        lambda: t.nn.InstanceNorm1d(3)(t.ones(3)),
        lambda: t.nn.InstanceNorm1d(3, affine=True)(t.ones(2, 4, 3)),
        lambda: t.nn.GroupNorm(2, 3),
        lambda: t.nn.Dropout(2),
        lambda: t.nn.Bilinear(0, 1, 2),
        lambda: t.nn.Hardtanh(2.0, 1.0),
        lambda: t.nn.Softmax2d()(t.ones(2)),
        lambda: t.nn.CircularPad1d(1)(t.ones(3)),
        lambda: t.nn.Embedding(3, 4, padding_idx=5),
        lambda: t.nn.Embedding(3, 4, _weight=t.ones(3, 3)),
        lambda: t.nn.Embedding.from_pretrained(t.ones(3)),
        lambda: t.nn.Unflatten(1, 3),
        lambda: t.nn.Unflatten(1, (1, 2.0)),
        lambda: t.nn.MultiMarginLoss(p=3),
        lambda: t.nn.MultiMarginLoss(weight=t.ones(1, 2)),
        lambda: t.nn.TripletMarginLoss(margin=0),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(same, name):
    same(REFUSED[name])


def test_what_torch_words_differently():
    with pytest.raises(RuntimeError, match="Halving dimension must be even"):
        F.glu(flambeau.ones(3))
    with pytest.raises(ValueError, match="if input is 2D, then offsets has to be None"):
        F.embedding_bag(flambeau.tensor([[0]]), flambeau.ones(3, 4), flambeau.tensor([0]))
    ones, index = flambeau.ones(3, 4), flambeau.tensor([0])
    with pytest.raises(RuntimeError, match=r"offsets\[0\] has to be 0.*got 1"):
        F.embedding_bag(index, ones, flambeau.tensor([1]))
    with pytest.raises(ValueError, match="Invalid padding string 'x'"):
        flambeau.nn.Conv2d(3, 4, 2, padding="x")
    with pytest.raises(ValueError, match=r"padding_mode must be one of .*'x'"):
        flambeau.nn.Conv2d(3, 4, 2, padding_mode="x")
