"""Every op that programs call shows in its docstring how it is called; `test_docs` runs these."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

import flambeau.ops
from flambeau.ops.record import REGISTRY, Op
from tests.house.test_floors import show

OPS = Path(flambeau.ops.__file__).parent
NAMESPACES = ("linalg_", "fft_", "special_")

# Ops that only other ops call: PyTorch has no function or method of their names.
INTERNAL = frozenset(
    """
    absolute_error_terms adaptive_max_parts advanced_index advanced_index_back alpha_noise
    as_strided_back at_least_1d at_least_2d at_least_3d avg_pool_windows avg_pool_windows_back
    basic_index basic_index_back batch_norm_back bernoulli_of binary_cross_entropy_terms
    blend_points blend_points_back blend_points_shares block_diag_of border_pad border_pad_back
    causal_scores clamp_both clamp_float class_margins class_margins_back contiguous_copy
    counted_from_start
    convolution_input_grad convolution_weight_grad convolve copy corner_shares cross_entropy_back
    cross_entropy_loss cross_entropy_of_classes cross_product diagonal_backward differences div_floor div_trunc dropout_noise
    embedding_back embedding_bags embedding_bags_back embedding_bags_factors embedding_share
    emptied euclidean_distances fft_c2c fft_c2r fft_r2c fill_number fill_tensor floating
    fractional_windows fused_attention gather_back gaussian_like gelu_exact gelu_tanh
    group_norm_back gru_layer histogram_edges histogram_grid huber_error_terms identity
    index_fill_number index_fill_tensor index_select_back isin_of lerp_each lerp_far lerp_near listed_margins
    listed_margins_back log_softmax_back logistic_loss_terms logit_of lstm_layer
    masked_fill_number masked_fill_tensor masked_scatter_back masked_select_back max_all max_dim
    max_pool_windows max_pool_windows_back max_pool_windows_indices median_dim min_all min_dim
    nanmedian_dim nll_loss_back nll_loss_of_classes nonzero_rows one_hot_rows
    outer_product pick_at pivot_matrix place_at
    places_of polygamma_of prelu_slope pseudo_inverse put_along put_zeros rdivide reduced_terms
    reduced_terms_back repeated_indices resample resample_back rfloor_divide rms_norm_rows
    rnn_layer row_norm_back rpow rremainder scatter_number scatter_tensor search select_where
    shrink_softly slice_of smooth_error_terms softmax_back sort_along split_at
    squared_error_terms std_of take_back targets_weight to_dtype unfold_back unique_of unique_runs
    unravel_places var_of view_as_dtype view_as_size with_part without zero
    """.split()
)


def declared() -> dict[str, list[Op]]:
    """The library's ops by the file that declares them."""
    found = defaultdict(list)
    for op in REGISTRY.values():
        path = Path(op.where.rpartition(":")[0])
        if path.parent == OPS:
            found[path.name].append(op)
    return dict(found)


def is_internal(op: Op) -> bool:
    return op.name in INTERNAL or op.name.startswith("_")


def short_name(name: str) -> str:
    """What stands behind the dot where a program calls the op."""
    prefix = next((p for p in NAMESPACES if name.startswith(p)), "")
    return name.removeprefix(prefix)


def silent(ops: list[Op]) -> list[str]:
    """Those of `ops` that no example in their own docstring calls."""
    return [
        op.name
        for op in ops
        if not any(
            re.search(rf"\.{short_name(name)}\(", line)
            for name in (op.name, *op.aliases)
            for line in op.doc.splitlines()
            if line.startswith((">>> ", "... "))
        )
    ]


@pytest.mark.parametrize("name", sorted(declared()))
def test_each_public_op_has_an_example(name):
    findings = silent([op for op in declared()[name] if not is_internal(op)])
    assert not findings, show(findings)


@pytest.mark.parametrize(
    "doc",
    [
        "Add.",
        "Add.\n\n>>> flambeau.ones(1) + 2\ntensor([3.])",
        "Add.\n\n>>> flambeau.add_more(1, 2)\n3",
        "`flambeau.add(1, 2)` adds.",
    ],
)
def test_an_op_without_an_example_is_found(doc):
    assert silent([replace(REGISTRY["add"], doc=doc)]) == ["add"]


def test_the_internal_ops_are_those_that_pytorch_lacks():
    torch = pytest.importorskip("torch")
    places = (torch, torch.nn.functional, torch.linalg, torch.fft, torch.special, torch.Tensor)

    def is_public(name):
        return any(hasattr(place, name) for place in places) or any(
            name.startswith(prefix)
            and hasattr(getattr(torch, prefix[:-1]), name.removeprefix(prefix))
            for prefix in NAMESPACES
        )

    ops = [op for some in declared().values() for op in some if not op.name.startswith("_")]
    lacking = {op.name for op in ops if not any(map(is_public, (op.name, *op.aliases)))}
    assert lacking == INTERNAL
