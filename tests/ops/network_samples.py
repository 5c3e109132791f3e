"""Sample calls for the ops of neural networks; see `samples`, which takes them in."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends.cpu import interpolation, pooling
from flambeau.backends.cpu.windows import Axis
from tests.ops.compare import distinct, integers, normal, uniform

Call = tuple[tuple[Any, ...], dict[str, Any]]
N, U, I, D = normal, uniform, integers, distinct  # noqa: E741


def call(*args: Any, **kwargs: Any) -> Call:
    """One sample call."""
    return args, kwargs


# Away from the kinks at -3, -1, -0.5, 0, 0.5, 1, 3 and 6.
BENT = np.array([[-7.1, -3.3, -2.4, -1.2, -0.7], [-0.3, 0.2, 0.7, 2.9, 3.4]])
WINDOWS = (Axis(5, 3, 3, 2, 1, 1), Axis(6, 3, 2, 2, 0, 1))
PLACES = np.array([[[0, 3, 3], [1, 2, 5]], [[4, 4, 4], [0, 5, 1]]])
MAPS = [interpolation.linear(-2, 4, 6, None, False), interpolation.cubic(-1, 5, 3, None, True)]
POOLED = (D(2, 5, 6).astype(np.float32), pooling.max_pool(D(2, 5, 6).astype(np.float32), WINDOWS))
LABELS, LABELS_2D = I(5, 4), I(5, 4, 2)
WEIGHTS = U(5, seed=3)
LISTS = np.array([[1, 3, -1, 0], [-1, 2, 0, 1], [2, 2, 0, 1]])
STEPS_1D = ((2,), (1,), (1,), 1)
STEPS_2D = ((2, 1), (1, 0), (1, 2), 2)

NETWORK: dict[str, list[Call]] = {
    # ------------------------------------------------------------ products
    "mm": [call(N(3, 4), N(4, 5))],
    "_int_mm": [call(I(9, 3, 4).astype(np.int8), I(9, 4, 5).astype(np.int8))],
    "bmm": [call(N(2, 3, 4), N(2, 4, 5))],
    "mv": [call(N(3, 4), N(4))],
    "dot": [call(N(4), N(4, seed=1))],
    "vdot": [call(N(4), N(4, seed=1))],
    "matmul": [
        call(N(4), N(4, seed=1)), call(N(3, 4), N(4)), call(N(4), N(2, 4, 3)),
        call(N(2, 3, 4), N(4, 5)), call(N(2, 1, 3, 4), N(2, 4, 5)),
    ],
    "linear": [call(N(2, 3, 4), N(5, 4), N(5)), call(N(4), N(5, 4))],
    "addmm": [call(N(5), N(3, 4), N(4, 5), beta=0.5, alpha=2.0)],
    "addmv": [call(N(3), N(3, 4), N(4), alpha=0.3)],
    "addr": [call(N(3, 4), N(3), N(4), beta=0.2)],
    "addbmm": [call(N(3, 5), N(2, 3, 4), N(2, 4, 5))],
    "baddbmm": [call(N(2, 3, 5), N(2, 3, 4), N(2, 4, 5), beta=0.5)],
    "outer": [call(N(3), N(4))],
    "outer_product": [call(N(3), N(4))],
    "inner": [call(N(2, 3), N(4, 3))],
    "kron": [call(N(2, 3), N(2, 2))],
    "tensordot": [call(N(2, 3, 4), N(3, 4, 5)), call(N(2, 3), N(3, 2), [[0], [1]])],
    "bilinear": [call(N(2, 3), N(2, 4), N(5, 3, 4), N(5))],
    "einsum": [
        call("ij,jk->ik", N(3, 4), N(4, 5)), call("bii->b", N(2, 3, 3)),
        call("...i,i->...", N(2, 3, 4), N(4)),
    ],
    "euclidean_distances": [call(N(2, 3, 4), N(2, 5, 4))],
    "cdist": [call(N(3, 4), N(5, 4)), call(N(3, 4), N(5, 4), p=1.0)],
    "scaled_dot_product_attention": [
        call(N(2, 3, 4), N(2, 5, 4), N(2, 5, 6)),
        call(N(2, 3, 4), N(2, 3, 4), N(2, 3, 6), is_causal=True),
        call(N(4, 3, 4), N(2, 5, 4), N(2, 5, 4), N(3, 5), enable_gqa=True),
    ],
    "fused_attention": [
        call(N(2, 3, 4), N(2, 5, 4), N(2, 5, 6), None, False, 0.5),
        call(N(3, 4), N(3, 4), N(3, 6), None, True, 0.5),
        call(N(2, 4, 3, 4), N(2, 2, 5, 4), N(2, 2, 5, 4), N(2, 1, 3, 5), False, 0.7),
        call(N(1, 2, 3, 4), N(4, 1, 5, 4), N(5, 4), N(3, 5) > -0.5, False, -0.7),
    ],
    "causal_scores": [call(N(2, 3, 4))],
    # ------------------------------------------------------------ recurrence
    "lstm_layer": [
        call(N(5, 3), N(2, 4), N(2, 4), N(16, 3), N(16, 4), N(16), N(16), None, (2, 2, 1), False),
        call(N(5, 3), N(2, 2), N(2, 4), N(16, 3), N(16, 2), None, None, N(2, 4), (2, 2, 1), True),
        call(N(2, 3), N(2, 4), N(2, 4), N(16, 3), N(16, 4), N(16), N(16), None, (2,), False),
    ],
    "gru_layer": [
        call(N(5, 3), N(2, 4), N(12, 3), N(12, 4), N(12), N(12), (2, 2, 1), False),
        call(N(5, 3), N(2, 4), N(12, 3), N(12, 4), None, None, (2, 2, 1), True),
    ],
    "rnn_layer": [
        call(N(5, 3), N(2, 4), N(4, 3), N(4, 4), N(4), N(4), (2, 2, 1), False, "tanh"),
        call(N(6, 3), N(2, 4), N(4, 3), N(4, 4), None, None, (2, 2, 2), True, "relu"),
    ],
    # ------------------------------------------------------------ convolution
    "convolve": [
        call(N(2, 3, 7), N(4, 3, 3), N(4), *STEPS_1D),
        call(N(2, 4, 6, 7), N(2, 2, 3, 3), None, *STEPS_2D),
    ],
    "convolution_input_grad": [
        call(N(2, 4, 4), N(4, 3, 3), (2, 3, 7), *STEPS_1D),
        call(N(2, 2, 3, 3), N(2, 2, 3, 3), (2, 4, 6, 7), *STEPS_2D),
    ],
    "convolution_weight_grad": [
        call(N(2, 4, 4), N(2, 3, 7), (4, 3, 3), *STEPS_1D),
        call(N(2, 2, 3, 3), N(2, 4, 6, 7), (2, 2, 3, 3), *STEPS_2D),
    ],
    "convolution": [
        call(N(2, 3, 7), N(4, 3, 3), N(4), (2,), (1,), (1,), False, (0,), 1),
        call(N(2, 3, 7), N(3, 4, 3), N(4), (2,), (1,), (1,), True, (1,), 1),
    ],
    "conv1d": [call(N(2, 3, 8), N(4, 3, 3), N(4), padding="same")],
    "conv2d": [call(N(2, 3, 6, 5), N(4, 3, 3, 2), N(4), stride=2, padding=1)],
    "conv3d": [call(N(1, 2, 3, 4, 3), N(2, 2, 2, 2, 2), N(2))],
    "conv_transpose1d": [call(N(2, 3, 5), N(3, 2, 3), N(2), stride=2, output_padding=1)],
    "conv_transpose2d": [call(N(1, 3, 4, 3), N(3, 2, 3, 2), padding=1, dilation=2)],
    "conv_transpose3d": [call(N(1, 2, 2, 3, 2), N(2, 2, 2, 2, 2), N(2))],
    # ------------------------------------------------------------ windows
    "max_pool_windows": [call(D(2, 5, 6), WINDOWS)],
    "max_pool_windows_indices": [call(D(2, 5, 6), WINDOWS)],
    "max_pool_windows_back": [call(N(2, 3, 3), *POOLED, WINDOWS)],
    "max_pool1d": [call(D(2, 3, 8), 3, 2, 1)],
    "max_pool2d": [call(D(2, 3, 6, 5), 2), call(D(3, 6, 5), 3, 2, 1, 1, True, True)],
    "max_pool3d": [call(D(1, 2, 4, 4, 4), 2)],
    "avg_pool_windows": [call(N(2, 5, 6), WINDOWS), call(N(2, 5, 6), WINDOWS, False)],
    "avg_pool_windows_back": [call(N(2, 3, 3), WINDOWS), call(N(2, 3, 3), WINDOWS, divisor=2)],
    "avg_pool1d": [call(N(2, 3, 8), 3, 2, 1)],
    "avg_pool2d": [call(N(2, 3, 6, 5), 2), call(N(3, 6, 5), 3, 2, 1, True, False)],
    "avg_pool3d": [call(N(1, 2, 4, 4, 4), 2, divisor_override=3)],
    "adaptive_avg_pool1d": [call(N(2, 3, 7), 3)],
    "adaptive_avg_pool2d": [call(N(2, 3, 8, 6), (4, 3)), call(N(3, 7, 6), (3, None))],
    "adaptive_avg_pool3d": [call(N(1, 2, 4, 5, 6), (2, 3, 1))],
    "adaptive_max_parts": [call(D(2, 3, 7), (3,))],
    "adaptive_max_pool1d": [call(D(2, 3, 7), 3)],
    "adaptive_max_pool2d": [call(D(2, 3, 8, 6), (4, 3))],
    "adaptive_max_pool3d": [call(D(1, 2, 4, 5, 6), (2, 3, 1))],
    "fractional_windows": [call(D(2, 3, 6, 6), (2, 2), (3, 4), U(2, 3, 2))],
    "fractional_max_pool2d": [call(D(2, 3, 6, 6), 2, 3, _random_samples=U(2, 3, 2))],
    "fractional_max_pool3d": [call(D(1, 2, 4, 5, 6), 2, (2, 3, 4), _random_samples=U(1, 2, 3))],
    "place_at": [call(N(2, 2, 3), PLACES, (2, 3))],
    "pick_at": [call(N(2, 2, 3), PLACES, 2)],
    "constant_pad_nd": [call(N(3, 4), (1, 2, -1, 0), 1.5)],
    "border_pad": [call(N(2, 3, 4), (2, 1), m) for m in ("reflect", "replicate", "circular")],
    "border_pad_back": [
        call(N(2, 3, 7), (2, 1), m, (2, 3, 4)) for m in ("reflect", "replicate", "circular")
    ],
    "pad": [call(N(3, 4), (1, 2)), call(N(2, 3, 4), (2, 1), "reflect")],
    "resample": [call(N(2, 3, 4, 5), MAPS)],
    "resample_back": [call(N(2, 3, 6, 3), MAPS)],
    "corner_shares": [
        call(N(2, 5, 2), 6, 7, aligned, border, taps)
        for aligned in (False, True)
        for border in (False, True)
        for taps in (4, 1)
    ],
    "blend_points": [call(N(2, 3, 6), I(6, 2, 4, 5), N(2, 4, 5))],
    "blend_points_back": [call(N(2, 3, 5), I(6, 2, 4, 5), N(2, 4, 5), 6)],
    "blend_points_shares": [call(N(2, 3, 5), N(2, 3, 6), I(6, 2, 4, 5))],
    "interpolate": [
        call(N(2, 3, 4), size=7), call(N(2, 3, 4, 5), size=(6, 3), mode="bilinear"),
        call(N(1, 2, 8, 6), scale_factor=0.5, mode="bicubic", antialias=True),
    ],
    "upsample": [call(N(2, 3, 4), size=7)],
    "upsample_nearest": [call(N(2, 3, 4, 5), scale_factor=2)],
    "upsample_bilinear": [call(N(2, 3, 4, 5), scale_factor=2)],
    # ------------------------------------------------------------ normalization
    "batch_norm": [
        call(N(4, 3, 5), N(3, seed=1), N(3, seed=2), None, None, True),
        call(N(4, 3), N(3, seed=1), N(3, seed=2), *(I(9, 2, 3) + 1.5).astype(np.float32), False),
    ],
    "batch_norm_back": [call(N(4, 3, 5), N(4, 3, 5, seed=1), N(3), N(3), U(3), False)],
    "row_norm_back": [
        call(N(3, 4), N(3, 4, seed=1), N(4), N(3), U(3), (4,), True),
        call(N(3, 4), N(3, 4, seed=1), None, None, U(3), (4,), False),
    ],
    "group_norm_back": [call(N(2, 6, 4), N(2, 6, 4, seed=1), 3, N(6), N(6, seed=2), U(6))],
    "layer_norm": [call(N(2, 3, 4), (3, 4), N(3, 4, seed=1), N(3, 4, seed=2)), call(N(2, 4), (4,))],
    "rms_norm": [call(N(2, 3, 4), (4,), N(4, seed=1))],
    "rms_norm_rows": [call(N(2, 3, 4), (3, 4), N(3, 4, seed=1), 0.1)],
    "group_norm": [call(N(2, 6, 4), 3, N(6, seed=1), N(6, seed=2)), call(N(2, 6, 4), 2)],
    # ------------------------------------------------------------ activations
    **{
        name: [call(BENT)]
        for name in (
            *("relu", "relu6", "hardtanh", "leaky_relu", "elu", "selu", "celu", "hardsigmoid"),
            *("hardswish", "silu", "mish", "softplus", "logsigmoid", "shrink_softly", "softshrink"),
            *("hardshrink", "gelu_exact", "gelu_tanh", "gelu", "rrelu"),
        )
    },
    "threshold": [call(BENT, 0.3, 5.0)],
    "prelu_slope": [call(BENT, N(5))],
    "prelu": [call(BENT, N(5)), call(BENT, N(1))],
    "glu": [call(N(3, 4)), call(N(4, 3), 0)],
    "softmax": [call(N(3, 4), 1), call(N(2, 3, 4), 0)],
    "log_softmax": [call(N(3, 4), 1), call(N(2, 3, 4), 0)],
    "softmin": [call(N(3, 4), 1)],
    "softmax_back": [call(N(3, 4), U(3, 4), 1)],
    "log_softmax_back": [call(N(3, 4), -U(3, 4), 1)],
    "logsumexp": [call(N(3, 4), 1), call(N(2, 3, 4), (0, 2), True)],
    # ------------------------------------------------------------ losses
    "mse_loss": [call(N(3, 4), N(3, 4, seed=1), r) for r in ("mean", "sum", "none")],
    "l1_loss": [call(N(3, 4), N(3, 4, seed=1), r) for r in ("mean", "sum", "none")],
    "smooth_l1_loss": [call(N(3, 4), N(3, 4, seed=1), r, 0.7) for r in ("mean", "sum", "none")],
    "huber_loss": [call(N(3, 4), N(3, 4, seed=1), r, 0.7) for r in ("mean", "sum", "none")],
    "squared_error_terms": [call(N(3, 4), N(3, 4, seed=1))],
    "absolute_error_terms": [call(N(3, 4), N(3, 4, seed=1))],
    "smooth_error_terms": [call(N(3, 4), N(3, 4, seed=1), 0.7)],
    "huber_error_terms": [call(N(3, 4), N(3, 4, seed=1), 0.7)],
    "reduced_terms": [
        call(N(3, 4), N(3, 4, seed=1), "squared_error_terms", "mean"),
        call(N(3, 4), N(4, seed=1), "huber_error_terms", "sum", 0.7),
    ],
    "reduced_terms_back": [
        call(N(), N(3, 4), N(3, 4, seed=1), "squared_error_terms", "mean", None, 0),
        call(N(), N(3, 4), N(3, 4, seed=1), "smooth_error_terms", "sum", 0.7, 1),
    ],
    "binary_cross_entropy_terms": [call(U(3, 4), U(3, 4, seed=1))],
    "binary_cross_entropy": [call(U(3, 4), U(3, 4, seed=1))],
    "logistic_loss_terms": [call(N(3, 4), U(3, 4))],
    "binary_cross_entropy_with_logits": [
        call(N(3, 4), U(3, 4)), call(N(3, 4), U(3, 4), None, U(4, seed=2)),
    ],
    "nll_loss": [call(N(4, 5), LABELS), call(N(4, 5, 2), LABELS_2D, reduction="none")],
    "nll_loss_of_classes": [call(N(4, 5), LABELS, ignore_index=2, reduction="sum")],
    "nll_loss_back": [call(N(4), LABELS, None, None, 2, (4, 5))],
    "cross_entropy_of_classes": [
        call(N(4, 5), LABELS), call(N(4, 5, 2), LABELS_2D, label_smoothing=0.2),
        call(N(4, 5), LABELS, ignore_index=2, reduction="none"),
    ],
    "cross_entropy_back": [
        call(N(), N(4, 5), LABELS, WEIGHTS, U(4), np.array(4.0), -100, 0.1),
    ],
    "cross_entropy_loss": [call(N(4, 5), LABELS), call(N(4, 5), U(4, 5))],
    "linear_cross_entropy": [call(N(4, 3), N(5, 3), LABELS, linear_bias=N(5))],
    "class_margins": [
        call(N(4, 5), LABELS), call(N(4, 5), LABELS, None, 2, 0.7, "sum"),
        call(N(4, 5), LABELS, None, 1, 1.0, "none"),
    ],
    "class_margins_back": [call(N(4), N(4, 5), LABELS, WEIGHTS, 2, 0.7, "none")],
    "listed_margins": [call(N(3, 4), LISTS), call(N(3, 4), LISTS, "none")],
    "listed_margins_back": [call(N(), N(3, 4), LISTS, "sum")],
    "targets_weight": [call(N(4, 5), LABELS, None, 2)],
    # ------------------------------------------------------------ rearrangements and distances
    "pixel_shuffle": [call(N(2, 8, 3, 4), 2)],
    "pixel_unshuffle": [call(N(2, 3, 4, 6), 2)],
    "channel_shuffle": [call(N(2, 6, 3), 3)],
    "pdist": [call(N(4, 3)), call(N(4, 3), 1.5)],
    "pairwise_distance": [
        call(N(3, 4), N(3, 4, seed=1)), call(N(3, 4), N(4, seed=1), 1.5, keepdim=True),
    ],
    "cosine_similarity": [call(N(3, 4), N(3, 4, seed=1)), call(N(3, 4), N(4, seed=1), -1)],
    "conv_tbc": [call(N(5, 2, 3), N(3, 3, 4), N(4), 1)],
    # ------------------------------------------------------------ tables and dropout
    "embedding": [call(N(6, 3), I(6, 2, 4))],
    "embedding_back": [call(N(9, 3), I(6, 9), 6, 2, True)],
    "embedding_bags": [
        call(N(6, 3), I(6, 9), np.array([0, 3, 3, 9]), N(9), 2),
        call(N(6, 3), I(6, 9), np.array([0, 3, 3, 9]), mean=True),
    ],
    "embedding_bags_back": [call(N(3, 3), I(6, 9), np.array([0, 3, 3, 9]), N(9), 6, 2)],
    "embedding_bags_factors": [call(N(3, 3), N(6, 3), I(6, 9), np.array([0, 3, 3, 9]), 2)],
    "embedding_share": [call(N(6, 3), I(6, 9), 2, True)],
    "dropout": [call(N(3, 4), 0.3, False), call(N(3, 4), 1.0, True)],
    "feature_dropout": [call(N(3, 4), 0.3, False)],
    "alpha_dropout": [call(N(3, 4), 0.3, False)],
    "feature_alpha_dropout": [call(N(3, 4), 0.3, False)],
    "dropout_noise": [call(N(3, 4), 1.0, False)],
    "alpha_noise": [call(N(3, 4), 1.0, False)],
}  # fmt: skip
