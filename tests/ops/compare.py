"""One call with both libraries: values, dtypes, gradients and gradients of gradients.

A case is the path of a function below the library's root, its arguments and keyword arguments.
NumPy arrays stand for tensors; those of floating point require a gradient.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pytest

import flambeau


class Case(NamedTuple):
    """A call: ``Case("nn.functional.relu", x)``."""

    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __repr__(self) -> str:
        shown = [_show(a) for a in self.args] + [f"{k}={_show(v)}" for k, v in self.kwargs.items()]
        return f"{self.path}({', '.join(shown)})"


def case(path: str, *args: Any, **kwargs: Any) -> Any:
    """A case as a parameter of a test, named after the call."""
    made = Case(path, args, kwargs)
    return pytest.param(made, id=repr(made).replace("nn.functional.", ""))


def _show(value: Any) -> str:
    return "x".join(map(str, value.shape)) or "()" if isinstance(value, np.ndarray) else str(value)


def normal(*shape: int, seed: int = 0) -> Any:
    """Normal numbers, float64, the same at every call."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def uniform(*shape: int, seed: int = 0) -> Any:
    """Numbers in [0.05, 0.95), float64."""
    return np.random.default_rng([seed, *shape]).uniform(0.05, 0.95, shape)


def integers(high: int, *shape: int, seed: int = 0) -> Any:
    """Integers in [0, high), int64."""
    return np.random.default_rng([seed, high, *shape]).integers(0, high, shape)


def distinct(*shape: int) -> Any:
    """Shuffled numbers that lie well apart, float64: no ties, whatever is compared."""
    count = int(np.prod(shape))
    return np.random.default_rng(count).permutation(count).reshape(shape) / 7.0 - count / 15


def _tensor(library: Any, value: Any, dtype: str | None, layout: str) -> Any:
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
        return type(value)(_tensor(library, v, dtype, layout) for v in value)
    if not isinstance(value, np.ndarray):
        return value
    made = library.tensor(value.tolist() if value.size < 2 else value)
    if value.dtype.kind in "fc" and dtype is not None:
        made = made.to(getattr(library, dtype))
    else:
        made = made.to(getattr(library, value.dtype.name))
    made = made.reshape(value.shape)
    if layout == "reversed" and made.ndim > 1:  # the same values, dimensions reversed in memory
        order = list(range(made.ndim))[::-1]
        made = made.permute(order).contiguous().permute(order)
    return made.requires_grad_() if value.dtype.kind in "fc" else made


def _flatten(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in _flatten(v)]
    return [value]


def _tensors(library: Any, values: Any) -> list[Any]:
    return [v for v in _flatten(values) if isinstance(v, library.Tensor)]


def _call(library: Any, made: Case, dtype: str | None, layout: str) -> tuple[list[Any], list[Any]]:
    function = functools.reduce(getattr, made.path.split("."), library)
    args = [_tensor(library, a, dtype, layout) for a in made.args]
    kwargs = {k: _tensor(library, v, dtype, layout) for k, v in made.kwargs.items()}
    kwargs |= {k: v.detach() for k, v in kwargs.items() if k[0] == "_" and hasattr(v, "detach")}
    outs = _tensors(library, function(*args, **kwargs))
    return outs, [t for t in _tensors(library, [*args, *kwargs.values()]) if t.requires_grad]


def _project(library: Any, outs: list[Any], seed: int) -> Any:
    """A number that depends on every element of every result in another way."""
    total = 0.0
    for i, out in enumerate(outs):
        if not out.is_floating_point() or not out.requires_grad:
            continue
        weights = normal(*out.shape, seed=seed + i) + 0.1
        total = total + (out * library.tensor(np.asarray(weights)).to(out.dtype)).sum()
    return total


def _numbers(t: Any) -> Any:
    t = t.detach()
    if getattr(t, "_is_zerotensor", bool)():  # PyTorch's lazy zeros have no memory to read
        t = t.clone()
    half = str(t.dtype) in ("torch.float16", "torch.bfloat16")
    return np.array((t.float() if half else t).tolist()).reshape(tuple(t.shape))


def _same(ours: Any, theirs: Any, rtol: float, atol: float, what: str) -> None:
    assert str(ours.dtype) == str(theirs.dtype), f"{what}: {ours.dtype}, torch has {theirs.dtype}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"{what}: shapes differ"
    np.testing.assert_allclose(_numbers(ours), _numbers(theirs), rtol, atol, err_msg=what)


def agree(
    made: Case,
    *,
    dtype: str | None = None,
    layout: str = "plain",
    order: int = 2,
    rtol: float = 1e-6,
    atol: float = 1e-9,
) -> None:
    """Assert that both libraries compute the same, up to the `order`-th gradient."""
    torch = pytest.importorskip("torch")
    libraries = (flambeau, torch)
    results = [_call(library, made, dtype, layout) for library in libraries]
    assert len(results[0][0]) == len(results[1][0]), "number of results"
    for i, (ours, theirs) in enumerate(zip(results[0][0], results[1][0], strict=True)):
        _same(ours, theirs, rtol, atol, f"result {i}")
        assert ours.requires_grad == theirs.requires_grad, f"result {i}: requires_grad"
    scalars = [_project(lib, r[0], 3) for lib, r in zip(libraries, results, strict=True)]
    for level in range(1, order + 1):
        if not hasattr(scalars[1], "requires_grad") or not scalars[1].requires_grad:
            return
        grads = []
        for library, scalar, (_, leaves) in zip(libraries, scalars, results, strict=True):
            if not getattr(scalar, "requires_grad", False):  # the gradient was a constant
                grads.append((None,) * len(leaves))
                continue
            grads.append(
                library.autograd.grad(scalar, leaves, create_graph=level < order, allow_unused=True)
            )
        for i, (ours, theirs) in enumerate(zip(*grads, strict=True)):
            if ours is None or theirs is None:
                only = theirs if ours is None else ours
                assert only is None or not _numbers(only).any(), f"gradient {i} of order {level}"
                continue
            _same(ours, theirs, rtol, atol, f"gradient {i} of order {level}")
        if level < order:
            scalars = [
                _project(lib, [x for x in g if x is not None], 5)
                for lib, g in zip(libraries, grads, strict=True)
            ]


def refuse(made: Case) -> None:
    """Assert that both libraries refuse a call, with an error of the same kind."""
    torch = pytest.importorskip("torch")
    errors = []
    for library in (flambeau, torch):
        with pytest.raises(Exception) as caught:
            _call(library, made, None, "plain")
        errors.append(caught.value)
    kinds = [k.__name__ for k in type(errors[0]).__mro__]
    assert type(errors[1]).__name__ in kinds, f"{errors[0]!r}, torch raises {errors[1]!r}"
