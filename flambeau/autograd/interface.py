"""`backward` and `grad`: the tape's public functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import engine
from .grad_mode import FAST
from .node import AccumulateGrad, Node, OutputSlot


def _listed(x: Any) -> list[Any]:
    """One tensor, or any collection of them, as a list."""
    if isinstance(x, (tuple, list)):
        return [x] if _is_edge(x) else list(x)
    return list(x) if hasattr(x, "__iter__") and not hasattr(x, "requires_grad") else [x]


def _is_edge(x: Any) -> bool:
    """Whether `x` is an edge of the tape that stands for a tensor."""
    return hasattr(x, "ownership_token")


def _roots(
    outputs: Sequence[Any], gradients: Sequence[Any], create: bool
) -> tuple[list[Node], list[Any]]:
    from ..tensor.core import array_of, from_array

    if len(gradients) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(gradients)} gradients")
    roots, grads = [], []
    for number, (out, g) in enumerate(zip(outputs, gradients, strict=True)):
        if _is_edge(out):
            roots.append(_node_of(out))
            g = from_array(np.ones(out.facts[0], out.facts[1].numpy_dtype)) if g is None else g
            grads.append(g if create else array_of(g))
            continue
        if out._gf is None:
            raise RuntimeError(
                f"element {number} of tensors does not require grad and does not have a grad_fn"
            )
        if g is None:
            if out.numel() != 1:
                raise RuntimeError(
                    "grad can be implicitly created only for scalar outputs "
                    f"(this one has shape {list(out.shape)})"
                )
            if out._t.is_complex:
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {out._t}"
                )
            g = from_array(np.ones(out.shape, out._t.numpy_dtype))
        _check_gradient(number, out, g)
        if g._t is not out._t:
            g = g.to(out._t)
        roots.append(out._gf)
        grads.append(g if create else array_of(g))
    return roots, grads


def _check_gradient(number: int, out: Any, g: Any) -> None:
    if g.shape != out.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{number}] has a shape of "
            f"torch.Size({list(g.shape)}) and output[{number}] has a shape of "
            f"torch.Size({list(out.shape)})."
        )
    if g._t.is_complex != out._t.is_complex:
        raise RuntimeError(
            f"For complex Tensors, both grad_output and output are required to have the same dtype."
            f" Mismatch in dtype: grad_output[{number}] has a dtype of {g._t} and output[{number}] "
            f"has a dtype of {out._t}."
        )


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` with respect to the leaves to the leaves' ``grad``.

    `grad_tensors` are the gradients to start from (ones, for scalars). With `inputs`, only these
    receive gradients.
    """
    outputs = _listed(tensors)
    if grad_variables is not None:
        grad_tensors = grad_variables
    starts = [None] * len(outputs) if grad_tensors is None else _listed(grad_tensors)
    roots, grads = _roots(outputs, starts, create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        engine.execute(roots, grads, keep, create_graph)
        return
    targets = _listed(inputs)
    if not targets:
        raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    found = engine.gradients(roots, grads, [_node_of(t) for t in targets], keep, create_graph)
    for t, g in zip(targets, found, strict=True):
        if g is None:
            continue
        if create_graph:
            t._grad = g if t._grad is None else t._grad + g
        else:
            t._accumulate(g)


def _edge_of(x: Any) -> Node | None:
    """The node behind a tensor, or behind an edge of the tape that stands for one."""
    if not _is_edge(x):
        edge: Node | None = x._gf
        return edge
    node, number, token = x
    if token is not None:
        return token  # type: ignore[no-any-return]
    return OutputSlot(node, number) if getattr(node, "outputs", 1) > 1 else node


def _node_of(t: Any) -> Node:
    if _is_edge(t):
        node = _edge_of(t)
        assert node is not None
        return node
    if t._gf is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    n: Node = t._gf
    return n


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` with respect to `inputs`, as a tuple; no ``grad`` is touched.

    An input that the outputs do not depend on is an error unless `allow_unused` (then None) or
    `materialize_grads` (then zeros).
    """
    from ..tensor.core import from_array

    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    outs, targets = _listed(outputs), _listed(inputs)
    starts = [None] * len(outs) if grad_outputs is None else _listed(grad_outputs)
    wrapped = FAST.get("Wrapped")
    if is_grads_batched or (
        wrapped is not None and any(isinstance(x, wrapped) for x in (*outs, *targets, *starts))
    ):
        from . import transposition

        take = transposition.along_rows if is_grads_batched else transposition.along
        found, tensors = take(outs, targets, starts, create_graph), True
    else:
        roots, grads = _roots(outs, starts, create_graph)
        keep = create_graph if retain_graph is None else retain_graph
        nodes = [_node_of(t) for t in targets]
        found, tensors = engine.gradients(roots, grads, nodes, keep, create_graph), create_graph
    results: list[Any] = []
    for t, g in zip(targets, found, strict=True):
        if g is None and materialize_grads:
            if is_grads_batched:
                g = FAST["F"].zeros(len(starts[0]), *t.shape, dtype=t._t)
            elif tensors:
                g = FAST["F"].zeros_like(t)
            else:
                g = np.zeros(t._d.shape, t._d.dtype)
        if g is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        results.append(g if g is None or tensors else from_array(g))
    return tuple(results)


def is_accumulation(node: Any) -> bool:
    """Whether `node` adds gradients to a leaf."""
    return isinstance(node, AccumulateGrad)
