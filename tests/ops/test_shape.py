"""Views, joins, splits and other arrangements, against PyTorch."""

from __future__ import annotations

import pytest

from tests.ops.compare import Case, agree, normal
from tests.ops.samples import cases_of
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script


@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", cases_of("shape", "joining", "arrangement", "diagonals"))
def test_value_and_two_gradients(made: Case, layout: str) -> None:
    if layout == "reversed" and made.path == "as_strided":
        pytest.skip("looks at the memory itself")
    if made.path == "as_strided_scatter":  # PyTorch's gradient of the input is not the slope
        agree_on_script(lambda L: L.as_strided_scatter(L.arange(12.0).view(3, 4), L.zeros(2, 2),
                                                       (2, 2), (1, 2), 1))  # fmt: skip
        return
    agree(made, layout=layout)


def test_methods_take_sizes_one_by_one() -> None:
    def script(L):
        x = L.arange(24).reshape(2, 3, 4)
        return [
            x.view(6, 4), x.view((4, 6)), x.view(-1), x.reshape(3, 8), x.permute(2, 0, 1),
            x.permute((2, 0, 1)), x.expand(5, 2, 3, 4), x.repeat(1, 2, 1), x.tile(2, 1, 1),
            x.flip(0, 1), x.flip([0]), x.view(size=(24,)), x.reshape(shape=(24,)),
            x.sum_to_size(3, 1), x.split(2, 1), x.chunk(2, -1), x.unbind(1), x.view_as(L.ones(24)),
        ]  # fmt: skip

    agree_on_script(script)


def test_transposes_as_attributes() -> None:
    def script(L):
        x = L.arange(24).reshape(2, 3, 4)
        z = L.tensor([[1 + 1j, 2], [3, 4 - 2j]])
        return [x[0].T, x.mT, x[0].mT, x[0].H, x.mH, z.H, z.mH, z.adjoint(), x.T.shape, x[0, 0].t()]

    agree_on_script(script)


def test_views_share_memory() -> None:
    def script(L):
        x = L.zeros(4, 6)
        x.view(24)[3] = 1
        x.t()[2, 1] = 2
        x.reshape(2, 12)[1, 11] = 3
        x.diagonal().fill_(4)
        x.unbind(1)[5].add_(5)
        x.narrow(0, 1, 2).mul_(2)
        x.unfold(1, 2, 2)[0, 1].sub_(7)
        x.select(1, 4)[:] = 8
        x.squeeze().unsqueeze(0)[0, 3, 3] = 9
        x.as_strided((2,), (7,), 8)[:] = -1
        x.permute(1, 0)[0] += 0.5
        x.movedim(0, 1)[1, 3] = 6
        x.chunk(2)[1].mul_(10)
        return x

    agree_on_script(script)


def test_expanded_memory_cannot_be_written() -> None:
    def script(L):
        x = L.zeros(3, 1).expand(3, 4)
        x.add_(1)

    FAILING.add(script)
    agree_on_script(script)


def test_in_place_views() -> None:
    def script(L):
        found = []
        for change in (
            lambda x: x.t_(), lambda x: x.transpose_(0, 1), lambda x: x.unsqueeze_(1),
            lambda x: x.unsqueeze_(0).squeeze_(0), lambda x: x.swapaxes_(0, 1),
        ):  # fmt: skip
            leaf = L.arange(6.0).reshape(2, 3).requires_grad_()
            x = leaf * 2
            change(x)
            (x * x).sum().backward()
            found += [x, x.shape, leaf.grad]
        return found

    agree_on_script(script)


def test_reading_memory_as_another_type() -> None:
    def script(L):
        x = L.tensor([[1.0, -2.0], [0.5, 3.0]])
        return [
            x.view(L.int32), x.view(L.int16), x.view(L.uint8).view(L.float32), x.view(L.float64),
            x.view(dtype=L.int32),
        ]  # fmt: skip

    agree_on_script(script)


def test_dtypes_join() -> None:
    def script(L):
        a, b, c = L.ones(2), L.ones(2, dtype=L.int64), L.ones(2, dtype=L.float64)
        return [L.cat([a, b]), L.cat([a, c]), L.stack([b, c]), L.cat([b, L.ones(1).bool()]),
                L.cat([L.zeros(0), L.ones(2, 3)]), L.hstack([a, b])]  # fmt: skip

    agree_on_script(script)


def test_gradients_of_some_parts_only() -> None:
    def script(L):
        x = L.from_numpy(normal(6, 2)).requires_grad_()
        a, _, c = x.split(2)
        (a.sum() * 2 + c.prod()).backward()
        first = x.grad.clone()
        y = x.unbind(0)[3] * x[-1]
        y.sum().backward()
        return [first, x.grad]

    agree_on_script(script)


def test_zero_sized() -> None:
    def script(L):
        x = L.zeros(0, 3)
        return [
            x.t(), x.reshape(3, 0), x.flatten(), x.split(1), x.chunk(3, 1), L.cat([x, x]),
            L.stack([x, x]), x.repeat(2, 2), x.roll(1, 1), x.flip(0), x.tril(), x.unsqueeze(0),
            x.expand(2, 0, 3), x.view(3, 0), x.unbind(1),
        ]  # fmt: skip

    agree_on_script(script)


def test_copies_of_views() -> None:
    def script(L):
        x = L.arange(12.0).reshape(3, 4)
        y = [L.permute_copy(x, (1, 0)), L.t_copy(x), *L.unbind_copy(x, 0), L.diagonal_copy(x)]
        for part in y:
            part.zero_()
        return [x, *y]

    agree_on_script(script)


def test_broadcast_shapes() -> None:
    agree_on_script(lambda L: list(L.broadcast_shapes((2, 1), (3,), (1, 1, 1), 3)))


REFUSED = [
    lambda L: L.ones(2, 3).view(4),
    lambda L: L.ones(2, 3).t().view(6),
    lambda L: L.ones(2, 3).reshape(-1, -1),
    lambda L: L.ones(2, 3).reshape(4, -1),
    lambda L: L.ones(2, 3).permute(0, 0),
    lambda L: L.ones(2, 3).permute(0),
    lambda L: L.ones(2, 3).transpose(0, 2),
    lambda L: L.ones(2, 3).expand(4, 3),
    lambda L: L.ones(2, 3).expand(3),
    lambda L: L.ones(2, 3, 4).t(),
    lambda L: L.ones(2, 3).squeeze(5),
    lambda L: L.cat([L.ones(2, 3), L.ones(2, 4)]),
    lambda L: L.cat([L.ones(2, 3), L.ones(3)]),
    lambda L: L.stack([]),
    lambda L: L.cat(L.ones(2, 2)),
    lambda L: L.stack([L.ones(2), L.ones(3)]),
    lambda L: L.ones(5).split([2, 2]),
    lambda L: L.ones(5).split(-1),
    lambda L: L.ones(5).chunk(0),
    lambda L: L.ones(()).unbind(),
    lambda L: L.ones(5).narrow(0, 3, 3),
    lambda L: L.ones(5).unfold(0, 6, 1),
    lambda L: L.ones(5, 2).repeat(2),
    lambda L: L.ones(2, 3).roll((1, 2), 0),
    lambda L: L.diag(L.ones(2, 2, 2)),
    lambda L: L.trace(L.ones(3)),
    lambda L: L.tril(L.ones(3)),
    lambda L: L.ones(2, 3).diagonal(0, 0, 0),
    lambda L: L.ones(2, 3).flatten(1, 0),
    lambda L: L.ones(2, 3).unflatten(1, (2, 2)),
    lambda L: L.ones(2, 3).movedim((0, 1), 0),
    lambda L: L.meshgrid(L.ones(2, 2), indexing="ij"),
    lambda L: L.broadcast_shapes((2,), (3,)),
    lambda L: L.ones(2).select(0, 2),
    lambda L: L.as_strided(L.ones(4), (3, 3), (2, 2)),
    lambda L: L.ones(3).view(L.float64),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])
