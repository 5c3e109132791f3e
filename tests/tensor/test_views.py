"""Views share memory and strides with their base, as PyTorch's do."""

from __future__ import annotations

import pytest

from tests.oracle import Scripts, agree

scripts = Scripts()

TAKEN = {
    "index": lambda L, t: t[1],
    "negative index": lambda L, t: t[-1, ..., 0],
    "slice": lambda L, t: t[:, 1:3],
    "step": lambda L, t: t[:, ::2, 1::2],
    "none": lambda L, t: t[None, :, None],
    "ellipsis": lambda L, t: t[..., 1],
    "empty slice": lambda L, t: t[1:1],
    "slice beyond the end": lambda L, t: t[1:99, -99:2],
    "view": lambda L, t: t.view(6, 4),
    "view with -1": lambda L, t: t.view(-1, 2),
    "view of zero size": lambda L, t: t[:, :0].view(0, 4, 2),
    "reshape": lambda L, t: t.reshape(3, 8),
    "flatten": lambda L, t: t.flatten(1),
    "unflatten": lambda L, t: t.unflatten(2, (2, 2)),
    "t": lambda L, t: t[0].t(),
    "T": lambda L, t: t[0].T,
    "mT": lambda L, t: t.mT,
    "transpose": lambda L, t: t.transpose(0, 2),
    "swapaxes": lambda L, t: t.swapaxes(0, 1),
    "permute": lambda L, t: t.permute(2, 0, 1),
    "movedim": lambda L, t: t.movedim(0, 2),
    "unsqueeze": lambda L, t: t.unsqueeze(1),
    "squeeze": lambda L, t: t[:, :1].squeeze(),
    "squeeze a dim": lambda L, t: t[:1].squeeze(0),
    "squeeze nothing": lambda L, t: t.squeeze(1),
    "expand": lambda L, t: t[:, :1].expand(2, 5, 4),
    "expand with -1": lambda L, t: t[:, :1].expand(-1, 5, -1),
    "expand new": lambda L, t: t.expand(3, 2, 3, 4),
    "expand_as": lambda L, t: t[:1].expand_as(t),
    "broadcast_to": lambda L, t: L.broadcast_to(t[:1], (2, 3, 4)),
    "narrow": lambda L, t: t.narrow(1, 1, 2),
    "select": lambda L, t: t.select(2, -1),
    "diagonal": lambda L, t: t.diagonal(1, 1, 2),
    "unfold": lambda L, t: t.unfold(2, 2, 1),
    "as_strided": lambda L, t: t.as_strided((2, 2), (1, 3), 4),
    "split": lambda L, t: t.split(2, 1)[1],
    "split sizes": lambda L, t: t.split([1, 3], 2)[1],
    "chunk": lambda L, t: t.chunk(3, 2)[1],
    "unbind": lambda L, t: t.unbind(1)[2],
    "tensor_split": lambda L, t: t.tensor_split(2, 2)[1],
    "hsplit": lambda L, t: t.hsplit(3)[1],
    "detach": lambda L, t: t.detach(),
    "data": lambda L, t: t.data,
    "view_as": lambda L, t: t.view_as(L.ones(4, 6)),
    "real of complex": lambda L, t: L.complex(t, t).real[0],
    "view_as_real": lambda L, t: L.view_as_real(L.complex(t, t)),
    "chained": lambda L, t: t.permute(2, 0, 1)[1:3].transpose(0, 2)[:, 1, None],
    "contiguous of contiguous": lambda L, t: t.contiguous(),
    "to the same": lambda L, t: t.to(t.dtype),
    "view dtype": lambda L, t: t.view(L.int32),
}


@pytest.mark.parametrize("name", TAKEN)
def test_values_strides_and_offset(name):
    def script(L):
        t = L.arange(24.0).reshape(2, 3, 4)
        v = TAKEN[name](L, t)
        place = v.storage_offset() if v.numel() else None
        return v, v.shape, v.stride(), place, v.is_contiguous(), v.dtype

    agree(script)


@pytest.mark.parametrize(
    "name", [n for n in TAKEN if n not in ("unfold", "real of complex", "view_as_real")]
)
def test_writes_are_seen_by_the_base(name):
    def script(L):
        t = L.arange(24.0).reshape(2, 3, 4)
        v = TAKEN[name](L, t)
        if "expand" in name or "broadcast" in name:
            t[:] = 5
        else:
            v.fill_(7)
        return t, v, v._version, t._version

    agree(script)


COPIED = {
    "reshape of a transpose": lambda L, t: t.transpose(0, 2).reshape(6, 4),
    "advanced index": lambda L, t: t[L.tensor([0, 1])],
    "mask": lambda L, t: t[t > 3],
    "list": lambda L, t: t[[0, 0]],
    "clone": lambda L, t: t.clone(),
    "contiguous of a transpose": lambda L, t: t.transpose(0, 1).contiguous(),
    "flatten of a transpose": lambda L, t: t.transpose(0, 1).flatten(),
    "repeat": lambda L, t: t.repeat(1, 1, 2),
    "cast": lambda L, t: t.double(),
}


@pytest.mark.parametrize("name", COPIED)
def test_copies_are_not_seen_by_the_source(name):
    def script(L):
        t = L.arange(24.0).reshape(2, 3, 4)
        v = COPIED[name](L, t)
        v.fill_(7)
        return t, v, v.stride(), v._is_view()

    agree(script)


@scripts.raises
def view_of_wrong_size(L):
    L.ones(2, 3).view(4, 2)


@scripts.raises
def view_that_no_strides_can_describe(L):
    L.ones(2, 3).t().view(6)


@scripts.raises
def two_unknown_sizes(L):
    L.ones(2, 3).view(-1, -1)


@scripts.raises
def unknown_size_that_does_not_divide(L):
    L.ones(2, 3).view(-1, 4)


@scripts.raises
def expand_of_a_dimension_that_is_not_one(L):
    L.ones(2, 3).expand(4, 3)


@scripts.raises
def expand_to_fewer_dimensions(L):
    L.ones(2, 3).expand(3)


@scripts.raises
def dimension_out_of_range(L):
    L.ones(2, 3).transpose(0, 2)


@scripts.raises
def permute_with_a_repeated_dimension(L):
    L.ones(2, 3).permute(0, 0)


@scripts.raises
def permute_with_too_few(L):
    L.ones(2, 3).permute(0)


@scripts.raises
def select_out_of_range(L):
    L.ones(2, 3).select(0, 2)


@scripts.raises
def narrow_out_of_range(L):
    L.ones(2, 3).narrow(0, 1, 5)


@scripts.raises
def index_out_of_range(L):
    L.ones(2, 3)[2]


@scripts.raises
def too_many_indices(L):
    L.ones(2, 3)[0, 0, 0]


@scripts.raises
def index_of_a_number(L):
    L.tensor(1.0)[0]


@scripts
def data_pointers(L):
    t = L.arange(6.0)
    v = t[2:]
    return v.data_ptr() - t.data_ptr(), t.view(2, 3).data_ptr() == t.data_ptr()


@scripts
def storages_are_shared(L):
    t = L.arange(6.0)
    v = t[2:]
    s = t.untyped_storage()
    return s.nbytes(), v.untyped_storage().data_ptr() == s.data_ptr(), v.storage_offset()


@scripts
def channels_last(L):
    t = L.arange(48.0).reshape(2, 3, 2, 4)
    c = t.contiguous(memory_format=L.channels_last)
    return (
        c, c.stride(), c.is_contiguous(), c.is_contiguous(memory_format=L.channels_last),
        (c * 2).stride(), c.clone().stride(), L.zeros_like(c).stride(), c.contiguous().stride(),
        c.to(memory_format=L.contiguous_format).stride(),
    )  # fmt: skip


@scripts
def results_keep_the_order_of_their_inputs(L):
    t = L.arange(6.0).reshape(2, 3).t()
    return (t + 1).stride(), (t * t).stride(), t.exp().stride()


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_arrays_over_other_owners_of_memory():
    import numpy as np

    import flambeau

    flat = flambeau.from_numpy(np.frombuffer(bytearray(48), np.float32))
    square = flat.reshape(3, 4)
    assert square._base is flat
    turned = square.T.reshape(12)
    assert turned._base is None
    square[0, 1] = 5
    assert flat[1] == 5
    assert turned[3] == 0


def test_arrays_of_another_library():
    torch = pytest.importorskip("torch")
    import flambeau

    x = flambeau.from_numpy(torch.arange(6.0).reshape(2, 3).numpy())
    assert x.T.reshape(6).tolist() == [0, 3, 1, 4, 2, 5]
    assert x.reshape(6)._base is x


@pytest.mark.parametrize("shape", [(0,), (0, 1), (2, 0)])
def test_no_view_reaches_outside_empty_memory(shape):
    import flambeau

    x = flambeau.empty(shape)
    for size, stride in (((3, 2), (1, 1)), ((1,), (0,)), ((), ())):
        with pytest.raises(RuntimeError):
            flambeau.as_strided(x, size, stride)
        with pytest.raises(RuntimeError):
            flambeau.as_strided_copy(x, size, stride)
    assert flambeau.as_strided(x, (0, 2), (1, 1)).shape == (0, 2)
