"""Modes see what a thread calls; the default device is one of them."""

from __future__ import annotations

import importlib
import threading

import numpy as np
import pytest

import flambeau as fl
from flambeau.tensor import interception

torch = pytest.importorskip("torch")


def function_mode(lib, seen):
    class Watching(importlib.import_module(f"{lib.__name__}.overrides").TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    return Watching()


def dispatch_mode(lib, seen):
    module = importlib.import_module(f"{lib.__name__}.utils._python_dispatch")

    class Watching(module.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append((str(func), func.name(), str(func.overloadpacket), func.namespace))
            return func(*args, **(kwargs or {}))

    return Watching()


FUNCTION_CALLS = {
    "zeros": lambda lib, y: lib.zeros(2),
    "tensor": lambda lib, y: lib.tensor(1.0),
    "add": lambda lib, y: y + 1,
    "shape": lambda lib, y: y.shape,
    "relu": lambda lib, y: lib.nn.functional.relu(y),
    "eye": lambda lib, y: lib.eye(2),
    "rand": lambda lib, y: lib.rand(2),
    "from_numpy": lambda lib, y: lib.from_numpy(np.ones(2)),
    "seed": lambda lib, y: lib.manual_seed(0),
    "is_tensor": lambda lib, y: lib.is_tensor(y),
    "einsum": lambda lib, y: lib.einsum("ij,jk", y, y),
    "fft": lambda lib, y: lib.fft.fft(y),
    "index": lambda lib, y: y[0],
    "backward": lambda lib, y: (y * lib.ones(2, 2, requires_grad=True)).sum().backward(),
    "default": lambda lib, y: lib.get_default_dtype(),
    "cat": lambda lib, y: lib.cat([y, y]),
}
DISPATCH_CALLS = {
    "zeros": lambda lib, y: lib.zeros(2),
    "add": lambda lib, y: y + 1,
    "inplace": lambda lib, y: y.mul_(2),
    "sum": lambda lib, y: y.sum(),
    "sum_dim": lambda lib, y: y.sum(0),
    "view": lambda lib, y: y.view(4),
    "select": lambda lib, y: y[0],
    "slice": lambda lib, y: y[:1],
    "max": lambda lib, y: y.max(0),
    "to": lambda lib, y: y.to(lib.float64),
    "cat": lambda lib, y: lib.cat([y, y]),
    "mm": lambda lib, y: lib.mm(y, y),
    "eq": lambda lib, y: y == 1,
    "pow": lambda lib, y: y**2,
    "softmax": lambda lib, y: lib.softmax(y, 0),
    "relu": lambda lib, y: lib.nn.functional.relu(y),
    "item": lambda lib, y: y.sum().item(),
    "copy": lambda lib, y: y.copy_(y),
    "ones_like": lambda lib, y: lib.ones_like(y),
    "where": lambda lib, y: lib.where(y > 0, y, y),
    "clone": lambda lib, y: y.clone(),
    "t": lambda lib, y: y.t(),
}


@pytest.mark.parametrize("name", FUNCTION_CALLS)
def test_a_function_mode_sees_what_it_sees_in_pytorch(name):
    both = []
    for lib in (fl, torch):
        seen, y = [], lib.ones(2, 2)
        with function_mode(lib, seen):
            FUNCTION_CALLS[name](lib, y)
        both.append(seen)
    assert both[0] == both[1]


@pytest.mark.parametrize("name", DISPATCH_CALLS)
def test_a_dispatch_mode_sees_what_it_sees_in_pytorch(name):
    both = []
    for lib in (fl, torch):
        seen, y = [], lib.ones(2, 2)
        with dispatch_mode(lib, seen):
            DISPATCH_CALLS[name](lib, y)
        both.append(seen)
    assert both[0] == both[1]


def test_modes_are_nested():
    seen = []
    with function_mode(fl, seen), function_mode(fl, seen):
        fl.add(fl.ones(1), 1)
    assert seen == ["ones", "ones", "add", "add"]


def test_a_mode_may_change_the_result():
    class Doubling(fl.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            return result * 2 if func is fl.add else result

    with Doubling():
        assert fl.add(fl.ones(1), 1).item() == 4.0
    assert fl.add(fl.ones(1), 1).item() == 2.0


def test_a_mode_belongs_to_its_thread_and_ends_with_an_error():
    seen, elsewhere = [], []

    def fail():
        with function_mode(fl, seen):
            thread = threading.Thread(target=lambda: elsewhere.append(fl.ones(2) + 1))
            thread.start()
            thread.join()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == []
    assert elsewhere[0].tolist() == [2.0, 2.0]
    fl.ones(1)
    assert seen == []
    assert interception.SHARED.calm


def test_modes_can_be_switched_off():
    seen = []
    with function_mode(fl, seen), fl._C.DisableTorchFunction():
        fl.ones(1)
    with function_mode(fl, seen), fl._C.DisableTorchFunctionSubclass():
        fl.zeros(1)
    assert seen == ["zeros"]
    with fl.overrides.BaseTorchFunctionMode():
        assert fl.ones(1).item() == 1.0
        assert fl._C._is_torch_function_mode_enabled()
        assert fl._C._len_torch_function_stack() == 1


# ---------------------------------------------------------------- the default device
MAKERS = {
    "ones": lambda lib: lib.ones(2),
    "tensor": lambda lib: lib.tensor([1.0]),
    "as_tensor": lambda lib: lib.as_tensor([1.0]),
    "asarray": lambda lib: lib.asarray([1.0]),
    "arange": lambda lib: lib.arange(3),
    "eye": lambda lib: lib.eye(2),
    "full": lambda lib: lib.full((2,), 1.0),
    "randn": lambda lib: lib.randn(2),
    "randint": lambda lib: lib.randint(0, 3, (2,)),
    "randperm": lambda lib: lib.randperm(3),
    "linspace": lambda lib: lib.linspace(0, 1, 3),
    "hann_window": lambda lib: lib.hann_window(3),
    "tril_indices": lambda lib: lib.tril_indices(3, 3),
    "fftfreq": lambda lib: lib.fft.fftfreq(3),
    "like": lambda lib: lib.ones_like(lib.zeros(2, device="cpu")),
    "given": lambda lib: lib.zeros(2, device="cpu"),
    "linear": lambda lib: lib.nn.Linear(2, 2).weight,
    "conv": lambda lib: lib.nn.Conv2d(1, 2, 3).bias,
    "norm": lambda lib: lib.nn.BatchNorm1d(3).running_mean,
    "lstm": lambda lib: lib.nn.LSTM(2, 3).weight_hh_l0,
    "embedding": lambda lib: lib.nn.Embedding(3, 3).weight,
}


@pytest.mark.parametrize("name", MAKERS)
def test_tensors_are_made_on_the_default_device(name):
    found = []
    for lib in (fl, torch):
        with lib.device("meta"):
            inside = str(MAKERS[name](lib).device)
        lib.set_default_device("meta")
        try:
            default = str(MAKERS[name](lib).device), str(lib.get_default_device())
        finally:
            lib.set_default_device(None)
        found.append(
            (inside, default, str(MAKERS[name](lib).device), lib.get_default_device().type)
        )
    assert found[0] == found[1]


def test_contexts_of_devices_are_nested():
    with fl.device("meta"):
        with fl.device("cpu"):
            assert fl.ones(2).tolist() == [1.0, 1.0]
        assert fl.get_default_device() == fl.device("meta")
    assert fl.ones(1).device == fl.device("cpu")
