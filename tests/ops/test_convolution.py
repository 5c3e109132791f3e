"""Convolutions against PyTorch and against their definition."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.ops.compare import agree, case, normal, refuse

# PyTorch says so where one side is padded more than the other.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")

N = normal
F = "nn.functional."
CASES = [
    case(F + "conv1d", N(2, 3, 8), N(4, 3, 3), N(4)),
    case(F + "conv1d", N(3, 8), N(4, 3, 3), stride=2, padding=1),
    case(F + "conv1d", N(2, 4, 9), N(6, 2, 3), N(6), padding=2, dilation=2, groups=2),
    case(F + "conv1d", N(2, 3, 8), N(4, 3, 4), padding="same"),
    case(F + "conv1d", N(2, 3, 8), N(4, 3, 4), padding="valid"),
    case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 2), N(4)),
    case(F + "conv2d", N(2, 3, 7, 7), N(4, 3, 3, 3), N(4), stride=2, padding=1),
    case(F + "conv2d", N(2, 3, 7, 8), N(4, 3, 3, 3), None, (2, 3), (2, 1), (1, 2)),
    case(F + "conv2d", N(2, 4, 6, 6), N(4, 1, 3, 3), N(4), padding=1, groups=4),
    case(F + "conv2d", N(2, 4, 6, 6), N(8, 2, 1, 1), groups=2),
    case(F + "conv2d", N(3, 6, 5), N(4, 3, 3, 3), N(4), padding="same", dilation=2),
    case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 4, 3), padding="same"),
    case(F + "conv2d", N(0, 3, 6, 5), N(4, 3, 3, 3), N(4)),
    case(F + "conv2d", N(2, 1, 9, 9), N(5, 1, 9, 9)),
    case(F + "conv3d", N(2, 2, 4, 5, 4), N(3, 2, 2, 3, 2), N(3)),
    case(F + "conv3d", N(2, 5, 4, 4), N(4, 1, 2, 2, 2), stride=2, padding=1, groups=2),
    case(F + "conv_transpose1d", N(2, 3, 5), N(3, 4, 3), N(4)),
    case(F + "conv_transpose1d", N(3, 5), N(3, 2, 3), stride=2, padding=1, output_padding=1),
    case(F + "conv_transpose1d", N(2, 2, 5), N(2, 2, 3), stride=1, output_padding=1, dilation=2),
    case(F + "conv_transpose2d", N(2, 3, 4, 5), N(3, 4, 3, 2), N(4), stride=2),
    case(
        F + "conv_transpose2d", N(2, 4, 4, 3), N(4, 3, 3, 3), N(6), stride=(3, 2), padding=1,
        output_padding=(2, 1), groups=2, dilation=(1, 2),
    ),
    case(
        F + "conv_transpose2d", N(1, 2, 3, 3), N(2, 2, 2, 2), padding=(1, 2), output_padding=(2, 1),
        dilation=4,
    ),
    case(F + "conv_transpose3d", N(1, 2, 3, 2, 3), N(2, 3, 2, 2, 2), N(3), stride=2, padding=1),
]  # fmt: skip


@pytest.mark.parametrize("made", CASES)
def test_convolution(made):
    agree(made, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("made", CASES)
def test_convolution_in_single_precision_of_other_layouts(made):
    agree(made, dtype="float32", layout="reversed", order=1, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("made", CASES[5:10])
def test_half_precision_is_rounded_once(made):
    agree(made, dtype="float16", order=1, rtol=1e-2, atol=3e-2)


def test_convolution_is_the_sum_of_products():
    x, w = normal(1, 2, 5, 4), normal(3, 2, 2, 3, seed=1)
    out = flambeau.conv2d(flambeau.tensor(x), flambeau.tensor(w)).numpy()
    for m in range(3):
        for i in range(4):
            for j in range(2):
                expected = (x[0, :, i : i + 2, j : j + 3] * w[m]).sum()
                assert out[0, m, i, j] == pytest.approx(expected)


def test_transposed_convolution_is_the_adjoint():
    w = flambeau.tensor(normal(3, 2, 3, 3))
    x, y = flambeau.tensor(normal(1, 2, 7, 7)), flambeau.tensor(normal(1, 3, 3, 3, seed=2))
    forward = flambeau.conv2d(x, w, stride=2)
    backward = flambeau.conv_transpose2d(y, w, stride=2)
    assert float((forward * y).sum()) == pytest.approx(float((x * backward).sum()))


def test_general_form():
    x, w = flambeau.tensor(normal(1, 2, 7, 7)), flambeau.tensor(normal(3, 2, 3, 3))
    args = ((2, 1), (1, 1), (1, 1))
    out = flambeau.convolution(x, w, None, *args, False, (0, 0), 1)
    np.testing.assert_array_equal(out.numpy(), flambeau.conv2d(x, w, None, (2, 1), 1).numpy())


@pytest.mark.parametrize(
    "made",
    [
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 2, 3, 3)),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 3), N(3)),
        case(F + "conv2d", N(2, 3, 2, 2), N(4, 3, 3, 3)),
        case(F + "conv2d", N(3, 6), N(4, 3, 3, 3)),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 3), stride=0),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 3), padding=-1),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 3), dilation=0),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 3), groups=2),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 3), padding="same", stride=2),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 3), padding="some"),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3, 3), stride=(1, 1, 1)),
        case(F + "conv2d", N(2, 3, 6, 5), N(4, 3, 3)),
        case(F + "conv_transpose2d", N(2, 3, 6, 5), N(4, 3, 3, 3)),
        case(F + "conv_transpose2d", N(2, 3, 6, 5), N(3, 4, 3, 3), output_padding=1),
        case(F + "conv_transpose2d", N(2, 3, 1, 1), N(3, 4, 1, 1), padding=1),
    ],
)
def test_what_does_not_fit_is_refused(made):
    refuse(made)


def test_mixed_dtypes_are_refused():
    x, w = flambeau.zeros(1, 1, 3, 3), flambeau.zeros(1, 1, 2, 2, dtype=flambeau.float64)
    with pytest.raises(RuntimeError, match="should be the same"):
        flambeau.conv2d(x, w)
