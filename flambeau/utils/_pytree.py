"""Nested containers as flat lists: lists, tuples, dictionaries and what programs register.

A tree is anything; a container that is not registered is a leaf. `tree_flatten` gives the leaves
and a `TreeSpec`, from which `tree_unflatten` makes the tree again.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

PyTree = Any
Context = Any
FlattenFunc = Callable[[Any], tuple[list[Any], Any]]
UnflattenFunc = Callable[[Iterable[Any], Any], Any]
IsLeaf = Callable[[Any], bool] | None


class NodeDef(NamedTuple):
    """How a type of container is taken apart and put together."""

    type: type[Any]
    flatten_fn: FlattenFunc
    unflatten_fn: UnflattenFunc


SUPPORTED_NODES: dict[type[Any], NodeDef] = {}


def register_pytree_node(
    cls: type[Any],
    flatten_fn: FlattenFunc,
    unflatten_fn: UnflattenFunc,
    *,
    serialized_type_name: str | None = None,
    to_dumpable_context: Any = None,
    from_dumpable_context: Any = None,
    flatten_with_keys_fn: Any = None,
) -> None:
    """Make `cls` a container: ``flatten_fn(x)`` gives (children, context), the other the inverse.

    Raises ValueError for a type that is registered already.
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn)


def register_dataclass(
    cls: type[Any], *, field_names: list[str] | None = None, drop_field_names: Any = None
) -> None:
    """Make the dataclass `cls` a container of its fields."""
    names = field_names or [f.name for f in dataclasses.fields(cls) if f.init]
    kept = [n for n in names if n not in (drop_field_names or ())]
    register_pytree_node(
        cls,
        lambda x: ([getattr(x, n) for n in kept], None),
        lambda children, _: cls(**dict(zip(kept, children, strict=True))),
    )


def _is_named_tuple(cls: type[Any]) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


is_namedtuple_class = _is_named_tuple


def is_namedtuple(obj: Any) -> bool:
    """Whether `obj` is a named tuple or a class of them."""
    return _is_named_tuple(obj if isinstance(obj, type) else type(obj))


def _dict_parts(x: Any) -> tuple[list[Any], Any]:
    return list(x.values()), list(x)


register_pytree_node(list, lambda x: (list(x), None), lambda c, _: list(c))
register_pytree_node(tuple, lambda x: (list(x), None), lambda c, _: tuple(c))
register_pytree_node(dict, _dict_parts, lambda c, keys: dict(zip(keys, c, strict=True)))
register_pytree_node(
    OrderedDict, _dict_parts, lambda c, keys: OrderedDict(zip(keys, c, strict=True))
)
register_pytree_node(
    defaultdict,
    lambda x: (list(x.values()), (x.default_factory, list(x))),
    lambda c, context: defaultdict(context[0], zip(context[1], c, strict=True)),
)
register_pytree_node(deque, lambda x: (list(x), x.maxlen), lambda c, m: deque(c, maxlen=m))
SUPPORTED_NODES["namedtuple"] = NodeDef(  # type: ignore[index]
    tuple, lambda x: (list(x), type(x)), lambda c, cls: cls(*c)
)


def _kind(tree: Any) -> Any:
    cls = type(tree)
    if cls in SUPPORTED_NODES:
        return cls
    return "namedtuple" if _is_named_tuple(cls) else None


@dataclasses.dataclass(frozen=True, eq=True)
class TreeSpec:
    """The shape of a tree: the `type` of its container (None: a leaf), context and children."""

    type: Any
    context: Any
    children_specs: list[TreeSpec]

    @property
    def num_leaves(self) -> int:
        """How many leaves the tree has."""
        if self.type is None:
            return 1
        return sum(child.num_leaves for child in self.children_specs)

    @property
    def num_children(self) -> int:
        """How many children the outermost container has."""
        return len(self.children_specs)

    @property
    def num_nodes(self) -> int:
        """How many containers and leaves there are."""
        return 1 + sum(child.num_nodes for child in self.children_specs)

    def is_leaf(self) -> bool:
        """Whether the tree is a single leaf."""
        return self.type is None

    def children(self) -> list[TreeSpec]:
        """The shapes of the children."""
        return list(self.children_specs)

    def child(self, index: int) -> TreeSpec:
        """The shape of one child."""
        return self.children_specs[index]

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree with these `leaves`; ValueError if their number is wrong."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec "
                f"refers to a pytree that holds {self.num_leaves} items ({self})."
            )
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.type is None:
            return next(leaves)
        children = [child._build(leaves) for child in self.children_specs]
        return SUPPORTED_NODES[self.type].unflatten_fn(children, self.context)

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The parts of `tree` that stand where this shape has leaves."""
        if self.type is None:
            return [tree]
        if _kind(tree) != self.type:
            raise ValueError(f"Type mismatch: expected {self.type!r}, but got {type(tree)!r}.")
        children, context = SUPPORTED_NODES[self.type].flatten_fn(tree)
        if isinstance(tree, dict) and set(tree) == set(self._keys()):
            children, context = [tree[k] for k in self._keys()], self.context
        if len(children) != len(self.children_specs) or context != self.context:
            raise ValueError(f"Node mismatch: expected {self}, but got {tree!r}.")
        pairs = zip(self.children_specs, children, strict=True)
        return [x for spec, child in pairs for x in spec.flatten_up_to(child)]

    def _keys(self) -> list[Any]:
        keys = self.context[1] if self.type is defaultdict else self.context
        return list(keys) if isinstance(keys, list) else []

    def __hash__(self) -> int:
        return hash((self.type, repr(self.context), tuple(self.children_specs)))


def LeafSpec() -> TreeSpec:
    """The shape of a leaf."""
    return TreeSpec(None, None, [])


# ---------------------------------------------------------------- to and fro
def tree_flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of `tree` and its shape; what `is_leaf` says yes to is not taken apart."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: Any, leaves: list[Any], is_leaf: IsLeaf) -> TreeSpec:
    kind = _kind(tree)
    if kind is None or (is_leaf is not None and is_leaf(tree)):
        leaves.append(tree)
        return LeafSpec()
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    return TreeSpec(kind, context, [_flatten(child, leaves, is_leaf) for child in children])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of this shape with these leaves."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            "tree_unflatten(leaves, treespec): Expected `treespec` to be instance of TreeSpec but "
            f"got item of type {type(treespec)}."
        )
    return treespec.unflatten(leaves)


def tree_iter(tree: Any, is_leaf: IsLeaf = None) -> Iterator[Any]:
    """The leaves one by one."""
    yield from tree_flatten(tree, is_leaf)[0]


def tree_leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: IsLeaf = None) -> TreeSpec:
    """The shape."""
    return tree_flatten(tree, is_leaf)[1]


treespec_leaf = LeafSpec


def treespec_tuple(iterable: Iterable[TreeSpec] = ()) -> TreeSpec:
    """The shape of a tuple of trees."""
    return TreeSpec(tuple, None, list(iterable))


# ---------------------------------------------------------------- mapping
def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """The tree of ``func(leaf, leaves of rests...)``."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return spec.unflatten(func(*xs) for xs in zip(leaves, *others, strict=True))


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """Call `func` on every leaf and return `tree`."""
    leaves, spec = tree_flatten(tree, is_leaf)
    for xs in zip(leaves, *(spec.flatten_up_to(rest) for rest in rests), strict=True):
        func(*xs)
    return tree


def _chosen(kinds: Any) -> Callable[[Any], bool]:
    if isinstance(kinds, (type, tuple)):
        return lambda x: isinstance(x, kinds)
    return kinds  # type: ignore[no-any-return]


def map_only(type_or_types_or_pred: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function leave alone what is not of the given types."""
    chosen = _chosen(type_or_types_or_pred)

    def wrap(func: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: func(x) if chosen(x) else x

    return wrap


def tree_map_only(
    type_or_types_or_pred: Any, func: Callable[..., Any], tree: Any, is_leaf: IsLeaf = None
) -> Any:
    """`tree_map` over the leaves of the given types; the others stay."""
    return tree_map(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_map_only_(
    type_or_types_or_pred: Any, func: Callable[..., Any], tree: Any, is_leaf: IsLeaf = None
) -> Any:
    """`tree_map_` over the leaves of the given types."""
    return tree_map_(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether `pred` holds for every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether `pred` holds for some leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all_only(
    types: Any, pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None
) -> bool:
    """Whether `pred` holds for every leaf of the given types."""
    return all(pred(x) for x in tree_leaves(tree, is_leaf) if isinstance(x, types))


def tree_any_only(
    types: Any, pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None
) -> bool:
    """Whether `pred` holds for some leaf of the given types."""
    return any(pred(x) for x in tree_leaves(tree, is_leaf) if isinstance(x, types))


def broadcast_to_and_flatten(
    tree: Any, treespec: TreeSpec, is_leaf: IsLeaf = None
) -> list[Any] | None:
    """The leaves of `tree` repeated as `treespec` has them; None where the two do not fit.

    A leaf of `tree` stands for all leaves of the part of `treespec` at its place.
    """
    kind = None if is_leaf is not None and is_leaf(tree) else _kind(tree)
    if treespec.type is None or kind is None:
        return [tree] * treespec.num_leaves if kind is None else None
    if kind != treespec.type:
        return None
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    if isinstance(tree, dict) and set(tree) == set(treespec._keys()):
        children, context = [tree[k] for k in treespec._keys()], treespec.context
    if len(children) != treespec.num_children or context != treespec.context:
        return None
    found: list[Any] = []
    for child, spec in zip(children, treespec.children_specs, strict=True):
        part = broadcast_to_and_flatten(child, spec, is_leaf)
        if part is None:
            return None
        found += part
    return found


_broadcast_to_and_flatten = broadcast_to_and_flatten
