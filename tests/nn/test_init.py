"""Initial values: the numbers PyTorch draws from the same seed, and its refusals."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import flambeau
from flambeau import nn

FILLED = [
    ("uniform_", (4, 5), {"a": -1.0, "b": 3.0}),
    ("normal_", (4, 5), {"mean": 1.0, "std": 2.0}),
    ("normal_", (3, 2), {}),
    ("trunc_normal_", (50, 3), {}),
    ("trunc_normal_", (50, 3), {"mean": 0.5, "std": 2.0, "a": 0.0, "b": 1.0}),
    ("trunc_normal_", (50, 3), {"a": 1.0, "b": 4.0}),
    ("constant_", (2, 3), {"val": 0.3}),
    ("ones_", (2, 3), {}),
    ("zeros_", (2, 3), {}),
    ("eye_", (3, 5), {}),
    ("eye_", (5, 3), {}),
    ("dirac_", (4, 3, 5), {}),
    ("dirac_", (4, 2, 3, 4), {"groups": 2}),
    ("dirac_", (2, 3, 3, 3, 2), {}),
    ("xavier_uniform_", (4, 5, 3), {"gain": 2.0}),
    ("xavier_normal_", (4, 5), {}),
    ("kaiming_uniform_", (4, 5, 2, 2), {"a": 0.1}),
    ("kaiming_uniform_", (4, 5), {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal_", (4, 5, 3), {"nonlinearity": "tanh"}),
    ("orthogonal_", (4, 5), {}),
    ("orthogonal_", (7, 2, 3), {"gain": 2.0}),
    ("sparse_", (6, 5), {"sparsity": 0.4, "std": 0.5}),
]


@pytest.mark.parametrize(("name", "shape", "kwargs"), FILLED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_numbers(name, shape, kwargs, dtype):
    torch = pytest.importorskip("torch")
    filled = []
    for library in (flambeau, torch):
        library.manual_seed(3)
        tensor = library.empty(shape, dtype=getattr(library, dtype))
        assert getattr(library.nn.init, name)(tensor, **kwargs) is tensor
        filled += [tensor.numpy(), library.rand(1).item()]
    a, after_a, b, after_b = filled
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert after_a == after_b  # as many numbers were drawn


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("uniform_", {}),
        ("normal_", {}),
        ("trunc_normal_", {}),
        ("kaiming_uniform_", {}),
        ("kaiming_normal_", {}),
        ("xavier_uniform_", {}),
        ("xavier_normal_", {}),
        ("orthogonal_", {}),
        ("sparse_", {"sparsity": 0.0}),
    ],
)
def test_numbers_from_a_generator(name, kwargs):
    torch = pytest.importorskip("torch")
    filled = []
    for library in (flambeau, torch):
        source = library.Generator().manual_seed(9)
        tensor = library.empty(5, 4)
        getattr(library.nn.init, name)(tensor, generator=source, **kwargs)
        filled.append(tensor.numpy())
    np.testing.assert_allclose(*filled, rtol=1e-5, atol=1e-6)


GAINS = ["linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]


def test_gains(same):
    for name in GAINS:
        same(lambda torch, name=name: torch.nn.init.calculate_gain(name))
    same(lambda torch: torch.nn.init.calculate_gain("leaky_relu", 0.3))
    assert nn.init.calculate_gain("relu") == math.sqrt(2)


REFUSED = {
    "gain": lambda torch: torch.nn.init.calculate_gain("softmax"),
    "slope": lambda torch: torch.nn.init.calculate_gain("leaky_relu", True),
    "slope text": lambda torch: torch.nn.init.calculate_gain("leaky_relu", "x"),
    "xavier": lambda torch: torch.nn.init.xavier_uniform_(torch.ones(3)),
    "kaiming": lambda torch: torch.nn.init.kaiming_normal_(torch.ones(3)),
    "mode": lambda torch: torch.nn.init.kaiming_normal_(torch.ones(3, 3), mode="fan"),
    "eye": lambda torch: torch.nn.init.eye_(torch.ones(3)),
    "dirac": lambda torch: torch.nn.init.dirac_(torch.ones(3, 3)),
    "groups": lambda torch: torch.nn.init.dirac_(torch.ones(3, 3, 3), groups=2),
    "orthogonal": lambda torch: torch.nn.init.orthogonal_(torch.ones(3)),
    "sparse": lambda torch: torch.nn.init.sparse_(torch.ones(3), 0.1),
    "empty": lambda torch: torch.nn.init.kaiming_uniform_(torch.ones(0, 3)),
    "far off": lambda torch: torch.nn.init.trunc_normal_(torch.ones(0), mean=9.0).shape[0],
    "old name": lambda torch: torch.nn.init.constant(torch.ones(2), 3.0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_and_warnings(same, name):
    same(REFUSED[name])


LAYERS = [
    ("Linear", (7, 5), {}),
    ("Bilinear", (3, 4, 5), {}),
    ("Conv1d", (4, 6, 3), {"groups": 2}),
    ("Conv2d", (3, 5, 3), {}),
    ("Conv3d", (2, 3, 2), {"bias": False}),
    ("ConvTranspose2d", (4, 6, 3), {"groups": 2}),
    ("Embedding", (9, 4), {"padding_idx": 2}),
    ("EmbeddingBag", (9, 4), {}),
    ("BatchNorm2d", (3,), {}),
    ("LayerNorm", (3,), {}),
    ("PReLU", (3,), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), LAYERS)
def test_layers_start_as_torch_starts_them(name, args, kwargs):
    torch = pytest.importorskip("torch")
    states = []
    for library in (flambeau, torch):
        library.manual_seed(0)
        states.append(getattr(library.nn, name)(*args, **kwargs).state_dict())
    ours, theirs = states
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        # The last bit depends on whether the machine fuses a multiplication and an addition.
        np.testing.assert_allclose(ours[key].numpy(), value.numpy(), rtol=2e-6, atol=1e-7)


def test_the_rejection_sampler_is_a_truncated_normal():
    stats = pytest.importorskip("scipy.stats")
    flambeau.manual_seed(1)
    drawn = nn.init.trunc_normal_(flambeau.empty(20000), 0.0, 1.0, 1.0, 3.0).numpy()
    assert drawn.min() >= 1
    assert drawn.max() <= 3
    assert stats.kstest(drawn, stats.truncnorm(1, 3).cdf).pvalue > 1e-3


def test_initialization_is_not_recorded():
    weight = nn.Parameter(flambeau.ones(3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("uniform_", "normal_", "eye_", "ones_", "orthogonal_", "trunc_normal_"):
            getattr(nn.init, name)(weight)
    assert weight.is_leaf
    assert weight.requires_grad
