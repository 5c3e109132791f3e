"""Sample calls for every op: what the derived tests of ops run over.

`SAMPLES` maps an op's name to calls ``(args, kwargs)`` in the order of its signature. NumPy arrays
stand for tensors, floating-point ones for tensors that may require a gradient. Values stay away
from ties, poles and edges unless a case is about them, so that finite differences can check any of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flambeau.dtypes import float64, int64
from flambeau.generator import default_generator
from flambeau.ops.record import REGISTRY
from tests.ops.compare import case, distinct, integers, normal, uniform
from tests.ops.fourier_samples import FOURIER
from tests.ops.matrix_samples import MATRICES
from tests.ops.network_samples import NETWORK

Call = tuple[tuple[Any, ...], dict[str, Any]]
SAMPLES: dict[str, list[Call]] = {}

N, U, I, D = normal, uniform, integers, distinct  # noqa: E741
POSITIVE = U(3, 4) + 0.5
BITS = I(2, 3, 4).astype(bool)


def call(*args: Any, **kwargs: Any) -> Call:
    """One sample call."""
    return args, kwargs


def add(names: str, *calls: Call) -> None:
    """Enter the calls for each of several ops."""
    for name in names.split():
        SAMPLES.setdefault(name, []).extend(calls)


def complex_normal(*shape: int) -> Any:
    """Complex numbers with normal parts."""
    return N(*shape) + 1j * N(*shape, seed=1)


Z = complex_normal

# ---------------------------------------------------------------- one tensor
add(
    """neg positive abs sign sgn square exp expm1 exp2 sin cos tan sinh cosh tanh asinh atan sigmoid
    erf erfc i0 i1 sinc ceil floor trunc frac round deg2rad rad2deg floating nan_to_num signbit
    isnan
    isinf isfinite isposinf isneginf isreal logical_not clone""",
    call(N(3, 4)),
    call(N()),
)
add(
    "reciprocal sqrt rsqrt log log1p log2 log10 lgamma digamma",
    call(POSITIVE),
    call(U(2, 0, 3)),
)
add("asin acos atanh erfinv", call(U(3, 4) * 2 - 1), call(U()))
add("acosh", call(U(3, 4) + 1.2))
add("logit_of", call(U(3, 4)))
add("logit", call(U(3, 4)), call(N(3, 4), eps=0.2))
add("polygamma_of", call(POSITIVE, 1), call(POSITIVE, 3))
add("polygamma", call(0, POSITIVE), call(2, POSITIVE))
add("round", call(N(3, 4) * 10, decimals=1), call(N(3, 4) * 100, decimals=-1))
add("frexp", call(N(3, 4)))
add("bitwise_not", call(I(50, 3, 4)), call(BITS))
add("neg abs exp sin sqrt square reciprocal tanh sigmoid log sgn", call(Z(3, 4)))
add("real imag conj angle view_as_real resolve_conj", call(Z(3, 4)))
add("real conj angle resolve_conj", call(N(3, 4)))
add("view_as_complex", call(N(3, 2)))
add("contiguous_copy", call(N(3, 4)))
add("complex", call(N(3, 4), N(4)))
add("polar", call(POSITIVE, N(3, 4)))

# ---------------------------------------------------------------- two and three tensors
add(
    """add sub rsub mul maximum minimum fmax fmin eq ne lt le gt ge logical_and logical_or
    logical_xor nextafter copysign logaddexp logaddexp2 hypot atan2""",
    call(N(3, 4), N(3, 4, seed=1)),
    call(N(3, 1), N(4, seed=1)),
)
add("add sub", call(N(3, 4), N(4), alpha=2.5))
add("add sub mul true_divide eq lt", call(N(3, 4), 1.5), call(I(9, 3), 2))
add("true_divide rdivide div", call(N(3, 4), POSITIVE), call(POSITIVE, 2.0))
add("div", call(N(3, 4), POSITIVE, rounding_mode="floor"))
add("div", call(I(90, 4), I(9, 4) + 1, rounding_mode="trunc"))
add("div_floor div_trunc remainder fmod", call(N(3, 4) * 5, POSITIVE))
add("floor_divide", call(I(90, 3, 4), I(9, 4) + 1))
add("rfloor_divide rremainder", call(POSITIVE, N(3, 4) * 5))
add("pow", call(POSITIVE, N(3, 4)), call(N(3, 4), 3), call(POSITIVE, -1.5), call(2.0, N(3)))
add("rpow", call(N(3, 4), POSITIVE))
add("float_power", call(POSITIVE, 2.5), call(POSITIVE, N(4)))
add("addcmul", call(N(3, 4), N(3, 1), N(4), value=0.5))
add("addcdiv", call(N(3, 4), N(3, 1), U(4) + 0.5, value=0.5))
add("lerp", call(N(3, 4), N(3, 4, seed=1), 0.3), call(N(3), N(3, seed=1), U(3)))
add("lerp_near lerp_far", call(N(3, 4), N(3, 1, seed=1), 0.3), call(N(3), N(3, seed=1), weight=1.2))
add("lerp_each", call(N(3, 4), N(3, 1, seed=1), U(4)), call(N(3), N(3, seed=1), 0.7))
add("clamp", call(N(3, 4), -0.5, 0.7), call(N(3, 4), min=0.1), call(N(3, 4), max=N(4)))
add("clamp_min clamp_max", call(N(3, 4), 0.2), call(N(3, 4), N(4)))
add("clamp_float", call(N(3, 4), -0.5, 0.7))
add("clamp_both", call(N(3, 4), N(4) - 2, N(4) + 1))
add("xlogy xlog1py", call(N(3, 4), POSITIVE))
add("ldexp", call(N(3, 4), N(4)))
add("heaviside", call(I(3, 3, 4) - 1, I(9, 4)))
add("gcd lcm", call(I(60, 3, 4), I(40, 4) + 1))
add("isclose allclose", call(N(3, 4), N(3, 4) + 1e-7), call(N(3), N(3) + 1, atol=2.0))
add("equal", call(N(3, 4), N(3, 4)), call(N(3), N(4)))
add("isin", call(I(9, 3, 4), I(9, 3)), call(I(9, 3, 4), 4, invert=True))
add("isin_of", call(I(9, 3, 4), I(9, 3)))
add("bitwise_and bitwise_or bitwise_xor", call(I(60, 3, 4), I(60, 4)), call(BITS, BITS[0]))
add("hash_tensor", call(N(3, 4)), call(I(9, 3, 4), 1, keepdim=True), call(BITS, (0, 1)))
add("bitwise_left_shift bitwise_right_shift", call(I(60, 3, 4), I(5, 4)))

# ---------------------------------------------------------------- reductions
add(
    "sum mean nansum nanmean prod any all amax amin",
    call(N(3, 4)),
    call(D(2, 3, 4), 1),
    call(D(2, 3, 4), -1, True),
)
add("sum mean amax amin any all", call(D(2, 3, 4), (0, 2)))
add("sum mean", call(N(3, 4), dtype=None))
add("count_nonzero", call(I(2, 3, 4)), call(I(2, 3, 4), 1))
add("aminmax", call(D(3, 4)), call(D(3, 4), dim=1, keepdim=True))
add("max_all min_all", call(D(3, 4)))
add("max_dim min_dim median_dim nanmedian_dim", call(D(3, 5), 1), call(D(3, 5), 0, True))
add("max min", call(D(3, 4)), call(D(3, 4), 1), call(D(3, 4), 0, True), call(D(3, 4), N(4)))
add("argmax argmin", call(D(3, 4)), call(D(3, 4), 1), call(D(3, 4), 0, True))
add("median nanmedian", call(D(3, 5)), call(D(3, 4), 1), call(D(3, 4), 0, True))
add("kthvalue", call(D(3, 5), 2), call(D(3, 5), 3, 0, True))
add("mode", call(I(3, 3, 7).astype(float), 1))
add("var std", call(N(3, 4)), call(N(3, 4), 1), call(N(3, 4), 0, correction=0, keepdim=True))
add("var_mean std_mean", call(N(3, 4), 1))
add("var_of std_of", call(N(3, 4), 1, 1, False))
add("linalg_vector_norm", *(call(N(3, 4), p, 1) for p in (0, 1, 2, 3.5, float("inf"))))
add("norm", call(N(3, 4)), call(N(3, 4), 1, 1), call(N(3, 4), float("inf"), 0, True))
add("dist", call(N(3, 4), N(3, 4, seed=1)), call(N(3, 4), N(4), 1))
add("renorm", call(N(3, 4), 2, 0, 1.0))
add("quantile", call(D(3, 5), 0.3), call(D(3, 5), np.array([0.2, 0.7]), dim=1, keepdim=True))
add("nanquantile", call(D(3, 5), 0.3, dim=0))
add("bincount", call(I(5, 9)), call(I(5, 9), I(9, 9), minlength=7))
add("histc", call(N(20), 5, -2, 2))
add("histogram", call(N(20), 5))
add("histogram", call(N(20), np.linspace(-2, 2, 6), weight=U(20), density=True))
add("histogram_edges", call(N(20), 5))
add("cov corrcoef", call(N(3, 6)))

# ---------------------------------------------------------------- scans
add("cumsum cumprod logcumsumexp", call(N(3, 4), 0), call(N(3, 4), -1))
add("cumprod", call(np.array([[1.0, 0.0, 2.0, 3.0], [0.0, 2.0, 0.0, 1.0]]), 1))
add("cummax cummin", call(D(3, 4), 1))
add("differences", call(N(3, 5), -1), call(N(3, 5), -2))
add("diff", call(N(3, 5)), call(N(3, 5), 2, 0), call(N(3, 5), prepend=N(3, 1), append=N(3, 2)))
add("trapezoid cumulative_trapezoid", call(N(3, 5)), call(N(3, 5), N(5)), call(N(3, 5), dx=2.0))

# ---------------------------------------------------------------- shapes
add("basic_index", call(N(3, 4), (slice(1, None), None, 2)))
add("basic_index_back", call(N(2, 4), (slice(1, None),), (3, 4)))
add("reshape view_as_size", call(N(3, 4), (2, -1)), call(N(3, 4), (12,)))
add("view_as reshape_as", call(N(3, 4), N(6, 2)))
add("flatten", call(N(2, 3, 4)), call(N(2, 3, 4), 1))
add("unflatten", call(N(2, 6), 1, (2, -1)))
add("ravel", call(N(2, 3, 4)))
add("squeeze", call(N(1, 3, 1)), call(N(1, 3, 1), 0), call(N(1, 3, 1), (0, 2)))
add("unsqueeze", call(N(3, 4), 1), call(N(3), -1))
add("transpose", call(N(2, 3, 4), 0, -1))
add("t", call(N(3, 4)), call(N(3)))
add("permute", call(N(2, 3, 4), (2, 0, 1)))
add("movedim", call(N(2, 3, 4), 0, 2), call(N(2, 3, 4), (0, 1), (2, 0)))
add("expand broadcast_to", call(N(3, 1), (2, 3, 4)))
add("expand_as", call(N(3, 1), N(3, 4)))
add("broadcast_tensors", call(N(3, 1), N(4)))
add("sum_to_size", call(N(2, 3, 4), (3, 1)))
add("narrow narrow_copy", call(N(3, 5), 1, 1, 3))
add("select", call(N(3, 5), 1, -2))
add("slice_of", call(N(3, 5), 1, 1, 5, 2))
add("unfold", call(N(3, 7), 1, 3, 2))
add("unfold_back", call(N(3, 3, 3), (3, 7), 1, 3, 2))
add("as_strided", call(N(3, 4), (2, 2), (1, 2), 1))
add("as_strided_back", call(N(2, 2), N(3, 4), (2, 2), (1, 2), 1))
add("cat", call([N(2, 3), N(4, 3)]), call([N(2, 3), N(2, 1)], 1))
add("stack", call([N(2, 3), N(2, 3, seed=1)], 1))
add("hstack", call([N(2, 3), N(2, 1)]), call([N(2), N(3)]))
add("vstack", call([N(3), N(2, 3)]))
add("dstack", call([N(2, 3), N(2, 3, seed=1)]))
add("column_stack", call([N(3), N(3, 2)]))
add("at_least_1d at_least_2d at_least_3d", call(N()), call(N(3)), call(N(3, 4)))
add("atleast_1d atleast_2d atleast_3d", call(N()), call(N(3), N()))
add("split_at", call(N(5, 2), [2, 3], 0))
add("split", call(N(5, 2), 2), call(N(2, 5), [1, 4], 1))
add("split_with_sizes", call(N(5, 2), [2, 3]))
add("chunk", call(N(5, 2), 2), call(N(2, 6), 3, 1))
add("tensor_split", call(N(5, 2), 2), call(N(2, 6), (1, 4), 1))
add("hsplit", call(N(3, 4), 2))
add("vsplit", call(N(4, 3), 2))
add("dsplit", call(N(2, 3, 4), 2))
add("unbind", call(N(3, 4)), call(N(3, 4), 1))
add("flip", call(N(2, 3, 4), (0, 2)))
add("fliplr flipud", call(N(3, 4)))
add("roll", call(N(3, 4), 2), call(N(3, 4), (1, -1), (0, 1)))
add("rot90", call(N(3, 4)), call(N(3, 4), 3))
add("repeat tile", call(N(3, 4), (2, 1, 3)))
add("tile", call(N(3, 4), (2,)))
add("repeat_interleave", call(N(3, 4), 2), call(N(3, 4), np.array([1, 0, 2]), 0))
add("repeated_indices", call(np.array([1, 0, 2])))
add("meshgrid", call(N(3), N(2), indexing="ij"), call(N(3), N(2), indexing="xy"))
add("cartesian_prod", call(N(3), N(2)))
add("combinations", call(N(4)), call(N(3), 3, True))
add("block_diag", call(N(2, 3), N(1), N(2, 2)))
add("block_diag_of", call([N(2, 3), N(2, 2)]))
add("diagonal", call(N(3, 4)), call(N(2, 3, 4), 1, 0, 2))
add("diagonal_backward", call(N(3), (3, 4), 0, 0, 1))
add("diag", call(N(3)), call(N(3, 4), 1))
add("diag_embed", call(N(2, 3), -1))
add("diagflat", call(N(2, 2), 1))
add("tril triu", call(N(3, 4)), call(N(2, 3, 3), -1))
add("trace", call(N(3, 3)), call(N(3, 4)))
add("with_part", call(N(3, 4), N(4), (1,)))
add("without", call(N(3, 4), (1,)))
add("select_scatter", call(N(3, 4), N(3), 1, 2))
add("slice_scatter", call(N(3, 4), N(3, 2), 1, 0, 4, 2))
add("diagonal_scatter", call(N(3, 4), N(3)))

# ---------------------------------------------------------------- indexing
ROWS = np.array([0, 2, 2, 1])
PLACES = np.array([[0, 2, 1], [1, 1, 0]])
add("advanced_index", call(N(3, 4), (ROWS,)), call(N(3, 4), (BITS,)), call(N(3, 4), (ROWS, ROWS)))
add("advanced_index_back", call(N(4, 4), (ROWS,), (3, 4)))
add("index_put", call(N(3, 4), (np.array([0, 2]),), N(2, 4)))
add("index_put", call(N(3, 4), (ROWS,), N(4, 4), True))
add("emptied", call(N(3, 4), (np.array([0, 2]),)))
add("gather", call(N(3, 3), 0, PLACES), call(N(3, 3), 1, PLACES))
add("gather_back", call(N(2, 3), 1, PLACES, (3, 3)))
add("put_along", call(N(2, 3), np.array([[0, 2, 1], [1, 3, 0]]), 1, (2, 4)))
add("index_select", call(N(3, 4), 0, ROWS))
add("index_select_back", call(N(4, 4), 0, ROWS, (3, 4)))
add("take", call(N(3, 4), np.array([0, 5, 5, -1])))
add("take_back", call(N(4), np.array([0, 5, 5, -1]), (3, 4)))
add("take_along_dim", call(N(3, 4), PLACES[:, :1].repeat(2, 0)[:3], 1))
add("index_add", call(N(3, 4), 0, ROWS, N(4, 4), alpha=2.0))
add("index_copy", call(N(3, 4), 0, np.array([2, 0]), N(2, 4)))
add("index_fill index_fill_number", call(N(3, 4), 0, np.array([2, 0]), 1.5))
add("index_fill index_fill_tensor", call(N(3, 4), 0, np.array([2, 0, 2]), N()))
add("put", call(N(3, 4), np.array([0, 5, 7]), N(3)), call(N(3, 4), np.array([0, 5, 5]), N(3), True))
add("put_zeros", call(N(3, 4), np.array([0, 5, 7])))
add("scatter scatter_tensor", call(N(3, 3), 1, np.array([[0, 2], [1, 0]]), N(2, 2)))
add("scatter scatter_number", call(N(3, 3), 1, np.array([[0, 2], [1, 0]]), 1.5))
add("scatter_add", call(N(3, 3), 0, PLACES, N(2, 3)), call(N(3, 3), 1, PLACES, N(2, 3)))
add("scatter_reduce", *(call(N(3, 3), 0, PLACES, D(2, 3), r) for r in ("sum", "mean", "prod")))
add("scatter_reduce", *(call(N(3, 3), 0, PLACES, D(2, 3), r) for r in ("amax", "amin")))
add("scatter_reduce", call(N(3, 3), 0, PLACES, D(2, 3), "mean", include_self=False))
add("index_reduce", call(N(3, 4), 0, ROWS, D(4, 4), "prod"))
add("counted_from_start", call(PLACES - 1, 3))
add("one_hot_rows", call(PLACES, 3))
add("select_where where", call(BITS, N(3, 4), N(4)))
add("where", call(BITS, N(3, 4), 0.5), call(BITS, 1.0, N(3, 4)), call(BITS))
add("nonzero nonzero_rows argwhere", call(BITS))
add("nonzero", call(BITS, as_tuple=True))
add("nonzero_static", call(BITS, size=4))
add("masked_select", call(N(3, 4), BITS), call(N(3, 1), BITS))
add("masked_select_back", call(N(int(BITS.sum())), BITS, (3, 4)))
add("masked_fill masked_fill_number", call(N(3, 4), BITS, -2.0))
add("masked_fill masked_fill_tensor", call(N(3, 4), BITS, N()))
add("masked_scatter", call(N(3, 4), BITS, N(12)))
add("masked_scatter_back", call(N(3, 4), BITS, (12,)))

# ---------------------------------------------------------------- sorting
add("sort_along", call(D(3, 5), 1, True))
add("sort", call(D(3, 5)), call(D(3, 5), 0, True))
add("argsort", call(D(3, 5)), call(D(3, 5), 0, True))
add("msort", call(D(3, 5)))
add("topk", call(D(3, 5), 2), call(D(3, 5), 3, 0, False), call(D(40), 3))
add("unique unique_of unique_consecutive unique_runs", call(I(4, 9), None))
for _name in ("unique", "unique_consecutive"):
    SAMPLES[_name] = [call(I(4, 9)), call(I(2, 5, 2), dim=0, return_counts=True)]
add("search", call(np.sort(D(5)), N(4), False, False))
add("searchsorted", call(np.sort(D(2, 5)), N(2, 4)), call(np.sort(D(5)), 0.5, right=True))
add("bucketize", call(N(4), np.sort(D(5))))

# ---------------------------------------------------------------- copies and fills
add("copy", call(N(3, 4), N(4)))
add("fill fill_number", call(N(3, 4), 2.5))
add("fill fill_tensor", call(N(3, 4), N()))
add("zero", call(N(3, 4)))
add("subtract", call(N(3, 4), N(3, 4, seed=1)), call(N(3, 4), 2.0, 0.5))
add("swapaxes", call(N(2, 3, 4), 0, 2))
add("unsafe_split", call(N(5, 3), 2), call(N(5, 3), 2, 1))

# ---------------------------------------------------------------- neural networks
add("_standard_gamma_grad", call(POSITIVE, U(3, 4) * 3))
add("_dirichlet_grad", call(U(3, 4) * 0.9, POSITIVE, POSITIVE + 1.5))
SAMPLES.update(NETWORK)
SAMPLES.update(FOURIER)
SAMPLES.update(MATRICES)


# ---------------------------------------------------------------- special functions
add(
    """special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1
    special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0
    special_modified_bessel_k1 special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1
    special_spherical_bessel_j0""",
    call(I(9, 3, 4) + 1),
)
add("special_i0e special_i1e special_erfcx special_ndtr special_log_ndtr", call(N(3, 4)))
add("special_entr special_ndtri", call(U(3, 4)))
add("special_zeta", call(I(3, 4) + 2, U(3, 4) + 0.5))
for _kind in "tuvw":
    add(f"special_chebyshev_polynomial_{_kind}", call(I(9, 4), I(5, 4)))
    add(f"special_shifted_chebyshev_polynomial_{_kind}", call(I(9, 4), I(5, 4)))
add(
    """special_hermite_polynomial_h special_hermite_polynomial_he special_laguerre_polynomial_l
    special_legendre_polynomial_p""",
    call(I(9, 4), I(5, 4)),
)
add("igamma igammac", call(I(3, 4) + 1.5, POSITIVE[0] * 2))
add("places_of", call(N(2, 3, 4)))
add("mvlgamma", call(POSITIVE + 2, 3))

# ---------------------------------------------------------------- copies of views
add("as_strided_copy", call(N(3, 4), (2, 2), (1, 2), 1))
add("as_strided_scatter", call(N(3, 4), N(2, 2), (2, 2), (1, 2), 1))
add("diagonal_copy t_copy squeeze_copy unbind_copy", call(N(3, 4)))
add("expand_copy", call(N(3, 1), (2, 3, 4)))
add("permute_copy", call(N(2, 3, 4), (2, 0, 1)))
add("split_with_sizes_copy", call(N(5, 2), [2, 3]))
add("transpose_copy", call(N(2, 3, 4), 0, -1))
add("unfold_copy", call(N(3, 7), 1, 3, 2))
add("unsqueeze_copy", call(N(3, 4), 1))
add("view_as_complex_copy", call(N(3, 2)))
add("view_as_real_copy", call(Z(3, 4)))
add("to_dtype", call(N(3, 4), float64))
add("view_as_dtype", call(I(9, 3, 4), int64))
add("bernoulli_of", call(U(3, 4), 1.0, default_generator))

# ---------------------------------------------------------------- grids and random projections
add("gradient", call(N(4, 5)), call(N(4, 5), spacing=0.5, dim=1, edge_order=2))
add("gradient", call(N(4, 5), spacing=[np.array([0, 1, 3, 4]), np.arange(5)]))
add("histogramdd", call(N(20, 2), 3), call(N(20, 2), [3, 2], weight=U(20)))
add("histogram_grid", call(N(20, 2), [np.linspace(-2, 2, 4), np.linspace(-3, 3, 3)]))
add("unravel_index unravel_places", call(I(12, 5), (3, 4)))
add("svd_lowrank pca_lowrank", call(N(5, 2) @ N(2, 4), 2))


def cases_of(*modules: str) -> list[Any]:
    """The samples of all public ops declared in these modules of ``flambeau.ops``, for pytest."""
    torch = pytest.importorskip("torch")
    found = []
    for name, calls in SAMPLES.items():
        declared = Path(REGISTRY[name].where.rpartition(":")[0]).stem
        if declared in modules and hasattr(torch, name):
            found += [case(name, *args, **kwargs) for args, kwargs in calls]
    return found
