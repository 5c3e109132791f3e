"""`Module`: members, attributes, traversal, conversion, copies, looks; each case on both libraries.

A case is a function of the library, called ``torch`` in it.
"""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref

import pytest

import flambeau
from flambeau import nn

CASES = []


def case(function):
    CASES.append(pytest.param(function, id=function.__name__))
    return function


def make_block(torch):
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Linear(2, 3)
            self.two = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(3, 2, bias=False))
            self.again = self.one
            self.scale = torch.nn.Parameter(torch.ones(2))
            self.register_parameter("absent", None)
            self.register_buffer("mean", torch.zeros(3))
            self.register_buffer("scratch", torch.ones(1), persistent=False)
            self.register_buffer("none", None)
            self.number = 3

        def forward(self, x):
            return self.two(self.one(x)) * self.scale

    return Block()


def attempt(*actions):
    """The type and message of each action's error, or its result."""
    seen = []
    for action in actions:
        try:
            seen.append(action())
        except Exception as error:
            seen.append((type(error).__name__, str(error)))
    return seen


@case
def traversal(torch):
    m = make_block(torch)
    flags = (True, False)
    return [
        [n for n, _ in m.named_parameters()],
        [n for n, _ in m.named_parameters(prefix="p", recurse=False)],
        [n for n, _ in m.named_parameters(remove_duplicate=False)],
        [n for n, _ in m.named_buffers()],
        [n for n, _ in m.named_modules()],
        [n for n, _ in m.named_modules(prefix="x", remove_duplicate=False)],
        [n for n, _ in m.named_children()],
        [len(list(m.parameters(recurse=r))) for r in flags],
        [len(list(m.buffers(recurse=r))) for r in flags],
        [len(list(m.modules())), len(list(m.children()))],
        repr(m),
    ]


@case
def looking_up(torch):
    m = make_block(torch)
    found = [
        m.get_submodule("two.1"),
        m.get_submodule("") is m,
        m.get_parameter("one.weight").shape,
    ]
    return found + attempt(
        lambda: m.get_submodule("two.7"),
        lambda: m.get_submodule("number"),
        lambda: m.get_submodule("two.1.weight"),
        lambda: m.get_parameter("two.1.nothing"),
        lambda: m.get_parameter("mean"),
        lambda: m.get_buffer("mean"),
        lambda: m.get_buffer("scale"),
        lambda: m.get_buffer("nothing"),
        lambda: m.nothing,
    )


@case
def setting_submodules(torch):
    m = make_block(torch)
    m.set_submodule("two.0", torch.nn.Tanh())
    m.set_submodule("two.extra", torch.nn.Identity())
    m.set_submodule("fresh", torch.nn.Identity())
    m.set_submodule("two.1", torch.nn.Identity(), strict=True)
    return [
        m,
        *attempt(
            lambda: m.set_submodule("", torch.nn.Tanh()),
            lambda: m.set_submodule("missing", torch.nn.Tanh(), strict=True),
            lambda: m.set_submodule("two.missing", torch.nn.Tanh(), strict=True),
            lambda: m.set_submodule("no.where", torch.nn.Tanh()),
            lambda: m.set_submodule("two", 3),
            lambda: m.set_submodule("number", torch.nn.Tanh()),
        ),
    ]


@case
def registration_errors(torch):
    m = make_block(torch)
    p = torch.nn.Parameter(torch.ones(1))
    return attempt(
        lambda: m.register_parameter(3, p),
        lambda: m.register_parameter("a.b", p),
        lambda: m.register_parameter("", p),
        lambda: m.register_parameter("number", p),
        lambda: m.register_parameter("x", 3),
        lambda: m.register_parameter("x", torch.ones(1)),
        lambda: m.register_parameter("mean", p),
        lambda: m.register_buffer(3, torch.ones(1)),
        lambda: m.register_buffer("a.b", torch.ones(1)),
        lambda: m.register_buffer("", torch.ones(1)),
        lambda: m.register_buffer("one", torch.ones(1)),
        lambda: m.register_buffer("x", "text"),
        lambda: m.add_module(3, m),
        lambda: m.add_module("a.b", torch.nn.Identity()),
        lambda: m.add_module("", torch.nn.Identity()),
        lambda: m.add_module("forward", torch.nn.Identity()),
        lambda: m.add_module("x", 3),
        lambda: m.register_module("number", torch.nn.Identity()),
    )


@case
def assignment_errors(torch):
    m = make_block(torch)

    def assign(name, value):
        setattr(m, name, value)

    return attempt(
        lambda: assign("scale", torch.ones(2)),
        lambda: assign("scale", 3),
        lambda: assign("one", 3),
        lambda: assign("mean", 3),
        lambda: assign("mean", "text"),
    )


@case
def before_init(torch):
    class Early(torch.nn.Module):
        def __init__(self, value):
            self.held = 1
            self.thing = value

    return attempt(
        lambda: Early(torch.nn.Parameter(torch.ones(1))),
        lambda: Early(torch.nn.Identity()),
        lambda: Early(torch.nn.Buffer(torch.ones(1))),
        lambda: Early(5).thing,
        lambda: Early(5).nothing,
        lambda: Early(5).register_buffer("b", torch.ones(1)),
        lambda: Early(5).register_parameter("b", torch.nn.Parameter(torch.ones(1))),
    )


@case
def init_arguments(torch):
    class Mixed(torch.nn.Module):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    return attempt(lambda: Mixed(1), lambda: Mixed(a=1), Mixed)


@case
def reassignment_moves_between_tables(torch):
    m = make_block(torch)

    def tables():
        return [list(t) for t in (m._parameters, m._buffers, m._modules)]

    seen = [tables()]
    m.mean = torch.nn.Parameter(torch.ones(3))
    seen.append([tables(), m.mean])
    m.scale = None
    seen.append([tables(), m.scale])
    m.scale = torch.nn.Parameter(torch.zeros(1))
    m.one = None
    seen.append([tables(), m.one])
    m.one = torch.nn.Tanh()
    m.number = torch.nn.Identity()
    seen.append([tables(), m.number])
    m.scratch = torch.full((2,), 5.0)
    seen.append([tables(), m.scratch, sorted(m._non_persistent_buffers_set)])
    m.scratch = torch.nn.Tanh()
    seen.append([tables(), m.scratch, sorted(m._non_persistent_buffers_set)])
    m.fresh = torch.nn.Buffer(torch.ones(1), persistent=False)
    seen.append([tables(), sorted(m._non_persistent_buffers_set), list(m.state_dict())])
    return seen


@case
def deletion(torch):
    m = make_block(torch)
    del m.scale, m.mean, m.one, m.number, m.scratch
    seen = [list(m._parameters), list(m._buffers), list(m._modules), list(m.state_dict())]
    seen.append(sorted(m._non_persistent_buffers_set))

    def delete(name):
        delattr(m, name)

    return seen + attempt(
        lambda: m.scale,
        lambda: m.number,
        lambda: delete("scale"),
        lambda: delete("nothing"),
    )


@case
def tables_changed_directly(torch):
    m = make_block(torch)
    m._parameters["scale"] = torch.nn.Parameter(torch.zeros(2))
    seen = [m.scale]
    m._parameters["added"] = torch.nn.Parameter(torch.zeros(1))
    seen.append(m.added)
    del m._parameters["added"]
    seen += attempt(lambda: m.added)
    m._modules["one"] = torch.nn.Tanh()
    seen.append(m.one)
    m._modules.pop("one")
    seen += attempt(lambda: m.one)
    m._buffers.update(mean=torch.ones(1), other=None)
    seen += [m.mean, m.other]
    m._buffers.clear()
    seen += attempt(lambda: m.mean)
    m._parameters.setdefault("late", None)
    seen.append(m.late)
    m._parameters = {"only": torch.nn.Parameter(torch.ones(1))}
    seen.append(m.only)
    seen += attempt(lambda: m.scale)
    m.only = torch.nn.Parameter(torch.zeros(1))
    return [*seen, [n for n, _ in m.named_parameters()], m._parameters["only"]]


@case
def plain_attribute_over_a_deleted_parameter(torch):
    layer = torch.nn.Linear(2, 2)
    weight = layer.weight
    del layer._parameters["weight"]
    layer.weight = weight.detach() * 2
    same = bool((layer.weight == weight * 2).all())
    layer.register_parameter("raw", weight)
    return [same, list(layer._parameters), list(layer.state_dict())]


@case
def modes(torch):
    m = make_block(torch)
    m.eval()
    seen = [[c.training for c in m.modules()]]
    m.two.train()
    seen.append([c.training for c in m.modules()])
    m.requires_grad_(False)
    seen.append([p.requires_grad for p in m.parameters()])
    return seen + attempt(lambda: m.train(3), lambda: m.train("yes"))


@case
def conversion(torch):
    m = make_block(torch)
    weight = m.one.weight
    m.register_buffer("count", torch.tensor(3))
    m.to(torch.float64)
    seen = [m.one.weight is weight, m.one.weight.dtype, m.mean.dtype, m.count.dtype]
    m.half()
    seen += [m.one.weight.dtype, m.count.dtype]
    m.bfloat16()
    seen.append(m.scale.dtype)
    m.to("cpu", torch.float32)
    seen.append(m.scale.dtype)
    m.to(torch.ones(1, dtype=torch.float64))
    seen.append(m.scale.dtype)
    m.to(dtype=torch.float32, device="cpu").double().float()
    seen.append(m.scale.dtype)
    m.type(torch.float64)
    seen += [m.scale.dtype, m.count.dtype]
    return [str(s) for s in seen] + attempt(lambda: m.to(torch.int64), lambda: m.to(torch.bool))


@case
def meta(torch):
    m = torch.nn.Linear(2, 3, device="meta")
    seen = [m.weight.is_meta, m]
    seen += [type(e).__name__ for e in attempt(lambda: m.to("cpu"))]
    m.to_empty(device="cpu")
    seen += [m.weight.is_meta, tuple(m.weight.shape), m.weight.requires_grad]
    m.to("meta")
    return [*seen, m.weight.is_meta, isinstance(m.weight, torch.nn.Parameter)]


@case
def gradients_follow_a_cast(torch):
    m = torch.nn.Linear(2, 1)
    m(torch.ones(1, 2)).sum().backward()
    m.double()
    seen = [m.weight.grad, m.bias.grad]
    m.zero_grad(set_to_none=False)
    seen.append(m.weight.grad)
    m.zero_grad()
    return [*seen, m.weight.grad]


@case
def applying(torch):
    order = []
    m = make_block(torch)
    m.apply(lambda module: order.append(type(module).__name__))
    return order


@case
def looks(torch):
    class Described(torch.nn.Module):
        def extra_repr(self):
            return "first\nsecond"

    m = Described()
    bare = repr(m)
    m.child = torch.nn.Linear(1, 2)
    m.deep = torch.nn.Sequential(Described(), torch.nn.ReLU(inplace=True))
    m.none = None
    return [bare, repr(m), repr(torch.nn.Module()), m._get_name()]


@case
def names_listed(torch):
    m = make_block(torch)
    own = {"one", "two", "again", "scale", "absent", "mean", "scratch", "none", "number", "0"}
    return sorted(own & set(dir(m))), sorted(n for n in dir(m.two) if n.isdigit())


@case
def missing_forward(torch):
    class Empty(torch.nn.Module):
        pass

    return attempt(lambda: Empty()(1))


@case
def extra_attributes_survive_copies(torch):
    m = make_block(torch)
    m.two[1].weight.data.fill_(2.0)
    twin = copy.deepcopy(m)
    again = pickle.loads(pickle.dumps(torch.nn.Sequential(torch.nn.Linear(1, 1), m.two)))
    twin.one.weight.data.fill_(5.0)
    return [
        twin,
        twin.number,
        twin.again is twin.one,
        bool((m.one.weight == 5).any()),
        list(twin.state_dict()),
        twin.two[1].weight,
        again,
        again[1][1].weight,
        again[0].weight is again[0]._parameters["weight"],
    ]


@case
def own_getstate(torch):
    class Careful(torch.nn.Linear):
        def __getstate__(self):
            state = self.__dict__.copy()
            state["cache"] = None
            return state

    layer = Careful(2, 2)
    layer.cache = object()
    twin = copy.deepcopy(layer)
    twin.weight = torch.nn.Parameter(torch.ones(2, 2))
    return [twin.cache, twin.weight, twin._parameters["weight"], layer.weight is twin.weight]


@case
def properties_win_over_tables(torch):
    class Doubled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.raw = torch.nn.Parameter(torch.ones(2))

        @property
        def weight(self):
            return self.raw * 2

    m = Doubled()
    m._parameters["weight"] = torch.nn.Parameter(torch.zeros(1))

    def assign():
        m.weight = torch.nn.Parameter(torch.ones(1))

    return [m.weight, *attempt(assign)]


@case
def shared_parameters(torch):
    a = torch.nn.Linear(2, 2)
    b = torch.nn.Linear(2, 2)
    b.weight = a.weight
    m = torch.nn.ModuleList([a, b])
    return [n for n, _ in m.named_parameters()], len(list(m.parameters()))


@case
def registration_hooks(torch):
    seen = []
    from_modules = torch.nn.modules.module
    handles = [
        from_modules.register_module_parameter_registration_hook(
            lambda m, n, p: seen.append(("parameter", n))
        ),
        from_modules.register_module_buffer_registration_hook(
            lambda m, n, p: seen.append(("buffer", n))
        ),
        from_modules.register_module_module_registration_hook(
            lambda m, n, p: seen.append(("module", n))
        ),
    ]
    try:
        torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    finally:
        for handle in handles:
            handle.remove()
    torch.nn.Linear(1, 1)
    return seen


@pytest.mark.parametrize("function", CASES)
def test_same_as_torch(same, function):
    same(function)


# -- what is ours alone ------------------------------------------------------------------------


def test_a_module_is_freed_with_its_last_reference():
    gc.collect()
    gc.disable()
    try:
        layer = nn.Sequential(nn.Linear(2, 2))
        gone = weakref.ref(layer[0])
        del layer
        assert gone() is None
    finally:
        gc.enable()


def test_members_are_ordinary_attributes():
    layer = nn.Linear(2, 2)
    assert layer.__dict__["weight"] is layer._parameters["weight"]
    state = layer.__getstate__()
    assert "weight" not in state
    assert type(state["_parameters"]) is dict


def test_a_covered_member_shows_again():
    layer = nn.Linear(2, 2)
    weight = layer.weight
    object.__setattr__(layer, "weight", 3)
    assert layer.weight == 3
    object.__delattr__(layer, "weight")
    assert layer.weight is weight


def test_an_error_names_the_module_it_came_from():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Identity()
            self.blocks = nn.ModuleList([nn.Identity(), nn.Sequential(Broken())])

        def forward(self, x):
            for block in self.blocks:
                x = block(self.stem(x))
            return x

    with pytest.raises(ValueError, match=r"^no") as caught:
        Net()(1)
    assert caught.value.__notes__ == ["raised in Net.blocks.1.0 (Broken)"]
    restored = pickle.loads(pickle.dumps(caught.value))
    assert restored.args == ("no",)


def test_a_module_from_torch_loads():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Linear(2, 3)
    state = {k: v for k, v in theirs.__dict__.items() if k != "_parameters"}
    ours = nn.Linear.__new__(nn.Linear)
    weight = nn.Parameter(flambeau.tensor(theirs.weight.tolist()))
    ours.__setstate__({**state, "_parameters": {"weight": weight, "bias": None}})
    assert ours.weight is weight
    expected = torch.nn.functional.linear(torch.ones(1, 2), theirs.weight)
    assert ours(flambeau.ones(1, 2))[0].tolist() == pytest.approx(expected[0].tolist())


def test_bytes_of_a_pickled_module_name_only_plain_dicts():
    layer = nn.Linear(2, 2)
    written = io.BytesIO()
    pickle.Pickler(written).dump(layer.__getstate__()["_modules"])
    assert b"Table" not in written.getvalue()
