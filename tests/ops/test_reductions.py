"""Sums, means, extrema, norms, quantiles and counts, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compare import Case, agree, case, distinct, integers, normal
from tests.ops.samples import cases_of
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script

FOLDS = "sum mean prod nansum amax amin any all".split()
UNDIFFERENTIATED = {"bincount", "histogram"}


@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", cases_of("reductions", "extrema", "statistics"))
def test_value_and_two_gradients(made: Case, layout: str) -> None:
    if made.path == "histogram":
        agree_on_script(lambda L: list(L.histogram(L.from_numpy(made.args[0]), made.args[1])))
    else:
        agree(made, layout=layout)


@pytest.mark.parametrize("dtype", "bool uint8 int8 int32 int64".split())
@pytest.mark.parametrize("name", ["sum", "prod", "any", "all", "amax", "max", "argmax", "cumsum"])
def test_integers(name: str, dtype: str) -> None:
    def script(L):
        x = L.from_numpy(integers(2, 3, 4)).to(getattr(L, dtype))
        if name == "argmax":
            return x.int().argmax(1) if dtype == "bool" else x.argmax(1)
        return getattr(x, name)(0) if name == "cumsum" else [getattr(x, name)()]

    agree_on_script(script)


@pytest.mark.parametrize("name", FOLDS)
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), ()])
def test_without_elements(name: str, shape: tuple[int, ...]) -> None:
    def script(L):
        found = []
        for dim in [None, 0] if len(shape) < 2 else [None, 0, 1]:
            try:
                x = L.zeros(shape)
                found.append(getattr(x, name)() if dim is None else getattr(x, name)(dim))
            except (RuntimeError, IndexError) as error:
                found.append(type(error).__name__)
        return found

    agree_on_script(script)


@pytest.mark.parametrize("name", ["max", "min", "median", "nanmedian", "amax", "argmax", "argmin",
                                  "sum", "nansum", "nanmean", "aminmax", "cummax"])  # fmt: skip
def test_nan(name: str) -> None:
    def script(L):
        nan, inf = float("nan"), float("inf")
        x = L.tensor([[1.0, nan, 3.0], [nan, nan, nan], [-inf, 2.0, inf]])
        found = [getattr(x, name)(dim=1)]
        if name not in ("cummax",):
            found.append(getattr(x, name)())
        return [list(f) if isinstance(f, tuple) else f for f in found]

    agree_on_script(script)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sums_in_single(dtype: str) -> None:
    def script(L):
        x = L.from_numpy(np.abs(normal(4000))).to(getattr(L, dtype))
        return [x.sum(), x.mean(), x.std(), x.norm(), x.max(), x.prod(), x.argmax()]

    agree_on_script(script, rtol=1e-2)


def test_numpy_names_of_arguments() -> None:
    def script(L):
        x = L.from_numpy(normal(2, 3))
        return [
            x.sum(axis=0), L.sum(x, axis=1, keepdims=True), x.mean(axis=(0, 1)),
            x.max(axis=1)[0], L.cat([x, x], axis=1), x.argmax(axis=0), L.stack([x, x], axis=2),
            x.std(axis=0), x.squeeze(axis=0), x.unsqueeze(axis=1), x.softmax(axis=1),
        ]  # fmt: skip

    agree_on_script(script)


def test_named_results() -> None:
    def script(L):
        x = L.from_numpy(distinct(3, 4))
        best = x.max(dim=1)
        ranked = L.sort(x, descending=True)
        lowest, highest = x.aminmax(dim=0)
        return [
            best.values, best.indices, ranked.values, ranked.indices, x.topk(2).values,
            x.median(0).indices, x.mode(1).values, x.kthvalue(2).values, lowest, highest,
            type(best).__name__, type(ranked).__name__, L.aminmax(x).max,
        ]  # fmt: skip

    agree_on_script(script)


def test_sum_in_another_dtype() -> None:
    def script(L):
        x = L.tensor([0.6, 0.7, 0.8], requires_grad=True)
        y = x.sum(dtype=L.float64)
        y.backward()
        i = L.tensor([100, 100], dtype=L.int8)
        return [y, x.grad, i.sum(), i.sum(dtype=L.int8), i.prod(dtype=L.float32), x.mean(
            dtype=L.float64)]  # fmt: skip

    agree_on_script(script)


@pytest.mark.parametrize("unbiased", [True, False])
def test_variance_by_position(unbiased: bool) -> None:
    def script(L):
        x = L.from_numpy(normal(3, 4)).requires_grad_()
        y = [x.var(unbiased), x.std(unbiased), x.var(1, unbiased), x.std((0, 1), unbiased, True)]
        sum(v.sum() for v in y).backward()
        z = L.from_numpy(normal(3, 4) + 1j * normal(3, 4, seed=3))
        return [*y, x.grad, z.var(), z.std(1), *L.var_mean(x, unbiased=unbiased)]

    agree_on_script(script)


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, float("inf"), -float("inf"), -1])
def test_norms(p: float) -> None:
    made = case("linalg.vector_norm", normal(3, 4), p, 1).values[0]
    agree(made, order=1)


def test_norm_of_zeros_has_zero_gradient() -> None:
    def script(L):
        found = []
        for p in (1, 2, 3, float("inf")):
            x = L.zeros(2, 3, requires_grad=True)
            x.norm(p).backward()
            found.append(x.grad)
        return found

    agree_on_script(script)


@pytest.mark.parametrize("how", ["linear", "lower", "higher", "nearest", "midpoint"])
def test_quantiles(how: str) -> None:
    def script(L):
        x = L.from_numpy(distinct(4, 5)).clone()
        x[1, 2] = float("nan")
        q = L.tensor([0.0, 0.25, 0.6, 1.0]).double()
        return [
            f(x, q, dim, keepdim, interpolation=how)
            for f in (L.quantile, L.nanquantile)
            for dim in (None, 0, 1)
            for keepdim in (False, True)
        ]

    agree_on_script(script)


def test_products_with_zeros_have_gradients() -> None:
    def script(L):
        found = []
        for values in ([1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]):
            x = L.tensor(values, dtype=L.float64, requires_grad=True)
            (g,) = L.autograd.grad(x.prod(), x, create_graph=True)
            (h,) = L.autograd.grad((g * L.tensor([1.0, 2.0, 4.0]).double()).sum(), x)
            found += [g, h]
        return found

    agree_on_script(script)


REFUSED = [
    lambda L: L.ones(2, 3).sum(2),
    lambda L: L.ones(2, 3).sum((0, 0)),
    lambda L: L.tensor([1, 2]).mean(),
    lambda L: L.zeros(0).max(),
    lambda L: L.zeros(0, 2).max(0),
    lambda L: L.zeros(0).argmax(),
    lambda L: L.ones(3).kthvalue(4),
    lambda L: L.tensor([1, 2]).std(),
    lambda L: L.quantile(L.ones(3), 1.5),
    lambda L: L.quantile(L.ones(3), 0.5, interpolation="cubic"),
    lambda L: L.bincount(L.tensor([-1, 2])),
    lambda L: L.histc(L.ones(3), bins=0),
    lambda L: L.linalg.vector_norm(L.zeros(0), float("inf")),
    lambda L: L.ones(2).sum(dim="a"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])
