"""Containers behave as lists and dicts of modules; each case on both libraries."""

from __future__ import annotations

from collections import OrderedDict

import pytest

from flambeau import nn

CASES = []


def case(function):
    CASES.append(pytest.param(function, id=function.__name__))
    return function


def attempt(*actions):
    seen = []
    for action in actions:
        try:
            seen.append(action())
        except Exception as error:
            seen.append((type(error).__name__, str(error)))
    return seen


def layers(torch, count):
    return [torch.nn.Linear(1, i + 1) for i in range(count)]


@case
def sequential_as_a_list(torch):
    s = torch.nn.Sequential(*layers(torch, 4))
    seen = [len(s), s[0], s[-1], s[1:3], list(s[::2]._modules), [type(m).__name__ for m in s]]
    del s[1]
    seen.append([list(s._modules), s])
    del s[1:]
    s.append(torch.nn.ReLU())
    s.insert(0, torch.nn.Tanh())
    s.insert(-1, torch.nn.Tanh())
    s.extend([torch.nn.GELU(), torch.nn.GELU()])
    seen += [s, s.pop(0), s.pop(-1), s]
    s[0] = torch.nn.SiLU()
    return [*seen, s, torch.nn.Sequential() + s, s * 2, 2 * s, repr(torch.nn.Sequential())]


@case
def sequential_errors(torch):
    s = torch.nn.Sequential(*layers(torch, 2))

    def put(index, value):
        s[index] = value

    def add(value):
        return s + value

    return attempt(
        lambda: s[2],
        lambda: s[-3],
        lambda: s["0"],
        lambda: put(7, torch.nn.ReLU()),
        lambda: put(0, 3),
        lambda: s.insert(7, torch.nn.ReLU()),
        lambda: s * 0,
        lambda: s * 1.5,
        lambda: add(3),
        lambda: s.append(3),
        lambda: torch.nn.Sequential(3),
        lambda: torch.nn.Sequential()(5),
    )


@case
def sequential_by_name(torch):
    s = torch.nn.Sequential(
        OrderedDict([("first", torch.nn.Linear(1, 2)), ("second", torch.nn.ReLU())])
    )
    s.add_module("third", torch.nn.Linear(2, 1))
    seen = [s, s.first is s[0], s[:2], list(s.state_dict())]
    del s[0]
    return [*seen, s]


@case
def sequential_in_place(torch):
    s = torch.nn.Sequential(*layers(torch, 2))
    t = s
    s += torch.nn.Sequential(torch.nn.ReLU())
    s *= 2
    return [s is t, s, s[0] is s[3]]


@case
def module_list(torch):
    m = torch.nn.ModuleList(layers(torch, 3))
    seen = [len(m), m[-1], m[1:], list(m.state_dict()), torch.nn.ReLU() in m]
    m.append(torch.nn.ReLU())
    m.insert(1, torch.nn.Tanh())
    m.extend([torch.nn.ReLU(), torch.nn.ReLU()])
    seen.append(m)
    del m[0]
    del m[-2:]
    m[0] = torch.nn.GELU()
    m += [torch.nn.ReLU()]
    return [*seen, m, [*m, torch.nn.Tanh()], m.pop(1), m, list(m._modules)]


@case
def module_list_folds_equal_lines(torch):
    m = torch.nn.ModuleList([torch.nn.Linear(1, 1) for _ in range(3)])
    m.extend([torch.nn.Sequential(torch.nn.ReLU()) for _ in range(2)])
    return [m, torch.nn.ModuleList(), torch.nn.ModuleList([torch.nn.ReLU()])]


@case
def module_list_errors(torch):
    m = torch.nn.ModuleList(layers(torch, 2))

    def delete(index):
        del m[index]

    return attempt(
        lambda: m[2],
        lambda: m[-3],
        lambda: delete(5),
        lambda: m.extend(3),
        lambda: m.append(3),
        lambda: torch.nn.ModuleList([3]),
        lambda: torch.nn.ModuleList(3),
        lambda: m(1),
    )


@case
def module_dict(torch):
    m = torch.nn.ModuleDict({"b": torch.nn.ReLU(), "a": torch.nn.Linear(1, 1)})
    m.update([("c", torch.nn.Tanh()), ["d", torch.nn.GELU()]])
    m.update(OrderedDict(e=torch.nn.SiLU()))
    m.update(torch.nn.ModuleDict({"f": torch.nn.SELU()}))
    m["a"] = torch.nn.Identity()
    seen = [m, len(m), list(m), "a" in m, "z" in m, list(m.keys()), [k for k, _ in m.items()]]
    seen += [[type(v).__name__ for v in m.values()], m.pop("b"), m]
    del m["a"]
    seen.append(list(m))
    m.clear()
    return [*seen, m]


@case
def module_dict_errors(torch):
    m = torch.nn.ModuleDict()

    def put(key, value):
        m[key] = value

    def delete(key):
        del m[key]

    return attempt(
        lambda: m["x"],
        lambda: delete("x"),
        lambda: put("keys", torch.nn.ReLU()),
        lambda: put("a.b", torch.nn.ReLU()),
        lambda: put(3, torch.nn.ReLU()),
        lambda: put("x", 3),
        lambda: m.update(3),
        lambda: m.update([("a",)]),
    )


@case
def parameter_list(torch):
    p = torch.nn.ParameterList([torch.ones(2), torch.nn.Parameter(torch.zeros(1, 2)), "text"])
    p.append(torch.ones(3).double())
    p.extend([torch.ones(1)])
    p += [torch.ones(1)]
    seen = [p, len(p), p[0], p[-1], p[1:3], [type(v).__name__ for v in p], list(p.state_dict())]
    p[0] = torch.zeros(1)
    return [*seen, p[0], isinstance(p[0], torch.nn.Parameter), len(list(p.parameters()))]


@case
def parameter_list_errors(torch):
    p = torch.nn.ParameterList([torch.ones(2)])
    return attempt(
        lambda: p[1],
        lambda: p.extend(torch.ones(2)),
        lambda: p.extend(3),
        lambda: p(1),
    )


@case
def parameter_dict(torch):
    p = torch.nn.ParameterDict({"b": torch.ones(2), "a": torch.nn.Parameter(torch.zeros(1, 2))})
    p["text"] = "some"
    p.update([("d", torch.ones(1))])
    p.update(OrderedDict(z=torch.ones(1), y=torch.zeros(1)))
    seen = [p, len(p), list(p), "a" in p, p["a"], p.get("q", 3), p.get("a"), list(p.keys())]
    seen += [list(reversed(p)), [k for k, _ in p.items()], list(p.values())]
    seen += [p.setdefault("new", torch.ones(1)), p.setdefault("new"), p.pop("b"), p.popitem()]
    other = torch.nn.ParameterDict({"o": torch.ones(1)})
    seen += [list(p | other), list(p.copy()), list(p.fromkeys(["k", "l"], None))]
    p |= other
    seen.append(list(p))
    del p["a"]
    seen += [list(p), list(p.state_dict())]
    p.clear()
    return [*seen, len(p), list(p.parameters())]


@case
def parameter_dict_errors(torch):
    p = torch.nn.ParameterDict()

    def put(key, value):
        p[key] = value

    return attempt(
        lambda: p["x"],
        lambda: p.pop("x"),
        lambda: p.update([("a", 1, 2)]),
        lambda: p(1),
        lambda: put(3, torch.ones(1))[0],
    )[:-1]


@pytest.mark.parametrize("kind", ["ModuleDict", "ParameterDict"])
@pytest.mark.parametrize("entries", [3, [3]])
def test_no_pairs_to_update_with(kind, entries):
    with pytest.raises(TypeError, match=f"{kind}.*int"):
        getattr(nn, kind)().update(entries)


@pytest.mark.parametrize("function", CASES)
def test_same_as_torch(same, function):
    same(function)
