"""Pooling, padding and resampling against PyTorch and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from tests.ops.compare import agree, case, distinct, integers, normal, refuse, uniform

N, D, P = normal, distinct, "nn.functional."
MAX = [
    case(P + "max_pool1d", D(2, 3, 9), 3),
    case(P + "max_pool1d", D(3, 9), 2, stride=1, padding=1),
    case(P + "max_pool2d", D(2, 3, 8, 8), 2),
    case(P + "max_pool2d", D(2, 3, 8, 7), 3, stride=2, padding=1),
    case(P + "max_pool2d", D(3, 8, 7), (3, 2), stride=(1, 2), padding=(1, 0), return_indices=True),
    case(P + "max_pool2d", D(2, 3, 8, 8), 3, stride=2, ceil_mode=True, return_indices=True),
    case(P + "max_pool2d", D(2, 3, 9, 9), 3, stride=2, padding=1, dilation=2, return_indices=True),
    case(P + "max_pool2d", D(0, 3, 8, 8), 2),
    case(P + "max_pool3d", D(2, 2, 4, 5, 4), 2, stride=1, padding=1),
    case(P + "max_pool3d", D(2, 5, 5, 4), 3, ceil_mode=True, return_indices=True),
    case(P + "adaptive_max_pool1d", D(2, 3, 7), 3),
    case(P + "adaptive_max_pool2d", D(2, 3, 7, 6), (3, 4), return_indices=True),
    case(P + "adaptive_max_pool2d", D(3, 7, 6), (None, 1)),
    case(P + "adaptive_max_pool3d", D(1, 2, 4, 5, 6), (2, 3, 4)),
    case(
        P + "fractional_max_pool2d", D(2, 3, 9, 8), 3, output_size=(4, 3),
        _random_samples=uniform(2, 3, 2),
    ),
    case(
        P + "fractional_max_pool3d", D(2, 3, 6, 7, 8), 2, output_ratio=(0.5, 0.6, 0.4),
        _random_samples=uniform(2, 3, 3),
    ),
]  # fmt: skip
MEAN = [
    case(P + "avg_pool1d", N(2, 3, 9), 3),
    case(P + "avg_pool1d", N(3, 9), 4, stride=2, padding=2, count_include_pad=False),
    case(P + "avg_pool2d", N(2, 3, 8, 8), 2),
    case(P + "avg_pool2d", N(2, 3, 8, 7), 3, stride=2, padding=1),
    case(P + "avg_pool2d", N(3, 8, 7), (3, 2), stride=(1, 2), padding=1, count_include_pad=False),
    case(P + "avg_pool2d", N(2, 3, 8, 7), 3, stride=2, padding=1, ceil_mode=True),
    case(P + "avg_pool2d", N(2, 3, 8, 7), 3, stride=2, divisor_override=2),
    case(P + "avg_pool3d", N(2, 2, 4, 5, 4), 2, padding=1, ceil_mode=True),
    case(P + "adaptive_avg_pool1d", N(2, 3, 7), 3),
    case(P + "adaptive_avg_pool2d", N(2, 3, 8, 6), (4, 3)),
    case(P + "adaptive_avg_pool2d", N(2, 3, 7, 6), (3, 4)),
    case(P + "adaptive_avg_pool2d", N(2, 3, 7, 6), 1),
    case(P + "adaptive_avg_pool2d", N(3, 7, 6), (None, 9)),
    case(P + "adaptive_avg_pool3d", N(1, 2, 4, 5, 6), (2, 3, 4)),
    case(P + "lp_pool2d", uniform(2, 3, 6, 6), 2, 3, stride=2),
]
PADS = [
    case(P + "pad", N(2, 3), (1, 2)),
    case(P + "pad", N(2, 3, 4), (1, 0, 0, 2), value=2.5),
    case(P + "pad", N(4, 5), (-1, 2, 1, -2)),
    case(P + "pad", N(4, 5), ()),
    case(P + "pad", N(2, 3, 6), (3, 2), mode="reflect"),
    case(P + "pad", N(2, 3, 4, 5), (3, 2, 1, 0), mode="reflect"),
    case(P + "pad", N(3, 4, 5), (2, 7, 1, 0), mode="replicate"),
    case(P + "pad", N(2, 2, 3, 4, 3), (1, 2, 2, 1, 0, 1), mode="replicate"),
    case(P + "pad", N(2, 3, 6), (6, 2), mode="circular"),
    case(P + "pad", N(2, 3, 4, 5), (1, 2, 3, 4), mode="circular"),
    case(P + "pad", N(2, 3, 6), (-2, 3), mode="circular"),
]
SIZES = [
    case(P + "interpolate", N(2, 3, 5), size=8, mode="nearest"),
    case(P + "interpolate", N(2, 3, 5, 4), scale_factor=2, mode="nearest"),
    case(P + "interpolate", N(2, 3, 5, 4), scale_factor=0.6, mode="nearest-exact"),
    case(P + "interpolate", N(2, 3, 5), size=3, mode="linear"),
    case(P + "interpolate", N(2, 3, 5), size=9, mode="linear", align_corners=True),
    case(P + "interpolate", N(2, 3, 5, 4), size=(7, 3), mode="bilinear"),
    case(P + "interpolate", N(2, 3, 5, 4), scale_factor=(1.7, 2.1), mode="bilinear"),
    case(
        P + "interpolate", N(2, 3, 5, 4), scale_factor=1.7, mode="bilinear",
        recompute_scale_factor=True,
    ),
    case(P + "interpolate", N(2, 3, 5, 4), size=(1, 6), mode="bilinear", align_corners=True),
    case(P + "interpolate", N(2, 3, 5, 4), size=(7, 3), mode="bicubic"),
    case(P + "interpolate", N(2, 3, 5, 4), size=(7, 3), mode="bicubic", align_corners=True),
    case(P + "interpolate", N(2, 2, 9, 12), size=(4, 5), mode="bilinear", antialias=True),
    case(P + "interpolate", N(2, 2, 9, 12), size=(4, 15), mode="bicubic", antialias=True),
    case(P + "interpolate", N(1, 2, 3, 4, 5), size=(4, 3, 6), mode="trilinear"),
    case(P + "interpolate", N(1, 2, 3, 4, 5), None, 1.5, "trilinear", True),
    case(P + "interpolate", N(2, 3, 7, 5), size=(3, 4), mode="area"),
]  # fmt: skip


@pytest.mark.parametrize("made", MAX + MEAN + PADS + SIZES)
def test_windows(made):
    agree(made, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("made", MAX + MEAN + PADS + SIZES)
def test_windows_in_single_precision_of_other_layouts(made):
    if "size=(4, 15)" in repr(made):
        pytest.skip("PyTorch has no antialiasing for this layout")
    agree(made, dtype="float32", layout="reversed", order=1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made", [MAX[2], MEAN[3], MEAN[10], PADS[5], SIZES[5]])
def test_half_precision(made):
    agree(made, dtype="bfloat16", order=1, rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("return_indices", [False, True])
def test_nan_is_the_largest(return_indices):
    x = distinct(1, 2, 6, 6)
    x[0, 0, 1, 1] = x[0, 0, 4, 5] = x[0, 1, 2, 2] = x[0, 1, 2, 3] = np.nan
    x[0, 1, 3:] = -np.inf
    for padding in (0, 1):
        made = case(
            P + "max_pool2d", x, 3, stride=2, padding=padding, return_indices=return_indices
        )
        agree(made.values[0], order=1)
    agree(case(P + "adaptive_max_pool2d", x, (2, 3), return_indices=True).values[0], order=1)


def test_maximum_of_integers():
    x = integers(100, 2, 3, 6, 6) - 200
    for path in ("max_pool2d", "avg_pool2d"):
        agree(case(P + path, x, 2).values[0])


def test_pooling_by_definition():
    x = distinct(1, 1, 5, 5)
    out, where = F.max_pool2d(flambeau.tensor(x), 3, 2, return_indices=True)
    for i in range(2):
        for j in range(2):
            block = x[0, 0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            assert out[0, 0, i, j] == block.max()
            assert x.reshape(-1)[int(where[0, 0, i, j])] == block.max()


def test_unpooling_puts_values_back():
    x = flambeau.tensor(distinct(1, 2, 4, 4))
    values, where = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(values, where, 2).numpy()
    np.testing.assert_array_equal(back[back != 0], np.sort(values.numpy().ravel())[np.argsort(
        np.argsort(back[back != 0]))])  # fmt: skip
    assert np.count_nonzero(back) == 8


@pytest.mark.parametrize(
    "made",
    [
        case(P + "max_pool2d", N(8, 8), 2),
        case(P + "max_pool2d", N(2, 3, 8, 8), 0),
        case(P + "max_pool2d", N(2, 3, 8, 8), 2, stride=0),
        case(P + "max_pool2d", N(2, 3, 8, 8), 2, padding=2),
        case(P + "max_pool2d", N(2, 3, 8, 8), 2, dilation=0),
        case(P + "max_pool2d", N(2, 3, 2, 2), 3),
        case(P + "max_pool2d", N(2, 0, 8, 8), 2),
        case(P + "max_pool2d", N(2, 3, 8, 8), (2, 2, 2)),
        case(P + "avg_pool2d", N(2, 3, 8, 8), 2, padding=2),
        case(P + "avg_pool2d", N(2, 3, 8, 8), 2, divisor_override=0),
        case(P + "adaptive_avg_pool2d", N(2, 3, 8, 8), (1, 2, 3)),
        case(P + "adaptive_avg_pool2d", N(8, 8), 2),
        case(P + "adaptive_max_pool2d", N(2, 3, 8, 8), (-1, 2)),
        case(P + "fractional_max_pool2d", N(2, 3, 8, 8), 3),
        case(P + "fractional_max_pool2d", N(2, 3, 8, 8), 3, output_size=7),
        case(P + "pad", N(2, 3), (1,)),
        case(P + "pad", N(2, 3), (1, 1, 1, 1, 1, 1)),
        case(P + "pad", N(2, 3), (-2, -2)),
        case(P + "pad", N(2, 3, 4), (4, 0), mode="reflect"),
        case(P + "pad", N(2, 3, 4), (5, 0), mode="circular"),
        case(P + "pad", N(3), (1, 1), mode="reflect"),
        case(P + "pad", N(2, 3, 4), (1, 1), mode="mirror"),
        case(P + "interpolate", N(2, 3, 4)),
        case(P + "interpolate", N(2, 3, 4), size=3, scale_factor=2),
        case(P + "interpolate", N(2, 3, 4), size=(3, 4)),
        case(P + "interpolate", N(2, 3, 4), size=0),
        case(P + "interpolate", N(2, 3, 4), size=3, mode="bilinear"),
        case(P + "interpolate", N(2, 3, 4), size=3, align_corners=True),
        case(P + "interpolate", N(2, 3, 4), size=3, mode="linear", antialias=True),
        case(P + "interpolate", N(2, 3, 4), size=3, mode="sinc"),
    ],
)
def test_what_does_not_fit_is_refused(made):
    refuse(made)
