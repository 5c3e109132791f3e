"""Devices: names, equality, moving tensors, and refusing what is not there."""

from __future__ import annotations

import pickle

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


@scripts
def names(L):
    made = [
        L.device("cpu"), L.device("cpu", 0), L.device("cuda:1"), L.device("cuda", 1), L.device(type="meta"),
        L.device(L.device("cpu")),
    ]  # fmt: skip
    return [(str(d), repr(d), d.type, d.index) for d in made]


@scripts
def equality(L):
    return (
        L.device("cpu") == L.device("cpu"), L.device("cuda:0") == L.device("cuda", 0),
        L.device("cpu") == "cpu", L.device("cpu") != L.device("meta"),
        len({L.device("cpu"), L.device("cpu"), L.device("meta")}),
        pickle.loads(pickle.dumps(L.device("cuda:1"))) == L.device("cuda:1"),
    )  # fmt: skip


@scripts.raises
def a_name_that_is_none(L):
    L.device("abacus")


@scripts.raises
def a_name_with_a_wrong_number(L):
    L.device("cpu:x")


@scripts.raises
def a_number_given_twice(L):
    L.device("cuda:0", 1)


@scripts.raises
def an_empty_name(L):
    L.device("")


@scripts
def tensors_say_where_they_are(L):
    return (
        str(L.ones(1).device),
        str(L.ones(1, device="meta").device),
        L.ones(1, device="cpu").is_cuda,
    )


@scripts
def staying_where_it_is(L):
    t = L.ones(2)
    return (
        t.to("cpu") is t,
        t.to(L.device("cpu")) is t,
        t.cpu() is t,
        t.to(device="cpu", dtype=L.float32) is t,
    )


@scripts
def devices_and_dtypes_together(L):
    t = L.ones(2).to("cpu", L.float64)
    u = L.ones(2, dtype=L.int8).to(t)
    return t, u, L.ones(2).to(device="cpu", dtype=L.int32), L.ones(2).to(L.float64, copy=True)


@scripts.raises
def there_and_back_again(L):
    L.ones(2).to("meta").to("cpu")


@scripts.raises
def mixed_devices(L):
    return L.ones(2) + L.ones(2, device="meta")


@scripts
def numbers_go_with_any_device(L):
    t = L.ones(2, device="meta") + L.tensor(1.0)
    return str(t.device), t.shape


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_mixed_devices_are_refused_by_every_kind_of_op():
    real, meta = flambeau.ones(2, 2), flambeau.ones(2, 2, device="meta")
    for f in (
        lambda a, b: a @ b, lambda a, b: flambeau.cat([a, b]), lambda a, b: flambeau.where(a > 0, a, b),
        lambda a, b: flambeau.nn.functional.linear(a, b), lambda a, b: flambeau.maximum(a, b),
    ):  # fmt: skip
        for pair in ((real, meta), (meta, real)):
            with pytest.raises(RuntimeError, match="same device"):
                f(*pair)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(RuntimeError, match="cuda"):
        flambeau.ones(2).cuda()
    with pytest.raises(RuntimeError, match="cuda:3"):
        flambeau.zeros(2, device="cuda:3")
    assert flambeau.cuda.is_available() is False
