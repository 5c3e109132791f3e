"""What is derived from an op's record, for every op: nothing here knows an op but by its samples.

Each test runs over all samples of one op; a failure names the sample's index, so
``SAMPLES[op][index]`` replays it. Gradients are held against central differences in float64, by
random projection; values, dtypes and shapes against PyTorch and against NumPy's path.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.autograd import forward_ad, grad
from flambeau.ops.record import REGISTRY, Op
from flambeau.tensor import functions as fl
from tests.ops.excuses import (
    CONSTANTS,
    COUNTS_TIES,
    NEEDS_A_LAYOUT,
    NO_META,
    NO_SAMPLES,
    NOT_A_DERIVATIVE,
    NOT_TORCH,
    WIDER_HALF,
)
from tests.ops.samples import SAMPLES

EPS = 1e-6
OPS = sorted(set(REGISTRY) & set(SAMPLES))
every_op = pytest.mark.parametrize("name", OPS)


# ---------------------------------------------------------------- running a sample
class Sample:
    """One call of an op, with its arguments by name; arrays among them stand for tensors."""

    def __init__(self, op: Op, args: Any, kwargs: Any) -> None:
        self.op = op
        parameters = list(op.signature.parameters.values())
        split = [p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
        self.rest = split[0] if split else None
        bound = op.signature.bind(*args, **kwargs)
        self.values = dict(bound.arguments)
        if not split:
            self.values |= self.values.pop("kwargs", {})

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
        function = getattr(fl, self.op.name)
        positional, keyword = [], dict(more)
        for p in self.op.signature.parameters.values():
            if p.name not in values:
                continue
            if p.kind is p.VAR_POSITIONAL:
                positional.extend(values[p.name])
            elif p.kind is p.KEYWORD_ONLY:
                keyword[p.name] = values[p.name]
            elif len(positional) == list(self.op.signature.parameters).index(p.name):
                positional.append(values[p.name])
            else:
                keyword[p.name] = values[p.name]
        return function(*positional, **keyword)

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


@contextmanager
def naming(name: str, index: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"in SAMPLES[{name!r}][{index}]: {SAMPLES[name][index]!r}")
        raise


def each(name: str) -> Iterator[tuple[int, Sample]]:
    for index, (args, kwargs) in enumerate(SAMPLES[name]):
        with naming(name, index):
            yield index, Sample(REGISTRY[name], args, kwargs)


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
        v = tensor(np.asarray(v, out._d.dtype))
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


def gradients(sample: Sample, convert: Callable[[Any], Any], create: bool = False) -> Any:
    """The results, and the gradient of their projection for every tensor argument (or None)."""
    values = sample.made(convert)
    leaves = leaves_of(sample, values)
    out = sample.call(values)
    scalar = project(out, 1)
    if scalar is None or not scalar.requires_grad:
        return out, [None] * len(leaves)
    wanted = [t for t in leaves if t.requires_grad]
    found = iter(grad(scalar, wanted, create_graph=create, allow_unused=True))
    return out, [next(found) if t.requires_grad else None for t in leaves]


# ---------------------------------------------------------------- completeness
def test_every_op_has_samples_or_an_excuse():
    missing = sorted(set(REGISTRY) - set(SAMPLES) - set(NO_SAMPLES))
    assert not missing, f"ops without samples in tests/ops/samples.py: {' '.join(missing)}"


def test_no_excuse_is_out_of_date():
    excuses = {
        **COUNTS_TIES, **NEEDS_A_LAYOUT, **NO_META, **NO_SAMPLES, **NOT_A_DERIVATIVE, **NOT_TORCH,
        **WIDER_HALF,
    }  # fmt: skip
    assert not sorted(set(excuses) - set(REGISTRY))
    assert not sorted(set(NO_SAMPLES) & set(SAMPLES))
    assert all(len(reason) > 10 for reason in excuses.values())


def test_no_sample_is_of_an_unknown_op():
    assert not sorted(set(SAMPLES) - set(REGISTRY))


@every_op
def test_every_argument_has_a_derivative_or_an_excuse(name: str) -> None:
    op = REGISTRY[name]
    if not op.differentiable or op.decompose is not None:
        return
    for _, sample in each(name):
        for argument in op.tensors:
            given = [a for a in flat(sample.values.get(argument)) if isinstance(a, np.ndarray)]
            if any(a.dtype.kind in "fc" for a in given):
                known = argument in op.grad or argument in op.partials
                assert known is not ((name, argument) in CONSTANTS), argument


# ---------------------------------------------------------------- values
def _transposed(a: np.ndarray) -> np.ndarray:
    """`a` with its dimensions reversed in memory."""
    return np.array(a.T, order="C").T


def _strided(a: np.ndarray) -> np.ndarray:
    """`a` as every second element of a larger array, in each dimension."""
    wide = np.full([2 * n + 1 for n in a.shape], 77, a.dtype)
    part = wide[(*(slice(1, 2 * n + 1, 2) for n in a.shape), ...)]
    part[...] = a
    return part


def _offset(a: np.ndarray) -> np.ndarray:
    """`a` somewhere inside a larger flat array."""
    flat = np.full(a.size + 5, 77, a.dtype)
    part = flat[3 : 3 + a.size].reshape(a.shape)
    part[...] = a
    return part


@every_op
@pytest.mark.parametrize("layout", [_transposed, _strided, _offset])
def test_any_memory_layout_gives_the_same(name: str, layout: Callable[..., Any]) -> None:
    if name in NEEDS_A_LAYOUT:
        return
    for _, sample in each(name):
        plain, its = gradients(sample, graded)
        other, theirs = gradients(sample, lambda a: _graded_as_it_is(layout(a)))
        for a, b in zip(outputs(plain), outputs(other), strict=True):
            assert a.dtype is b.dtype
            np.testing.assert_allclose(_array(b), _array(a), 1e-9, 1e-12)
        for a, b in zip(its, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(_array(b), _array(a), 1e-9, 1e-12)


def _graded_as_it_is(array: np.ndarray) -> Any:
    made = flambeau.from_numpy(array)
    return made.requires_grad_() if array.dtype.kind in "fc" else made


def _array(t: Any) -> np.ndarray:
    return t.detach()._d


@every_op
def test_inputs_are_never_modified(name: str) -> None:
    for _, sample in each(name):
        originals = [a.copy() for a in sample.arrays()]
        values = sample.made(graded)
        held = leaves_of(sample, values)
        out = sample.call(values)
        scalar = project(out, 1)
        if scalar is not None and scalar.requires_grad:
            scalar.backward()
        for before, t in zip(originals, held, strict=True):
            np.testing.assert_array_equal(_array(t), before)
            assert t._version == 0


@every_op
def test_results_do_not_alias_inputs_unless_views(name: str) -> None:
    op = REGISTRY[name]
    if op.family in ("view", "composite"):
        return
    for _, sample in each(name):
        values = sample.made(tensor)
        for out in outputs(sample.call(values)):
            for t in leaves_of(sample, values):
                assert not np.shares_memory(out._d, t._d) or out._s is t._s, (
                    "a result shares memory with an input but not its version counter"
                )


TORCH_DTYPES = "float64 float32 float16 bfloat16 int64 int32 uint8 bool complex64".split()
LOOSE = {
    "float16": (4e-3, 4e-3),
    "bfloat16": (3e-2, 3e-2),
    "float32": (2e-5, 2e-5),
    "complex64": (2e-5, 2e-5),
}


def torch_function(torch: Any, name: str) -> Any:
    for home in (torch, torch.nn.functional, torch.special, torch.linalg):
        if hasattr(home, name):
            return getattr(home, name)
    return None


@every_op
def test_as_in_torch_for_every_dtype(name: str) -> None:
    torch = pytest.importorskip("torch")
    if name in NOT_TORCH or not hasattr(flambeau, name):
        return
    function = torch_function(torch, name)
    if function is None:
        return
    for _, sample in each(name):
        for dtype in TORCH_DTYPES:
            given = [a for a in sample.arrays() if a.dtype.kind in "fc"]
            if not given and dtype != "float64":
                break
            if name in COUNTS_TIES and dtype in ("int64", "int32", "uint8", "bool"):
                continue
            if name in WIDER_HALF and dtype in ("float16", "bfloat16"):
                continue
            try:
                theirs = _torch_outputs(torch, function, sample, dtype)
                if any(str(t.dtype) == "torch.complex32" for t in theirs):
                    continue  # cannot be stored
            except (RuntimeError, NotImplementedError, TypeError, IndexError, ValueError):
                continue  # PyTorch has no such kernel
            ours = outputs(sample.run(lambda a, d=dtype: _cast(flambeau, a, d)))
            assert len(ours) == len(theirs), dtype
            rtol, atol = LOOSE.get(dtype, (1e-7, 1e-9))
            for a, b in zip(ours, theirs, strict=True):
                assert (str(a.dtype), tuple(a.shape)) == (str(b.dtype), tuple(b.shape)), dtype
                rtol_here = max(rtol, LOOSE.get(str(b.dtype)[6:], (0, 0))[0])
                np.testing.assert_allclose(
                    _numbers(a), _numbers(b), rtol_here, atol, err_msg=f"for {dtype}"
                )


def _cast(library: Any, a: np.ndarray, dtype: str) -> Any:
    made = library.from_numpy(np.array(a))
    if a.dtype.kind not in "fc":
        return made
    if a.dtype.kind == "c" and dtype != "complex64":
        return made
    return made.to(getattr(library, dtype))


def _torch_outputs(torch: Any, function: Any, sample: Sample, dtype: str) -> list[Any]:
    values = sample.made(lambda a: _cast(torch, a, dtype))
    positional = [values[n] for n in sample.op.signature.parameters if n in values]
    kinds = sample.op.signature.parameters
    positional, keyword = [], {}
    for n, p in kinds.items():
        if n not in values:
            continue
        if p.kind is p.VAR_POSITIONAL:
            positional.extend(values[n])
        elif p.kind is p.KEYWORD_ONLY or keyword or _gap(kinds, values, n):
            keyword[n] = values[n]
        else:
            positional.append(values[n])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = function(*positional, **keyword)
    return [v for v in flat(result) if isinstance(v, torch.Tensor)]


def _gap(parameters: Any, values: dict[str, Any], name: str) -> bool:
    for n in parameters:
        if n == name:
            return False
        if n not in values:
            return True
    return False


def _numbers(t: Any) -> np.ndarray:
    t = t.detach()
    if str(t.dtype) in ("torch.bfloat16", "torch.float16"):
        t = t.float()
    if hasattr(t, "resolve_conj"):
        t = t.resolve_conj()
    return np.array(t.tolist()).reshape(tuple(t.shape))


# ---------------------------------------------------------------- derivatives
@every_op
def test_gradients_are_the_slopes(name: str) -> None:
    if name in NOT_A_DERIVATIVE:
        return
    for _, sample in each(name):
        arrays = sample.arrays()
        out, found = gradients(sample, graded)
        if project(out, 1) is None:
            continue
        for k in range(len(arrays)):
            along = directions(arrays, 5 + k)
            if along[k] is None or found[k] is None:
                continue
            only = [u if i == k else None for i, u in enumerate(along)]
            expected = slope(
                lambda s, only=only: number(project(sample.run(moved(sample, only, s)), 1))
            )
            close(inner(found, only), expected, 1e-5, 1e-6, f"gradient of tensor argument {k}")
            assert found[k].shape == arrays[k].shape


@every_op
def test_second_derivatives_are_the_slopes_of_the_first(name: str) -> None:
    if name in NOT_A_DERIVATIVE:
        return
    for _, sample in each(name):
        arrays = sample.arrays()
        values = sample.made(graded)
        leaves = leaves_of(sample, values)
        wanted = [t for t in leaves if t.requires_grad]
        scalar = project(sample.call(values), 1)
        if scalar is None or not scalar.requires_grad:
            continue
        first = grad(scalar, wanted, create_graph=True, allow_unused=True)
        again = project([g for g in first if g is not None], 2)
        found: list[Any] = [None] * len(wanted)
        if again is not None and again.requires_grad:
            found = list(grad(again, wanted, allow_unused=True))
        filled = iter(found)
        everything = [next(filled) if t.requires_grad else None for t in leaves]
        along = directions(arrays, 9)

        def first_at(step: float, sample: Sample = sample, along: Any = along) -> float:
            _, grads = gradients(sample, moved(sample, along, step))
            return number(project([g for g in grads if g is not None], 2))

        close(inner(everything, along), slope(first_at), 1e-4, 1e-5, "second derivative")


@every_op
def test_forward_mode_gives_the_slopes(name: str) -> None:
    if name in NOT_A_DERIVATIVE:
        return
    for _, sample in each(name):
        arrays = sample.arrays()
        along = directions(arrays, 13)
        plain = sample.run(graded)
        scalar = project(plain, 1)
        if scalar is None or not scalar.requires_grad:
            continue
        expected = slope(
            lambda s, along=along: number(project(sample.run(moved(sample, along, s)), 1))
        )
        turn = iter(along)

        def dual(array: np.ndarray, turn: Any = turn) -> Any:
            u = next(turn)
            made = tensor(array)
            return made if u is None else forward_ad.make_dual(made, tensor(u.astype(array.dtype)))

        with forward_ad.dual_level():
            duals = outputs(sample.run(dual))
            parts = [forward_ad.unpack_dual(o) for o in duals]
        rng, found = np.random.default_rng(1), 0.0
        for primal, tangent in parts:
            v = weights(rng, primal)
            if tangent is not None:
                assert tangent.shape == primal.shape
                found += float(np.real(np.sum(np.conj(v) * _array(tangent))))
        close(found, expected, 1e-5, 1e-6, "tangent")


# ---------------------------------------------------------------- other forms
def _meta(array: np.ndarray) -> Any:
    return tensor(array).to("meta")


@every_op
def test_meta_shapes_and_dtypes(name: str) -> None:
    for _, sample in each(name):
        real = outputs(sample.run(tensor))
        try:
            meta = outputs(sample.call(sample.made(_meta, _meta)))
        except (RuntimeError, ValueError):
            assert name in NO_META
            continue
        assert len(real) == len(meta)
        for a, b in zip(real, meta, strict=True):
            if not b.is_meta:
                assert name in NO_META
                continue
            assert (a.dtype, a.shape) == (b.dtype, b.shape)


@every_op
def test_in_place_does_the_same(name: str) -> None:
    op = REGISTRY[name]
    if not op.inplace:
        return
    for _, sample in each(name):
        values = sample.made(tensor)
        first = values.get(op.tensors[0])
        expected = sample.run(tensor)
        if not isinstance(first, flambeau.Tensor) or not isinstance(expected, flambeau.Tensor):
            continue
        if first.shape != expected.shape:
            continue
        if not flambeau.can_cast(expected.dtype, first.dtype):
            with pytest.raises(RuntimeError, match="cast"):
                _in_place(sample, values)
            continue
        before, memory = first.dtype, first._d
        out = _in_place(sample, values)
        assert out is first
        assert out._d is memory
        assert out.dtype is before
        assert out._version == 1
        np.testing.assert_allclose(_array(out), _array(expected.to(before)))


def _in_place(sample: Sample, values: dict[str, Any]) -> Any:
    stand_in = Sample.__new__(Sample)
    stand_in.op, stand_in.values = sample.op, sample.values
    function = getattr(values[sample.op.tensors[0]], f"{sample.op.name}_")
    rest = {n: v for n, v in values.items() if n != sample.op.tensors[0]}
    positional, keyword, gap = [], {}, False
    for n, p in list(sample.op.signature.parameters.items())[1:]:
        if n not in rest:
            gap = True
        elif gap or p.kind is p.KEYWORD_ONLY:
            keyword[n] = rest[n]
        else:
            positional.append(rest[n])
    return function(*positional, **keyword)


@every_op
def test_out_receives_the_same(name: str) -> None:
    if not REGISTRY[name].out:
        return
    for _, sample in each(name):
        expected = sample.run(tensor)
        parts = outputs(expected)
        target: Any = [flambeau.empty(p.shape, dtype=p.dtype) for p in parts]
        given = target if isinstance(expected, (tuple, list)) else target[0]
        result = sample.run(tensor, out=tuple(given) if isinstance(given, list) else given)
        for a, b, t in zip(parts, outputs(result), target, strict=True):
            assert b is t
            np.testing.assert_array_equal(_array(b), _array(a))
        with pytest.raises(RuntimeError, match="requires? grad"):
            sample.run(tensor, out=_requiring(given))


def _requiring(given: Any) -> Any:
    if isinstance(given, list):
        return tuple(_requiring(t) for t in given)
    return flambeau.ones(given.shape, requires_grad=True) * 1


@every_op
def test_methods_are_the_functions(name: str) -> None:
    op = REGISTRY[name]
    if not op.method or op.varargs is not None:
        return
    for _, sample in each(name):
        values = sample.made(tensor)
        first = next(iter(values.values()))
        if not isinstance(first, flambeau.Tensor):
            continue
        assert callable(getattr(first, name)) or isinstance(getattr(first, name), type(first))
        for alias in op.aliases:
            assert getattr(fl, alias) is getattr(fl, name)


# ---------------------------------------------------------------- compiled kernels
SHORT = [n for n in OPS if REGISTRY[n].family == "pointwise" and len(REGISTRY[n].tensors) <= 2]
SIZE = 8192 + 77


def pieces(f: Callable[..., Any], arrays: list[np.ndarray], size: int = 1000) -> np.ndarray:
    """``f`` over short slices, for which no kernel is used."""
    length = max(a.size for a in arrays)
    parts = [
        f(*(a if a.size == 1 else a[i : i + size] for a in arrays)) for i in range(0, length, size)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHORT)
def test_large_tensors_give_what_small_ones_do(name: str, dtype: Any) -> None:
    op = REGISTRY[name]
    function = getattr(fl, name)
    for _, sample in each(name):
        arrays = sample.arrays()
        parameters = {k: v for k, v in sample.values.items() if k not in op.tensors}
        numbers = [
            sample.values[t] for t in op.tensors if not isinstance(sample.values[t], np.ndarray)
        ]
        constant = len(arrays) < len(op.tensors)
        if numbers or constant or any(a.dtype.kind != "f" for a in arrays):
            continue
        large = [np.resize(a, SIZE).astype(dtype) for a in arrays]
        for turn, a in enumerate(large):
            large[turn] = np.roll(a, turn * 7)
        run = functools.partial(_value_and_gradients, function, parameters)
        whole = run(*large)
        for k, found in enumerate(whole):
            if found is None:
                continue
            expected = pieces(lambda *a, k=k: run(*a)[k], large)
            rtol = 4e-6 if dtype is np.float32 else 1e-14
            np.testing.assert_allclose(found, expected, rtol, rtol, err_msg=f"part {k}")


def _value_and_gradients(
    function: Any, parameters: dict[str, Any], *arrays: np.ndarray
) -> list[Any]:
    tensors = [flambeau.tensor(a, requires_grad=True) for a in arrays]
    out = function(*tensors, **parameters)
    if not out.requires_grad:
        return [_array(out)]
    ramp = np.ones(out.shape, out._d.dtype)
    found = grad(out, tensors, flambeau.from_numpy(ramp), allow_unused=True)
    return [_array(out), *(None if g is None else _array(g) for g in found)]
