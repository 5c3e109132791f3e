"""Indexing, gathering, scattering and masks, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.ops.compare import Case, agree, case, integers, normal
from tests.ops.samples import cases_of
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", cases_of("indexing", "scattering", "selection"))
def test_value_and_two_gradients(made: Case, layout: str) -> None:
    if made.path == "index_put":  # PyTorch takes indices as tensors only
        pytest.skip("checked below with tensors")
    agree(made, layout=layout)


def test_brackets() -> None:
    def script(L):
        x = L.arange(60).reshape(3, 4, 5)
        i, j = L.tensor([0, 2]), L.tensor([[1], [3]])
        mask = x % 7 == 0
        row = L.tensor([True, False, True])
        keys = [
            0, -1, slice(1, None), (slice(None), 2), (..., 1), (None, 0), (0, None, 1), i, (i, i),
            (i, j), (slice(None), i), (i, slice(None), i), (..., i), (0, i), (i, 0), (i, None, i),
            mask, row, (row, 1), (row, i), (slice(None, None, 2), j), [0, 2], ([0, 2], [1, 3]),
            (slice(0, 0), 1), L.tensor(1), (L.tensor(1), i), True, False, (None, True, 0),
            (Ellipsis, None), (i, slice(1, 3), [0, 1]), np.array([1, 0]), (i, 1, i), range(2),
        ]  # fmt: skip
        return [x[k] for k in keys]

    agree_on_script(script)


def test_assigning() -> None:
    def script(L):
        x = L.zeros(3, 4, 5)
        i, j = L.tensor([0, 2]), L.tensor([1, 3])
        x[0] = 1
        x[:, 1] = L.arange(5)
        x[i, j] = L.tensor([[7.0], [8.0]])
        x[x == 0] = -1
        x[..., i] += 10
        x[L.tensor([True, False, False]), :, 3] = 3.5
        x[2, 1:3, [0, 4]] = L.ones(2, 2)
        x[:, None, 0, 0] = 99
        x[1] = L.full((1, 4, 5), 2.5)
        return x

    agree_on_script(script)


def test_gradients_through_brackets() -> None:
    def script(L):
        x = L.from_numpy(normal(4, 5)).requires_grad_()
        v = L.from_numpy(normal(2)).requires_grad_()
        i = L.tensor([1, 1, 3])
        (x[i].sum() + (x[i, i] ** 2).sum() + x[x > 0].prod() + x[1:, i].sum(0)[0]).backward()
        y = x * 2
        y[1:3, 0] = v
        y[i] = y[i] * v[0]
        y[y < -1] = 0.5
        (y**2).sum().backward()
        return [y, x.grad, v.grad]

    agree_on_script(script)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64"])
def test_repeated_indices_add_up(dtype: str) -> None:
    def script(L):
        kind = getattr(L, dtype)
        index = L.from_numpy(integers(7, 200))
        values = L.from_numpy(integers(5, 200, 3)).to(kind)
        x = L.zeros(7, 3, dtype=kind)
        return [
            x.index_add(0, index, values),
            x.index_put((index,), values, accumulate=True),
            x.scatter_add(0, index[:, None].expand(200, 3), values),
            x.clone().index_put_((index, L.zeros_like(index)), values[:, 0], accumulate=True),
        ]

    agree_on_script(script, rtol=1e-2)


def test_index_put_with_tensors() -> None:
    def script(L):
        i, j = L.tensor([0, 2]), L.tensor([1, 1])
        x = L.from_numpy(normal(3, 4)).requires_grad_()
        v = L.from_numpy(normal(2)).requires_grad_()
        y = L.index_put(x, (i, j), v)
        z = x.index_put((i,), L.tensor(1.5).double(), accumulate=True)
        w = x.index_put((x > 0,), L.tensor(0.0).double())
        (y * z + w).pow(2).sum().backward()
        return [y, z, w, x.grad, v.grad]

    agree_on_script(script)


def test_in_place() -> None:
    def script(L):
        index, mask = L.tensor([[0, 2, 1]]), L.eye(3).bool()
        x = L.from_numpy(normal(3, 3))
        found = [
            x.clone().scatter_(0, index, 5.0),
            x.clone().scatter_(0, index, L.ones(1, 3).double(), reduce="multiply"),
            x.clone().scatter_add_(0, index, L.ones(1, 3).double()),
            x.clone().masked_fill_(mask, -1),
            x.clone().masked_scatter_(mask, L.arange(9.0).double()),
            x.clone().index_fill_(1, L.tensor([0, 2]), 3),
            x.clone().index_copy_(0, L.tensor([1]), L.zeros(1, 3).double()),
            x.clone().index_add_(0, L.tensor([1, 1]), L.ones(2, 3).double(), alpha=2),
            x.clone().put_(L.tensor([0, -1]), L.tensor([7.0, 8.0]).double()),
            x.clone().scatter_reduce_(0, index, L.ones(1, 3).double(), "amax"),
            x.clone().tril_(),
        ]
        leaf = L.from_numpy(normal(3, 3)).requires_grad_()
        y = (leaf * 1).masked_fill_(mask, 0.0).index_fill_(0, L.tensor([1]), 2.0)
        (y * y).sum().backward()
        return [*found, leaf.grad]

    agree_on_script(script)


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_with_a_reduction(reduce: str, include_self: bool) -> None:
    index = np.array([[0, 0, 1, 2, 2, 2], [1, 1, 1, 0, 0, 3]])
    source = np.array([[2.0, 3.0, 0.0, 4.0, 4.0, -1.0], [0.0, 0.0, 5.0, 1.5, -2.5, 7.0]])
    made = case("scatter_reduce", normal(2, 5), 1, index, source, reduce, include_self=include_self)
    agree(made.values[0], order=1)


def test_where() -> None:
    def script(L):
        c, x = L.tensor([True, False, True]), L.tensor([1.0, 2.0, 3.0], requires_grad=True)
        y = L.where(c, x, 0.5)
        (y * y).sum().backward()
        return [
            y, x.grad, L.where(c, 1, 2), L.where(c, 1.0, 2), L.where(c, L.tensor(1), 2.5),
            L.where(c, x.detach().double(), 1), L.where(c), x.detach().where(c, L.zeros(3)),
            L.where(c[:, None], x.detach(), L.tensor([1, 2, 3])), L.where(c, True, x > 2),
        ]  # fmt: skip

    agree_on_script(script)


def test_empty_results() -> None:
    def script(L):
        x = L.ones(3, 2)
        none = L.zeros(0, dtype=L.int64)
        return [
            x[none], x[x > 5], x.index_select(0, none), x.gather(0, L.zeros(0, 2, dtype=L.int64)),
            L.nonzero(x > 5), L.nonzero(L.tensor(3.0)), L.nonzero(x, as_tuple=True),
            x.masked_select(x > 5), x.take(none), L.argwhere(L.tensor(0)), L.zeros(0, 2)[:, 1],
        ]  # fmt: skip

    agree_on_script(script)


REFUSED = [
    lambda L: L.ones(3)[3],
    lambda L: L.ones(3)[L.tensor([3])],
    lambda L: L.ones(3)[0, 0],
    lambda L: L.ones(3)[L.tensor([1.0])],
    lambda L: L.ones(3)[L.tensor([True, False])],
    lambda L: L.ones(3)["a"],
    lambda L: L.ones(3)[::-1],
    lambda L: L.ones(3, 4)[L.tensor([0, 1]), L.tensor([0, 1, 2])],
    lambda L: L.ones(3).__setitem__(slice(None), L.ones(2)),
    lambda L: L.ones(3).__setitem__(L.tensor([5]), 1.0),
    lambda L: L.ones(3).gather(0, L.tensor([3])),
    lambda L: L.ones(3).gather(0, L.tensor([-1])),
    lambda L: L.ones(3).gather(0, L.tensor([[0]])),
    lambda L: L.ones(3).gather(0, L.tensor([0.0])),
    lambda L: L.ones(3).scatter(0, L.tensor([4]), 1.0),
    lambda L: L.ones(3).scatter(0, L.tensor([1]), L.ones(1).double()),
    lambda L: L.ones(3).scatter_reduce(0, L.tensor([1]), L.ones(1), "median"),
    lambda L: L.ones(3).index_select(0, L.tensor([-1])),
    lambda L: L.ones(3).index_add(0, L.tensor([0]), L.ones(2)),
    lambda L: L.ones(3).index_copy(0, L.tensor([9]), L.ones(1)),
    lambda L: L.ones(3).masked_fill(L.ones(3), 1.0),
    lambda L: L.ones(3).masked_fill(L.ones(3).bool(), L.ones(2)),
    lambda L: L.ones(3).masked_select(L.ones(2).bool()),
    lambda L: L.ones(3).masked_scatter(L.ones(3).bool(), L.ones(2)),
    lambda L: L.ones(3).take(L.tensor([3])),
    lambda L: L.where(L.ones(3), 1.0, 2.0),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])


@pytest.mark.parametrize("size", [12, 90])
def test_one_hot(size: int) -> None:
    def script(L):
        classes = L.arange(size * size).reshape(size, size) % 7
        one_hot = L.nn.functional.one_hot
        empty = L.zeros(0, 2, dtype=L.int64)
        return [
            one_hot(classes), one_hot(classes, 9), one_hot(classes.T), one_hot(L.tensor(3), 5),
            one_hot(empty, 4), one_hot(L.zeros(2, dtype=L.int64)),
        ]  # fmt: skip

    agree_on_script(script)


@pytest.mark.parametrize("count", [5, 3000])
def test_places_of_two_indices(count: int) -> None:
    def script(L):
        x = (L.arange(240.0).reshape(8, 6, 5) % 11).requires_grad_()
        i, j, k = L.arange(count) % 16 - 8, L.arange(count) % 6, L.arange(count) % 5 - 5
        found = [x[i, j, k], x[i, j], x[:, j], x[i, :, k], x[:, :, k], x[i[:, None], j[:3]]]
        L.stack([(f * f).sum() for f in found]).sum().backward()
        total = L.zeros(8, 6, 5)
        total.index_put_((i, j, k), L.ones(count), accumulate=True)
        total.index_put_((i, j), L.full((), 2.0), accumulate=True)
        more = L.zeros(8, 6, dtype=L.int32).index_put_((i, j), i.int(), accumulate=True)
        return [*found, x.grad, total, more]

    agree_on_script(script)


@pytest.mark.parametrize("count", [5, 3000])
def test_places_out_of_range_are_refused(count: int) -> None:
    """Wherever a place is named, also where the flattened tensor would have it."""
    inside = flambeau.zeros(count, dtype=flambeau.int64)
    for wrong in (4, -5, 2**40):
        i = inside.clone()
        i[count // 2] = wrong
        for key in ((slice(None), i), (i, inside), (inside, i), (i,)):
            x = flambeau.zeros(4, 4)
            with pytest.raises(IndexError, match="out of bounds"):
                x[key]
            with pytest.raises(IndexError, match="out of bounds"):
                x.index_put_(key, flambeau.ones(()), accumulate=True)
            with pytest.raises(IndexError, match="out of bounds"):
                x[key] = 1.0
        with pytest.raises(RuntimeError, match="out of bounds"):
            flambeau.take_along_dim(flambeau.zeros(4, 4), i[None], 1)
        for d, shape in enumerate([(count, 4), (4, count)]):
            with pytest.raises(IndexError, match="out of bounds"):
                flambeau.zeros(4, 4).index_add_(d, i, flambeau.ones(*shape))


def test_one_place_by_numbers_without_dimensions() -> None:
    def script(L):
        x, v = L.zeros(2, 3, requires_grad=True), L.ones((), requires_grad=True)
        i, j = L.tensor(1), L.tensor(2)
        out = (x * 1).index_put_((i, j), v)
        out = out.index_put((i, j), v, accumulate=True)
        (out * L.arange(6.0).reshape(2, 3)).sum().backward()
        return [out.detach(), x.grad, v.grad, x[i, j].detach()]

    agree_on_script(script)


def test_what_two_turned_indices_select_is_contiguous() -> None:
    i = flambeau.tensor([[0, 1, 2], [2, 1, 0]]).T
    found = flambeau.arange(36).reshape(3, 3, 4)[i, i]
    assert found.is_contiguous()
    assert found[:, 1].tolist() == [[32, 33, 34, 35], [16, 17, 18, 19], [0, 1, 2, 3]]


@pytest.mark.parametrize("size", [6, 80])
def test_along_a_dimension_with_places_from_the_end(size: int) -> None:
    def script(L):
        x = (L.arange(float(size * size)).reshape(size, size) % 13).requires_grad_()
        places = L.arange(size * size).reshape(size, size) % (2 * size) - size
        found = [
            L.take_along_dim(x, places, 0), L.take_along_dim(x, places, 1),
            L.take_along_dim(x, places[:1], 1), L.take_along_dim(x[:1], places, 1),
            L.take_along_dim(x, places.T[:, :3], 1), L.take_along_dim(x, places + size),
        ]  # fmt: skip
        places.fill_(0)  # what backward needs of them was kept
        sum((f * f).sum() for f in found).backward()
        return [*found, x.grad]

    agree_on_script(script)


@pytest.mark.parametrize("size", [6, 80])
def test_numbers_where_a_mask_holds(size: int) -> None:
    def script(L):
        base = L.arange(float(size * size)).reshape(size, size)
        mask = base % 3 == 0
        found = []
        for dtype in (L.float32, L.float64, L.float16, L.bfloat16, L.int64, L.bool):
            for value in (0.0, -2, True):
                x, y, z = (base.to(dtype) for _ in range(3))
                x[mask] = value
                y.masked_fill_(mask, value)
                y.T.masked_fill_(mask[0], value)
                z[1:][mask[1:]] = L.tensor(value)
                found += [x, y, z]
        special = base.clone().masked_fill_(mask, -float("inf")).masked_fill_(~mask, float("nan"))
        graded = (base * 1).requires_grad_() * 2
        graded.masked_fill_(mask, 5.0).sum().backward()
        return [*found, special, graded.detach()]

    agree_on_script(script)


def test_numbers_that_no_mask_puts() -> None:
    for value in (1e300, 2j):
        with pytest.raises(RuntimeError, match="without overflow"):
            flambeau.zeros(3).masked_fill_(flambeau.ones(3, dtype=flambeau.bool), value)
    with pytest.raises(RuntimeError, match="leaf"):
        flambeau.zeros(3, requires_grad=True).masked_fill_(flambeau.ones(3) > 0, 1.0)
