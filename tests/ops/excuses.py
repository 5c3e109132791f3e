"""Where the derived tests do not apply, op by op, and why."""

from __future__ import annotations

Excuses = dict[str, str]


def _all(names: str, reason: str) -> Excuses:
    return dict.fromkeys(names.split(), reason)


NO_SAMPLES: Excuses = {
    **_all("gaussian_like", "nothing but random numbers; svd_lowrank is tested with it"),
    **_all("_standard_gamma _sample_dirichlet", "random; tests of distributions are of them"),
    **_all("linalg_eig", "eigenvectors are free to turn, so no loss may follow one of its samples"),
}

NO_META: Excuses = {
    **_all("allclose equal", "the answer is a Python bool"),
    **_all(
        """argwhere bincount masked_select nonzero nonzero_rows unique unique_of unique_consecutive
        unique_runs repeated_indices""",
        "the shape depends on the values",
    ),
    **_all("masked_select_back", "the values fit the mask only as they are"),
    **_all("istft", "whether the windows leave a sample uncovered depends on their values"),
    **_all("where repeat_interleave", "the shape depends on the values in one of the forms"),
    **_all("quantile nanquantile", "the fractions are checked, which takes their values"),
    **_all("binary_cross_entropy", "the probabilities are checked, which takes their values"),
    **_all("linalg_lstsq", "whether there are residuals depends on the rank, that is on values"),
    **_all("combinations pdist", "its indices are made on the CPU"),
}

NO_DERIVATIVE: Excuses = {
    **_all(
        "histogram histogramdd", "the edges of bins follow the input, as in PyTorch, unrecorded"
    ),
}

NOT_A_DERIVATIVE: Excuses = {
    **_all(
        """linalg_cholesky linalg_cholesky_ex linalg_eigh linalg_eigvalsh cholesky_solve
        cholesky_inverse""",
        "reads one triangle, while the gradient is that of the whole symmetric matrix",
    ),
    **_all("mode", "a value counts because it equals others, so it cannot be moved alone"),
    **_all("causal_scores", "differences of infinities say nothing"),
}

NOT_TORCH: Excuses = {
    **_all("_standard_gamma_grad _dirichlet_grad", "PyTorch's are good to three digits only"),
    **_all("svd_lowrank pca_lowrank", "singular vectors are free in sign"),
    **_all(
        "binary_cross_entropy_with_logits mse_loss l1_loss smooth_l1_loss adaptive_max_pool2d "
        "adaptive_max_pool3d",
        "PyTorch's internal function of that name has other parameters",
    ),
}

CONSTANTS: dict[tuple[str, str], str] = {
    ("igamma", "input"): "PyTorch has no derivative for the order",
    ("igammac", "input"): "PyTorch has no derivative for the order",
    ("_standard_gamma_grad", "self"): "PyTorch has no second derivative by the shape",
    ("_dirichlet_grad", "alpha"): "PyTorch has no second derivative by the concentration",
    ("_dirichlet_grad", "total"): "PyTorch has no second derivative by the concentration",
    ("batch_norm", "running_mean"): "a statistic, not an input",
    ("batch_norm", "running_var"): "a statistic, not an input",
    ("max_pool_windows_back", "input"): "only the places of its maxima are read",
    ("max_pool_windows_back", "output"): "only the places of its maxima are read",
    ("fractional_windows", "samples"): "random numbers that place windows",
    ("fractional_max_pool2d", "_random_samples"): "random numbers that place windows",
    ("fractional_max_pool3d", "_random_samples"): "random numbers that place windows",
}
"""Floating-point tensor arguments that have no derivative, by op and name."""

WIDER_HALF: Excuses = {
    **_all("gradient", "PyTorch's half-precision result is float32, because of its step tensor"),
}

COUNTS_TIES: Excuses = {
    **_all("kthvalue topk sort argsort msort", "which of several equal elements is named is free"),
}

NEEDS_A_LAYOUT: Excuses = {
    **_all("as_strided as_strided_copy as_strided_back", "the layout in memory is its subject"),
    **_all(
        "view_as view_as_size view_as_complex view_as_complex_copy",
        "refuses memory that no view can describe",
    ),
}
