"""Where the derived tests do not apply, op by op, and why."""

from __future__ import annotations

Excuses = dict[str, str]


def _all(names: str, reason: str) -> Excuses:
    return dict.fromkeys(names.split(), reason)


NO_SAMPLES: Excuses = {}

NO_META: Excuses = {
    **_all("allclose equal", "the answer is a Python bool"),
    **_all(
        """argwhere bincount masked_select nonzero nonzero_rows unique unique_of unique_consecutive
        unique_runs repeated_indices""",
        "the shape depends on the values",
    ),
    **_all("triangle", "takes no tensor, so nothing tells it the device"),
    **_all("masked_select_back", "the values fit the mask only as they are"),
    **_all("where repeat_interleave", "the shape depends on the values in one of the forms"),
    **_all("quantile", "the fractions are checked, which takes their values"),
    **_all("binary_cross_entropy", "the probabilities are checked, which takes their values"),
    **_all("combinations", "its indices are made on the CPU"),
}

NOT_A_DERIVATIVE: Excuses = {
    **_all("mode", "a value counts because it equals others, so it cannot be moved alone"),
}

NOT_TORCH: Excuses = {
    **_all(
        "binary_cross_entropy_with_logits mse_loss adaptive_max_pool2d adaptive_max_pool3d",
        "PyTorch's internal function of that name has other parameters",
    ),
}

CONSTANTS: dict[tuple[str, str], str] = {
    ("batch_norm", "running_mean"): "a statistic, not an input",
    ("batch_norm", "running_var"): "a statistic, not an input",
    ("max_pool_windows_back", "input"): "only the places of its maxima are read",
    ("fractional_windows", "samples"): "random numbers that place windows",
    ("fractional_max_pool2d", "_random_samples"): "random numbers that place windows",
    ("fractional_max_pool3d", "_random_samples"): "random numbers that place windows",
}
"""Floating-point tensor arguments that have no derivative, by op and name."""

COUNTS_TIES: Excuses = {
    **_all("kthvalue topk sort argsort msort", "which of several equal elements is named is free"),
}

NEEDS_A_LAYOUT: Excuses = {
    **_all("as_strided as_strided_back", "the layout in memory is its subject"),
    **_all("view_as view_as_size view_as_complex", "refuses memory that no view can describe"),
}
