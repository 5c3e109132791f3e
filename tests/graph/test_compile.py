"""`compile` gives back what PyTorch gives back: the same structure, names, results and refusals."""

from __future__ import annotations

import copy
import functools
import inspect
import io
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

import flambeau
from flambeau.graph import OptimizedModule


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def net(lib: Any) -> Any:
    lib.manual_seed(3)
    return lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.BatchNorm1d(3), lib.nn.ReLU())


def double(x: Any, by: int = 2) -> Any:
    """Some multiple of x."""
    return x * by


def sides(torch: Any, *args: Any, **kwargs: Any) -> list[tuple[Any, Any]]:
    return [
        (lib, lib.compile(net(lib), *args, backend="eager", **kwargs)) for lib in (flambeau, torch)
    ]


def test_a_compiled_module_looks_like_pytorchs(torch: Any) -> None:
    ours, theirs = (
        {
            "repr": repr(m),
            "keys": list(m.state_dict()),
            "parameters": [name for name, _ in m.named_parameters()],
            "buffers": [name for name, _ in m.named_buffers()],
            "modules": [name for name, _ in m.named_modules()],
            "len": len(m),
            "kind": type(m).__name__,
            "is module": isinstance(m, lib.nn.Module),
            "is Sequential": isinstance(m, lib.nn.Sequential),
        }
        for lib, m in sides(torch)
    )
    assert ours == theirs


def test_the_parameters_of_compile_are_pytorchs(torch: Any) -> None:
    ours = inspect.signature(flambeau.compile).parameters
    theirs = inspect.signature(torch.compile).parameters
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


def attributes(lib: Any, m: Any) -> list[Any]:
    inner = m._orig_mod
    seen: list[Any] = []
    m.rate = 3
    seen += [inner.rate, "rate" in m.__dict__, m.rate]
    del m.rate
    seen += [hasattr(inner, "rate"), hasattr(m, "rate")]
    m.extra = lib.nn.Linear(1, 1)
    seen += [list(inner._modules), list(m.state_dict())]
    m.eval()
    seen += [m.training, inner.training, inner[0].training]
    inner.train()
    seen += [m.training]
    m.training = False
    seen += [inner.training, inner[0].training]
    seen += [m.extra_repr(), "extra" in dir(m), "forward" in dir(m), bool(m)]
    m.requires_grad_(False)
    seen += [inner[0].weight.requires_grad, inner[0].weight is m._orig_mod[0].weight]
    with pytest.raises(AttributeError) as error:
        m.nothing  # noqa: B018
    seen.append("'Sequential' object has no attribute 'nothing'" in str(error.value))
    with pytest.raises(TypeError, match="Linear does not support len"):
        len(lib.compile(lib.nn.Linear(1, 1), backend="eager"))
    with pytest.raises(TypeError):
        m[0]
    m.double()
    seen.append(str(inner[0].weight.dtype).rpartition(".")[2])
    return seen


def test_attributes_reach_the_original_module(torch: Any) -> None:
    ours, theirs = (attributes(lib, m) for lib, m in sides(torch))
    assert ours == theirs


def called(lib: Any, m: Any) -> list[Any]:
    inner, order = m._orig_mod, []
    inner.register_forward_pre_hook(lambda *a: order.append("inner pre"))
    inner.register_forward_hook(lambda *a: order.append("inner"))
    m.register_forward_pre_hook(lambda *a: order.append("outer pre"))
    m.register_forward_hook(lambda *a: order.append("outer"))
    x = lib.tensor([[1.0, -2.0], [0.5, 3.0]])
    y = m(input=x)
    y.pow(2).sum().backward()
    return [order, y.tolist(), inner[0].weight.grad.tolist(), m(x).tolist()]


def test_calls_run_the_hooks_and_compute_the_same(torch: Any) -> None:
    ours, theirs = (called(lib, m) for lib, m in sides(torch))
    assert ours[0] == theirs[0]
    for mine, expected in zip(ours[1:], theirs[1:], strict=True):
        for row, other in zip(mine, expected, strict=True):
            assert row == pytest.approx(other, abs=1e-5)


def test_compiled_modules_are_copied_pickled_and_saved() -> None:
    model = flambeau.compile(net(flambeau))
    x = flambeau.randn(4, 2)
    model.eval()
    file = io.BytesIO()
    flambeau.save(model, file)
    file.seek(0)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        flambeau.load(file, weights_only=False),
    ):
        assert type(other) is OptimizedModule
        assert other._orig_mod is not model._orig_mod
        assert not other.training
        assert other._orig_mod[0].weight is not model._orig_mod[0].weight
        assert flambeau.equal(other(x), model(x))
    shallow = copy.copy(model)
    assert shallow._orig_mod is model._orig_mod


def test_state_dicts_go_between_compiled_modules() -> None:
    first, second = (flambeau.compile(net(flambeau)) for _ in range(2))
    with flambeau.no_grad():
        first._orig_mod[0].weight.fill_(7)
    assert str(second.load_state_dict(first.state_dict())) == "<All keys matched successfully>"
    assert (second._orig_mod[0].weight == 7).all()


def test_a_lazy_module_becomes_an_ordinary_one() -> None:
    model = flambeau.compile(flambeau.nn.LazyLinear(3))
    assert model(flambeau.ones(2, 5)).shape == (2, 3)
    assert repr(model._orig_mod) == "Linear(in_features=5, out_features=3, bias=True)"


def test_compiling_a_module_twice_does_not_nest() -> None:
    model = flambeau.compile(net(flambeau))
    again = flambeau.compile(model)
    assert again is not model
    assert again._orig_mod is model._orig_mod


def functions(lib: Any) -> list[Any]:
    with_arguments = lib.compile(backend="eager", fullgraph=True, dynamic=False)(double)
    plain = functools.partial(lib.compile, backend="eager")(double)
    seen = []
    for made in (with_arguments, plain):
        seen += [made.__name__, made.__doc__, made.__wrapped__ is double, made is double]
        seen += [str(inspect.signature(made)), made(lib.ones(2), by=3).tolist()]
    off = lib.compile(double, backend="eager", disable=True)
    model = net(lib)
    seen += [off is double, lib.compile(model, disable=True) is model]
    seen.append(lib.compile(lib.nn.Linear, backend="eager") is lib.nn.Linear)
    shift = SimpleNamespace(by=1)
    seen.append(lib.compile(lambda x: x + shift.by, backend="eager")(lib.ones(1)).tolist())
    return seen


def test_functions_keep_their_name_and_signature(torch: Any) -> None:
    assert functions(flambeau) == functions(torch)


def test_methods_compile() -> None:
    class Model(flambeau.nn.Module):
        @flambeau.compile
        def forward(self, x: Any) -> Any:
            return x + 1

        @flambeau.compile(mode="max-autotune")
        def twice(self, x: Any) -> Any:
            return 2 * x

    model = Model()
    assert model(flambeau.zeros(1)) == 1
    assert model.twice(flambeau.ones(1)) == 2
    assert flambeau.compile(model.twice)(flambeau.ones(1)) == 2


@pytest.mark.parametrize(
    ("thing", "settings"),
    [
        ("model", {"mode": "default", "options": {}}),
        ("model", {"mode": "fast"}),
        ("model", {"mode": "fast", "disable": True}),
        ("model", {"backend": "fast"}),
        ("model", {"backend": "eager", "mode": "default", "options": {}}),
        (3, {"backend": "eager"}),
        ("text", {"backend": "eager"}),
        ("model", {"speed": 3}),
    ],
)
def test_refusals_are_pytorchs(torch: Any, thing: Any, settings: dict[str, Any]) -> None:
    with pytest.raises((RuntimeError, AssertionError, TypeError)) as expected:
        torch.compile(net(torch) if thing == "model" else thing, **settings)
    theirs = expected.type
    with pytest.raises(theirs if theirs.__module__ == "builtins" else RuntimeError):
        flambeau.compile(net(flambeau) if thing == "model" else thing, **settings)


def test_decorators_refuse_none(torch: Any) -> None:
    for lib in (flambeau, torch):
        with pytest.raises(RuntimeError, match="Model can't be None"):
            lib.compile(backend="eager")(None)


def test_a_backend_of_ones_own_has_no_graph_to_see() -> None:
    def backend(graph: Any, inputs: Any) -> Any:
        return graph.forward

    with pytest.raises(NotImplementedError, match="no graph to hand to the backend 'backend'"):
        flambeau.compile(double, backend=backend)
    assert flambeau.compile(double, backend=backend, disable=True) is double


def in_place(lib: Any, model: Any) -> list[Any]:
    before = model._compiled_call_impl
    returned = model.compile(backend="eager")
    seen = [before, returned, callable(model._compiled_call_impl), repr(model)]
    seen += [list(model.state_dict()), model(lib.ones(2, 2)).shape == (2, 3)]
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        seen.append(other._compiled_call_impl)
    return seen


def test_a_module_compiles_itself_in_place(torch: Any) -> None:
    assert in_place(flambeau, net(flambeau)) == in_place(torch, net(torch))
    with pytest.raises(RuntimeError, match="Unrecognized mode=fast"):
        net(flambeau).compile(mode="fast")
