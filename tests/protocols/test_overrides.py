"""Who overrides functions is asked, and in PyTorch's words."""

from __future__ import annotations

import copy
import importlib
import inspect
import operator
import pickle
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from flambeau import overrides
from flambeau.tensor import interception
from flambeau.tensor.core import TensorCore

torch = pytest.importorskip("torch")


def programs(lib: ModuleType, x: Any, i: Any) -> dict[str, Any]:
    """Calls of every kind, by name, on the float matrix `x` and the integer vector `i`."""
    F = lib.nn.functional
    return {
        "add": lambda: x + 1,
        "radd": lambda: 1 + x,
        "rsub": lambda: 1 - x,
        "truediv": lambda: x / 2,
        "rtruediv": lambda: 2 / x,
        "floordiv": lambda: x // 2,
        "mod": lambda: x % 2,
        "pow": lambda: x**2,
        "rpow": lambda: 2**x,
        "matmul": lambda: x @ x,
        "rmatmul": lambda: lib.ones(2, 2) @ x,
        "neg": lambda: -x,
        "abs": lambda: abs(x),
        "invert": lambda: ~i,
        "and": lambda: i & 1,
        "rand": lambda: 1 & i,
        "lshift": lambda: i << 1,
        "rlshift": lambda: 1 << i,
        "eq": lambda: x == x,
        "ne": lambda: x != 1,
        "lt": lambda: x < 1,
        "iadd": lambda: operator.iadd(x.clone(), 1),
        "row": lambda: x[0],
        "gather": lambda: x[:, i - 1],
        "setitem": lambda: x.clone().__setitem__(0, 1.0),
        "function": lambda: lib.add(x, 1),
        "method": lambda: x.add(1),
        "inplace": lambda: x.clone().add_(1),
        "relu": lambda: F.relu(x),
        "softmax": lambda: F.softmax(x, 0),
        "linear": lambda: F.linear(x, x),
        "mse": lambda: F.mse_loss(x, x),
        "dropout": lambda: F.dropout(x, 0.0),
        "stack": lambda: lib.stack([x, x]),
        "cat": lambda: lib.cat((x, lib.ones(2, 2))),
        "shape": lambda: x.shape,
        "dtype": lambda: x.dtype,
        "T": lambda: x.mT,
        "grad": lambda: x.grad,
        "set": lambda: setattr(x, "requires_grad", False),
        "size": lambda: x.size(),
        "len": lambda: len(x),
        "bool": lambda: bool(x.sum()),
        "int": lambda: int(x.sum()),
        "item": lambda: x.sum().item(),
        "tolist": lambda: x.tolist(),
        "max": lambda: x.max(0),
        "split": lambda: x.split(1),
        "zeros_like": lambda: lib.zeros_like(x),
        "to": lambda: x.to(lib.float64),
        "double": lambda: x.double(),
        "detach": lambda: x.detach(),
        "view": lambda: x.view(4),
        "einsum": lambda: lib.einsum("ij,jk", x, x),
        "norm": lambda: lib.linalg.norm(x),
        "fft": lambda: lib.fft.fft(x),
        "contains": lambda: 1.0 in x,
        "repr": lambda: repr(x),
        "format": lambda: format(x.sum()),
        "out": lambda: lib.add(lib.ones(2, 2), 1, out=x.clone()),
        "as_tensor": lambda: lib.as_tensor(x),
        "tensor": lambda: lib.tensor(x.tolist()),
    }


def kinds(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        return tuple(kinds(r) for r in result)
    return type(result).__name__


def observed(lib: ModuleType, name: str) -> Any:
    """The functions that a subclass sees in a program, and the classes of its results."""
    seen: list[Any] = []

    class Watching(lib.Tensor):  # type: ignore[name-defined, misc]
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append((func.__name__, [t.__name__ for t in types]))
            return super().__torch_function__(func, types, args, kwargs)

    x = Watching([[1.0, 2.0], [3.0, 4.0]])
    i = Watching([1.0, 2.0]).long()
    seen.clear()
    return kinds(programs(lib, x, i)[name]()), list(seen)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", programs(fl, None, None))
def test_a_subclass_sees_the_functions_that_pytorch_shows(name):
    assert observed(fl, name) == observed(torch, name)


def results(lib: ModuleType) -> list[Any]:
    """What becomes of the classes of tensors, by PyTorch's rules."""
    disabled = importlib.import_module(f"{lib.__name__}._C")._disabled_torch_function_impl

    class Kept(lib.Tensor):  # type: ignore[name-defined, misc]
        pass

    class Deeper(Kept):
        pass

    class Lost(lib.Tensor):  # type: ignore[name-defined, misc]
        __torch_function__ = disabled

    x, kept, deeper = lib.ones(2), Kept([1.0, 2.0]), Deeper([1.0, 2.0])
    leaf = lib.ones(2, requires_grad=True)
    alias = leaf.as_subclass(Kept)
    (alias * 2).sum().backward()
    kept.note = [3]
    with lib._C.DisableTorchFunctionSubclass():
        inside = type(kept + 1).__name__
    return [
        kinds([kept + 1, x + kept, kept + deeper, deeper + kept, Lost([1.0]) + 1, kept.max(0)]),
        kinds([kept + lib.nn.Parameter(x), lib.nn.Parameter(kept), x.as_subclass(Kept)]),
        kinds([kept.as_subclass(lib.Tensor), copy.copy(kept), kept.grad, kept.numpy()]),
        isinstance(lib.nn.Parameter(kept), lib.nn.Parameter),
        lib.Tensor._make_subclass(Kept, x, True).requires_grad,
        copy.copy(kept).note,
        repr(kept),
        leaf.grad.tolist(),
        alias.is_leaf,
        inside,
    ]


def test_results_are_of_the_subclass():
    assert results(fl) == results(torch)


class Foreign:
    """No tensor, but it overrides functions."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__, len(args)


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, s: lib.add(s, 1),
        lambda lib, s: lib.ones(2) + s,
        lambda lib, s: lib.ones(2).mul(s),
        lambda lib, s: lib.mean(s),
        lambda lib, s: lib.max(s),
        lambda lib, s: lib.stack([s, s]),
        lambda lib, s: lib.cat([lib.ones(2), s]),
        lambda lib, s: lib.nn.functional.cross_entropy(s, lib.ones(2)),
        lambda lib, s: lib.softmax(s, dim=1),
    ],
)
def test_foreign_objects_are_asked(call):
    interception.arm()
    assert call(fl, Foreign()) == call(torch, Foreign())


def test_the_first_foreign_object_of_a_process_is_asked_too():
    program = (
        "import flambeau as fl\n"
        "from flambeau.tensor import interception\n"
        "class S:\n"
        "    @classmethod\n"
        "    def __torch_function__(cls, func, types, args=(), kwargs=None):\n"
        "        return func.__name__, args[1:]\n"
        "fl.relu(fl.ones(3)); assert not interception.GATES\n"
        "print(fl.add(S(), 1), fl.matmul(fl.ones(2), S())[0], fl.ones(1) * 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "('add', (1,)) matmul tensor([2.])\n", done.stderr


def test_nobody_who_answers_is_an_error():
    class Refusing(fl.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    with pytest.raises(TypeError, match="NotImplemented on types"):
        fl.add(Refusing([1.0]), 1)


def test_ordinary_tensors_compute_the_same_when_everything_is_armed():
    interception.arm()
    x = fl.arange(6.0).reshape(2, 3).requires_grad_()
    y = (fl.softmax(x, 1) * x.T.reshape(2, 3)).sum()
    y.backward()
    assert x.grad.shape == (2, 3)
    assert list(inspect.signature(fl.softmax).parameters)[:2] == ["input", "dim"]
    assert fl.softmax.__name__ == "softmax"
    assert pickle.loads(pickle.dumps(fl.add)) is fl.add


def test_an_unpickled_subclass_overrides_too():
    program = (
        "import pickle, flambeau as fl\n"
        "from flambeau.tensor import core, pickling\n"
        "class P(fl.Tensor): pass\n"
        "make, parts = pickling.reduce(fl.ones(2))\n"
        "made = make(P, *parts[1:])\n"
        "assert type(made + 1) is P, type(made + 1)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_plain_functions_stay_unarmed_until_somebody_overrides():
    program = (
        "import flambeau as fl\n"
        "from flambeau.tensor import interception\n"
        "x = fl.ones(2, requires_grad=True)\n"
        "fl.nn.Linear(2, 2)(x).sum().backward()\n"
        "class P(fl.Tensor): pass\n"
        "assert not interception.GATES\n"
        "P([1.0]); assert interception.GATES\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---------------------------------------------------------------- flambeau.overrides
def test_questions_about_overriding():
    foreign, x = Foreign(), fl.ones(2)
    assert overrides.is_tensor_like(foreign)
    assert overrides.is_tensor_like(x)
    assert not overrides.is_tensor_like(3)
    assert overrides.has_torch_function((x, foreign))
    assert not overrides.has_torch_function((x, 1))
    assert overrides.has_torch_function_unary(foreign)
    assert not overrides.has_torch_function_variadic(x, 1)
    with fl._C.DisableTorchFunction():
        assert not overrides.has_torch_function((foreign,))


def test_wrapped_functions_can_be_overridden():
    @overrides.wrap_torch_function(lambda a, b=None: (a, b))
    def total(a, b=None):
        return a.sum()

    assert total(Foreign(), 2) == ("total", 2)
    assert total(fl.ones(3)).item() == 3.0
    handled = overrides.handle_torch_function(total, (Foreign(),), 1, b=2)
    assert handled == ("total", 1)
    with pytest.raises(TypeError, match="no implementation found"):
        overrides.handle_torch_function(total, (fl.ones(1),), 1)


def test_names_of_functions():
    for lib, module in ((fl, overrides), (torch, torch.overrides)):
        assert module.resolve_name(lib.nn.functional.relu) == "torch.nn.functional.relu"
        assert module.resolve_name(lib.Tensor.shape.__get__) == "torch.Tensor.shape.__get__"
        assert module.is_tensor_method_or_property(lib.Tensor.add)
        assert not module.is_tensor_method_or_property(lib.nn.functional.linear)


def test_the_vocabulary_of_overridable_functions():
    found = overrides.get_overridable_functions()
    assert fl.add in found[fl]
    assert fl.nn.functional.mse_loss in found[fl.nn.functional]
    assert fl.zeros not in found[fl]
    assert fl.zeros in overrides.get_ignored_functions()
    answers = overrides.get_testing_overrides()
    assert answers[fl.add](1, 2) == -1
    assert set(found[fl]) <= set(answers)


# ---------------------------------------------------------------- wrappers
class Logged(fl.Tensor):
    """A wrapper that hands every op on to the tensor it holds."""

    names: list[str] = []
    __torch_function__ = fl._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        made = fl.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        cls.names.append(str(func))
        plain = [a.held if isinstance(a, cls) else a for a in args]
        result = func(*plain, **(kwargs or {}))
        return cls(result) if isinstance(result, TensorCore) else result


def test_a_wrapper_sees_every_op():
    Logged.names.clear()
    x = Logged(fl.ones(2, 3))
    y = fl.mm(x, x.t()) + 1
    assert isinstance(y, Logged)
    assert y.held.tolist() == [[4.0, 4.0], [4.0, 4.0]]
    assert list(y.shape) == [2, 2]
    assert y.device == fl.device("cpu")
    assert Logged.names == ["aten.t.default", "aten.mm.default", "aten.add.Tensor"]
    assert x[0].held.tolist() == [1.0, 1.0, 1.0]
    assert Logged.names[-1] == "aten.select.int"


def test_a_wrapper_needs_a_dispatch_method():
    class Bare(fl.Tensor):
        pass

    with pytest.raises(RuntimeError, match="__torch_dispatch__"):
        fl.Tensor._make_wrapper_subclass(Bare, (2,))
