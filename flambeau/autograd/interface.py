"""`backward` and `grad`: the tape's public functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import engine
from .node import AccumulateGrad, Node


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (tuple, list)) else [x]


def _roots(
    outputs: Sequence[Any], gradients: Sequence[Any], create: bool
) -> tuple[list[Node], list[Any]]:
    from ..tensor.core import from_array

    if len(gradients) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(gradients)} gradients")
    roots, grads = [], []
    for number, (out, g) in enumerate(zip(outputs, gradients, strict=True)):
        if out._gf is None:
            raise RuntimeError(
                f"element {number} of tensors does not require grad and does not have a grad_fn"
            )
        if g is None:
            if out._d.size != 1:
                raise RuntimeError(
                    "grad can be implicitly created only for scalar outputs "
                    f"(this one has shape {list(out._d.shape)})"
                )
            if out._t.is_complex:
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {out._t}"
                )
            g = from_array(np.ones(out._d.shape, out._d.dtype))
        _check_gradient(number, out, g)
        if g._t is not out._t:
            g = g.to(out._t)
        roots.append(out._gf)
        grads.append(g if create else g._d)
    return roots, grads


def _check_gradient(number: int, out: Any, g: Any) -> None:
    if g._d.shape != out._d.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{number}] has a shape of "
            f"torch.Size({list(g._d.shape)}) and output[{number}] has a shape of "
            f"torch.Size({list(out._d.shape)})."
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


def _node_of(t: Any) -> Node:
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

    if is_grads_batched:
        return _batched(
            outputs, inputs, grad_outputs, create_graph, allow_unused, materialize_grads
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    outs, targets = _listed(outputs), _listed(inputs)
    starts = [None] * len(outs) if grad_outputs is None else _listed(grad_outputs)
    roots, grads = _roots(outs, starts, create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    found = engine.gradients(roots, grads, [_node_of(t) for t in targets], keep, create_graph)
    results: list[Any] = []
    for t, g in zip(targets, found, strict=True):
        if g is None and materialize_grads:
            g = np.zeros(t._d.shape, t._d.dtype)
            g = from_array(g) if create_graph else g
        if g is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        results.append(g if g is None or create_graph else from_array(np.asarray(g)))
    return tuple(results)


def _batched(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Any, ...]:
    from ..tensor import functions as fl

    starts = _listed(grad_outputs)
    count = len(starts[0])
    rows = [
        grad(
            outputs, inputs, [s[i] for s in starts], True, create_graph,
            allow_unused=allow_unused, materialize_grads=materialize_grads,
        )
        for i in range(count)
    ]  # fmt: skip
    return tuple(None if c[0] is None else fl.stack(list(c)) for c in zip(*rows, strict=True))


def is_accumulation(node: Any) -> bool:
    """Whether `node` adds gradients to a leaf."""
    return isinstance(node, AccumulateGrad)
