"""Trees of containers: against PyTorch's."""

from __future__ import annotations

import importlib
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass

import pytest

from flambeau.utils import _pytree as ours
from tests.oracle import Scripts, agree

scripts = Scripts()
Point = namedtuple("Point", "x y")


def tree(L):
    return importlib.import_module(f"{L.__name__}.utils._pytree")


TREES = {
    "leaf": 3,
    "none": None,
    "empty": [],
    "nested": [1, (2, {"a": 3, "b": [4]}), None],
    "named": Point(1, [2, 3]),
    "ordered": OrderedDict([("b", 1), ("a", (2,))]),
    "default": defaultdict(list, {"a": [1, 2]}),
    "deque": deque([1, [2]], maxlen=4),
}


@pytest.mark.parametrize("name", TREES)
def test_to_and_fro(name):
    def script(L):
        t = tree(L)
        leaves, spec = t.tree_flatten(TREES[name])
        again = t.tree_unflatten([("leaf", x) for x in leaves], spec)
        return leaves, spec.num_leaves, spec.num_nodes, spec.num_children, spec.is_leaf(), again

    agree(script)
    leaves, spec = ours.tree_flatten(TREES[name])
    again = ours.tree_unflatten(leaves, spec)
    assert again == TREES[name]
    assert type(again) is type(TREES[name])
    assert ours.tree_structure(again) == spec


@scripts
def mapped(L):
    t = tree(L)
    seen = []
    t.tree_map_(seen.append, [1, {"a": 2}])
    return [
        t.tree_map(lambda x, y: x + y, [1, {"a": 2}], [10, {"a": 20}]),
        t.tree_map(lambda x, y: y, [1, 2], [(3, 4), {"b": 5}]),
        t.tree_map_only(int, lambda x: -x, [1, "a", (2.5, 3)]),
        t.tree_map(len, [[1, 2], [3]], is_leaf=lambda x: isinstance(x, list) and 1 not in [len(x)]),
        t.tree_leaves({"b": [1, 2], "a": 3}), list(t.tree_iter((1, [2]))), seen,
        t.tree_all(lambda x: x > 0, [1, 2]), t.tree_any(lambda x: x > 1, [1, 0]),
        t.tree_all_only(int, lambda x: x > 0, [1, "a"]), t.tree_any_only(str, str.isupper, [1, "a"]),
    ]  # fmt: skip


@scripts.raises
def too_few_leaves(L):
    t = tree(L)
    return t.tree_unflatten([1], t.tree_structure([1, 2]))


@scripts.raises
def leaves_without_a_structure(L):
    return tree(L).tree_unflatten([1], [1])


@scripts.raises
def trees_of_two_shapes(L):
    return tree(L).tree_map(lambda x, y: x, [1, 2], [1])


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_registered_containers():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    @dataclass
    class Record:
        a: int
        b: list

    ours.register_pytree_node(Pair, lambda p: ([p.a, p.b], "tag"), lambda c, _: Pair(*c))
    ours.register_dataclass(Record)
    try:
        assert ours.tree_leaves([Pair(1, [2]), Record(3, [4])]) == [1, 2, 3, 4]
        made = ours.tree_map(lambda x: x + 1, Pair(1, Record(2, [3])))
        assert (made.a, made.b) == (2, Record(3, [4]))
        with pytest.raises(ValueError, match="already registered"):
            ours.register_pytree_node(Pair, list, list)
    finally:
        del ours.SUPPORTED_NODES[Pair], ours.SUPPORTED_NODES[Record]


def test_a_prefix_stands_for_what_is_below():
    spec = ours.tree_structure((1, {"a": [2, 3], "b": 4}))
    spread = ours.broadcast_to_and_flatten
    assert spread(0, spec) == [0, 0, 0, 0]
    assert spread((0, {"b": 2, "a": 1}), spec) == [0, 1, 1, 2]
    assert spread((0, None), spec) == [0, None, None, None]
    assert spread((0, [1]), spec) is None
    assert spread((0,), spec) is None
