"""Sample calls as the derived tests run them: with tensors of any kind, moved, and projected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau
from flambeau.autograd import grad
from flambeau.ops.record import Op
from flambeau.tensor import functions as fl
from tests.ops.excuses import CONSTANTS

EPS = 1e-6


class Sample:
    """One call of an op, with its arguments by name; arrays among them stand for tensors."""

    def __init__(self, op: Op, args: Any, kwargs: Any) -> None:
        self.op = op
        self.values = dict(op.signature.bind(*args, **kwargs).arguments)

    def made(
        self, convert: Callable[[Any], Any], constant: Callable[[Any], Any] | None = None
    ) -> dict[str, Any]:
        """The arguments with `convert` applied to every array that stands for a tensor."""
        tensors = set(self.op.tensors)
        out = {}
        for name, value in self.values.items():
            if (self.op.name, name) in CONSTANTS:
                out[name] = _map(constant or tensor, value)
            elif name in tensors or self.op.family == "composite":
                out[name] = _map(convert, value)
            else:
                out[name] = value
        return out

    def run(self, convert: Callable[[Any], Any], **more: Any) -> Any:
        return self.call(self.made(convert), **more)

    def call(self, values: dict[str, Any], **more: Any) -> Any:
        positional, keyword = self.split(values)
        # What draws random numbers (a randomised SVD is free in sign) draws the same ones each time.
        flambeau.manual_seed(11)
        return getattr(fl, self.op.name)(*positional, **keyword, **more)

    def split(self, values: dict[str, Any], skip: int = 0) -> tuple[list[Any], dict[str, Any]]:
        """`values` as positional and keyword arguments, without the first `skip` of them."""
        positional: list[Any] = []
        keyword: dict[str, Any] = {}
        gap = False
        for p in list(self.op.signature.parameters.values())[skip:]:
            if p.name not in values:
                gap = True
            elif p.kind is p.VAR_POSITIONAL:
                positional.extend(values[p.name])
            elif gap or p.kind is p.KEYWORD_ONLY:
                keyword[p.name] = values[p.name]
            else:
                positional.append(values[p.name])
        return positional, keyword

    def arrays(self) -> list[np.ndarray]:
        """Every array that stands for a tensor, in order."""
        found: list[np.ndarray] = []
        self.made(found.append)
        return found


def _map(convert: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return convert(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_map(convert, v) for v in value)
    return value


def flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in flat(v)]
    return [value]


def outputs(value: Any) -> list[Any]:
    """The tensors among an op's results."""
    return [v for v in flat(value) if isinstance(v, flambeau.Tensor)]


def tensor(array: np.ndarray) -> Any:
    return flambeau.from_numpy(np.array(array))


def graded(array: np.ndarray) -> Any:
    made = tensor(array)
    return made.requires_grad_() if array.dtype.kind in "fc" else made


def weights(rng: np.random.Generator, like: Any) -> np.ndarray:
    """Random numbers of the shape and kind of an array or tensor."""
    shape, kind = tuple(like.shape), like.dtype
    made = rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)
    is_complex = kind.kind == "c" if isinstance(like, np.ndarray) else kind.is_complex
    return np.asarray(made + 1j * rng.uniform(-1, 1, shape) if is_complex else made)


def project(value: Any, seed: int) -> Any:
    """A real 0-d tensor that depends on every element of every inexact result."""
    rng, total = np.random.default_rng(seed), None
    for out in outputs(value):
        v = weights(rng, out)
        if not out.dtype.is_floating_point and not out.dtype.is_complex:
            continue
        v = tensor(np.asarray(v, out.dtype.numpy_dtype))
        part = (out * v.conj()).sum().real if out.dtype.is_complex else (out * v).sum()
        total = part if total is None else total + part
    return total


def number(value: Any) -> float:
    return 0.0 if value is None else float(value.detach()._d.real)


def directions(arrays: list[np.ndarray], seed: int) -> list[np.ndarray | None]:
    rng = np.random.default_rng(seed)
    return [weights(rng, a) if a.dtype.kind in "fc" else None for a in arrays]


def moved(sample: Sample, along: list[np.ndarray | None], step: float) -> Callable[[Any], Any]:
    """A converter that makes tensors of the sample's arrays, moved by ``step * along``."""
    position = iter(range(10**9))

    def convert(array: np.ndarray) -> Any:
        u = along[next(position)]
        return graded(array if u is None else array + step * u.reshape(array.shape))

    return convert


def slope(f: Callable[[float], float], eps: float = EPS) -> float:
    """The central difference of `f` at 0."""
    return (f(eps) - f(-eps)) / (2 * eps)


def inner(grads: list[Any], along: list[np.ndarray | None]) -> float:
    total = 0.0
    for g, u in zip(grads, along, strict=True):
        if g is not None and u is not None:
            total += float(np.real(np.sum(np.conj(g.detach()._d) * u)))
    return total


def close(found: float, expected: float, rtol: float, atol: float, what: str) -> None:
    assert abs(found - expected) <= atol + rtol * abs(expected), (
        f"{what}: {found!r}, by finite differences {expected!r}"
    )


def leaves_of(sample: Sample, values: dict[str, Any]) -> list[Any]:
    """The tensors that `Sample.arrays` stands for."""
    given = [v for n, v in values.items() if (sample.op.name, n) not in CONSTANTS]
    return [t for t in flat(given) if isinstance(t, flambeau.Tensor)]


def gradients(sample: Sample, convert: Callable[[Any], Any]) -> tuple[Any, list[Any]]:
    """The results, and the gradient of their projection for every tensor argument (or None)."""
    values = sample.made(convert)
    leaves = leaves_of(sample, values)
    out = sample.call(values)
    scalar = project(out, 1)
    if scalar is None or not scalar.requires_grad:
        return out, [None] * len(leaves)
    wanted = [t for t in leaves if t.requires_grad]
    found = iter(grad(scalar, wanted, allow_unused=True))
    return out, [next(found) if t.requires_grad else None for t in leaves]


def array_of(t: Any) -> np.ndarray:
    """The array of a tensor of any dtype."""
    return t.detach()._d
