"""Calls at the edges of what ops take, by field: the answers and the refusals are PyTorch's."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau as fl  # noqa: E402
from tests.ops.fuzz_compare import differs  # noqa: E402

INF, NAN = float("inf"), float("nan")


def some(L, kind, *shape):
    return L.ones(shape or (2,), dtype=getattr(L, kind))


CASES = {
    # arithmetic
    "a negative value of bytes": lambda L: L.addcmul(*[some(L, "uint8")] * 3, value=-1),
    "a negative alpha of bytes": lambda L: L.add(*[some(L, "uint8")] * 2, alpha=-1),
    "a negative beta of bytes": lambda L: L.addmm(*[some(L, "uint8", 2, 2)] * 3, beta=-1, alpha=-2),
    "a quotient of integers": lambda L: L.addcdiv(L.ones(1), L.tensor([1]), L.tensor([2])),
    "a quotient of integers in place": lambda L: L.ones(1).addcdiv_(L.tensor([1]), L.tensor([2])),
    "a quotient of an integer": lambda L: L.addcdiv(L.ones(1), L.ones(1), L.tensor([2])),
    "not in place": lambda L: L.ones(2).bitwise_not_(),
    "and in place": lambda L: L.ones(2).bitwise_and_(L.ones(2)),
    "or of a number in place": lambda L: L.ones(2).__ior__(1),
    "shift in place": lambda L: L.ones(2).bitwise_left_shift_(1),
    "gcd in place": lambda L: L.ones(2).gcd_(L.ones(2)),
    "frexp of complex": lambda L: L.frexp(L.tensor([1j])),
    "isin of truth values": lambda L: L.isin(L.tensor([True]), L.tensor([1.0])),
    "bessel of complex": lambda L: L.special.modified_bessel_i0(L.tensor([1j])),
    "degree inf": lambda L: L.special.chebyshev_polynomial_t(L.tensor(0.5), L.tensor(INF)),
    "degree nan": lambda L: L.special.hermite_polynomial_h(L.tensor(0.5), L.tensor(NAN)),
    "slope at infinities": lambda L: L.gradient(L.tensor([INF, 1.0, 2.0, INF, -1.0]))[0],
    "slope with spacing": lambda L: L.gradient(L.tensor([1.0, 2.0, INF, 3.0]), spacing=2.0)[0],
    "slope of bytes": lambda L: L.gradient(some(L, "uint8", 3)),
    "slope of a number": lambda L: L.gradient(L.tensor(1.0), dim=0),
    # activations and losses
    "gelu of integers": lambda L: L.nn.functional.gelu(L.tensor([2])),
    "gelu of truth values": lambda L: L.nn.functional.gelu(L.tensor([True]), approximate="tanh"),
    "hardtanh of bytes": lambda L: L.nn.functional.hardtanh(some(L, "uint8")),
    "hardtanh of bytes above 0": lambda L: L.nn.functional.hardtanh(some(L, "uint8"), 0, 1),
    "glu of complex": lambda L: L.nn.functional.glu(some(L, "complex64")),
    "mse of bytes": lambda L: L.nn.functional.mse_loss(some(L, "uint8"), L.zeros(2)),
    "mse of integers": lambda L: L.nn.functional.mse_loss(some(L, "int64"), some(L, "int64")),
    "huber of integers": lambda L: L.nn.functional.huber_loss(*[some(L, "int64")] * 2),
    "smooth l1 of integers": lambda L: L.nn.functional.smooth_l1_loss(*[some(L, "int64")] * 2),
    "smooth l1 of complex": lambda L: L.nn.functional.smooth_l1_loss(*[some(L, "complex64")] * 2),
    "a weight that is too wide": lambda L: L.nn.functional.binary_cross_entropy(
        L.ones(2, 1), L.ones(2, 1), weight=L.ones(2)
    ),
    "a pos_weight that is too wide": lambda L: L.nn.functional.binary_cross_entropy_with_logits(
        L.ones(2, 1), L.ones(2, 1), pos_weight=L.ones(2)
    ),
    "a target that is no probability": lambda L: L.nn.functional.binary_cross_entropy(
        L.tensor([0.5]), L.tensor([1.5])
    ),
    "classes of int8": lambda L: L.nn.functional.nll_loss(L.ones(1, 2), some(L, "int8", 1)),
    "classes of uint8": lambda L: L.nn.functional.nll_loss(L.ones(1, 2), some(L, "uint8", 1)),
    # norms and pools
    "a double weight": lambda L: L.nn.functional.layer_norm(L.ones(2), (2,), some(L, "float64")),
    "a weight of a half": lambda L: L.nn.functional.layer_norm(
        some(L, "bfloat16"), (2,), L.ones(2), L.ones(2)
    ),
    "a complex weight": lambda L: L.nn.functional.group_norm(
        some(L, "bfloat16", 2, 2), 2, some(L, "complex64")
    ),
    "max of complex windows": lambda L: L.nn.functional.max_pool1d(some(L, "complex64", 1, 2), 2),
    "mean of complex windows": lambda L: L.nn.functional.avg_pool1d(some(L, "complex64", 1, 2), 2),
    "mean of integer parts": lambda L: L.nn.functional.adaptive_avg_pool2d(
        some(L, "int64", 1, 2, 2), 2
    ),
    "an empty batch of parts": lambda L: L.nn.functional.adaptive_max_pool1d(L.ones(0, 1, 1), 2),
    "attention over nothing": lambda L: L.nn.functional.scaled_dot_product_attention(
        L.ones(1, 2, 0), L.ones(1, 2, 0), L.ones(1, 2, 3)
    ),
    # order
    "median of no integers": lambda L: L.median(L.empty(0, dtype=L.int32)),
    "median of no numbers": lambda L: L.nanmedian(L.empty(0)),
    "runs of nothing": lambda L: L.unique_consecutive(L.empty(4, 0, 4), True, False),
    "nothing of a number": lambda L: L.topk(L.tensor(3), 0),
    "quantile of an empty dimension": lambda L: L.quantile(L.empty(0, 1), 1.0, 1),
    "kthvalue of truth values": lambda L: L.kthvalue(L.tensor([True, False]), 1),
    "mode of complex": lambda L: L.mode(L.tensor([1j, 2j])),
    # indices
    "places beyond the shape": lambda L: L.unravel_index(L.tensor([-1, 7, 1, 9]), (2, 3)),
    "a source of no dimensions": lambda L: L.zeros(3).index_add(0, L.tensor([1]), L.tensor(2.0)),
    "one copied to two": lambda L: L.zeros(3).index_copy(0, L.tensor([1, 2]), L.tensor(2.0)),
    "one copied to one": lambda L: L.zeros(3).index_copy(0, L.tensor([1]), L.tensor(2.0)),
    "a dimension of a number": lambda L: L.tensor(1.0).index_reduce_(
        2, L.tensor(0), L.tensor(2.0), "mean"
    ),
    "taken along no dimension": lambda L: L.take_along_dim(L.tensor(1.0), L.tensor(0), -1),
    # products
    "powers of nan": lambda L: L.vander(L.tensor([NAN, INF, 0.0])),
    "powers of bytes": lambda L: L.vander(some(L, "uint8", 3)),
    "dot of other ranks": lambda L: L.linalg.vecdot(L.ones(3), L.ones(1, 3, 3), dim=-2),
    "dot with a number": lambda L: L.linalg.vecdot(L.ones(1, 3), L.tensor(2.0)),
    "cross of numbers": lambda L: L.linalg.cross(L.tensor(1), L.tensor(1)),
    "tensordot of numbers": lambda L: L.tensordot(L.tensor(1), L.tensor(2), ([-1], [0])),
    "bilinear of numbers": lambda L: L.nn.functional.bilinear(*[L.tensor(1.0)] * 3),
    "addr of wider vectors": lambda L: L.addr(L.ones(1), L.ones(1), some(L, "complex128", 1)),
    "least squares of a vector": lambda L: L.linalg.lstsq(L.ones(1), L.ones(1)),
    "singular values of infinities": lambda L: L.linalg.svdvals(
        L.tensor([[INF, 1.5, 2.0], [1.0, -INF, 0.5], [0.0, 1.0, 2.0]], dtype=L.float64)
    ),
    "condition of infinities": lambda L: L.linalg.cond(L.tensor([[1.0, 2.0], [-INF, 1.0]]), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_edges(name):
    found = []
    for L in (fl, torch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.append(CASES[name](L))
            except Exception as error:
                found.append(error)
    assert not differs(*found)


@pytest.mark.parametrize("name", ["bitwise_not_", "erfinv_", "logical_not_", "neg_"])
def test_a_refused_change_changes_nothing(name):
    x = fl.tensor([True, False]) if name == "neg_" else fl.tensor([1.5, 0.5])
    x = x.int() if name == "erfinv_" else x
    before = x.tolist()
    try:
        getattr(x, name)()
    except (RuntimeError, TypeError, NotImplementedError):
        assert x.tolist() == before
        assert x._version == 0


@pytest.mark.parametrize("shape", [(3, 3), (3, 4), (2, 3, 3), (6, 6)])
def test_factors_of_infinities_end(shape):
    x = fl.arange(1.0, 1 + torch.Size(shape).numel(), dtype=fl.float64).reshape(shape)
    x[..., 0, 0], x[..., 2, 1] = INF, -INF
    assert fl.linalg.svdvals(x).isnan().all()
    assert fl.linalg.pinv(x).shape == (*shape[:-2], shape[-1], shape[-2])
    with pytest.raises(RuntimeError, match="non-finite"):
        fl.linalg.svdvals(x * 0)
