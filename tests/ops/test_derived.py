"""What is derived from an op's record, for every op: nothing here knows an op but by its samples.

Each test runs over all samples of one op; a failure names the sample's index, so
``SAMPLES[op][index]`` replays it. Gradients are held against central differences in float64, by
random projection; values, dtypes and shapes against PyTorch and against NumPy's path.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.autograd import forward_ad, grad
from flambeau.ops.record import REGISTRY
from flambeau.tensor import functions as fl
from tests.ops.calls import (
    Sample,
    array_of,
    close,
    directions,
    flat,
    graded,
    gradients,
    inner,
    leaves_of,
    moved,
    number,
    outputs,
    project,
    slope,
    tensor,
    weights,
)
from tests.ops.excuses import (
    CONSTANTS,
    COUNTS_TIES,
    NEEDS_A_LAYOUT,
    NO_DERIVATIVE,
    NO_META,
    NO_SAMPLES,
    NOT_A_DERIVATIVE,
    NOT_TORCH,
    WIDER_HALF,
)
from tests.ops.samples import SAMPLES

OPS = sorted(set(REGISTRY) & set(SAMPLES))
SHORT = [n for n in OPS if REGISTRY[n].family == "pointwise" and len(REGISTRY[n].tensors) <= 2]


def every_op(test: Callable[[Sample], None], names: list[str] = OPS) -> Callable[[str], None]:
    """Make a test of one sample a test of each op, over all of the op's samples."""

    @pytest.mark.parametrize("name", names)
    def run(name: str) -> None:
        for index, (args, kwargs) in enumerate(SAMPLES[name]):
            try:
                test(Sample(REGISTRY[name], args, kwargs))
            except Exception as error:
                error.add_note(f"in SAMPLES[{name!r}][{index}]: {args!r} {kwargs!r}")
                raise

    run.__name__ = test.__name__
    return run


# ---------------------------------------------------------------- completeness
def test_every_op_has_samples_or_an_excuse():
    missing = sorted(set(REGISTRY) - set(SAMPLES) - set(NO_SAMPLES))
    assert not missing, f"ops without samples in tests/ops/samples.py: {' '.join(missing)}"


def test_no_excuse_is_out_of_date():
    excuses = {
        **COUNTS_TIES, **NEEDS_A_LAYOUT, **NO_DERIVATIVE, **NO_META, **NO_SAMPLES, **NOT_TORCH,
        **NOT_A_DERIVATIVE, **WIDER_HALF,
    }  # fmt: skip
    assert not sorted(set(excuses) - set(REGISTRY))
    assert not sorted(set(NO_SAMPLES) & set(SAMPLES))
    assert all(len(reason) > 10 for reason in excuses.values())


def test_no_sample_is_of_an_unknown_op():
    assert not sorted(set(SAMPLES) - set(REGISTRY))


def test_a_failure_names_the_op_and_the_sample(monkeypatch):
    def failing(sample: Sample) -> None:
        assert sample.op.name != "sin"

    with pytest.raises(AssertionError) as caught:
        every_op(failing)("sin")
    assert caught.value.__notes__[0].startswith("in SAMPLES['sin'][0]")


@every_op
def test_every_argument_has_a_derivative_or_an_excuse(sample: Sample) -> None:
    op = sample.op
    if not op.differentiable or op.decompose is not None:
        return
    for argument in op.tensors:
        given = [a for a in flat(sample.values.get(argument)) if isinstance(a, np.ndarray)]
        if any(a.dtype.kind in "fc" for a in given):
            known = argument in op.grad or argument in op.partials
            assert known is not ((op.name, argument) in CONSTANTS), argument


# ---------------------------------------------------------------- values
def transposed(a: np.ndarray) -> np.ndarray:
    """`a` with its dimensions reversed in memory."""
    return np.array(a.T, order="C").T


def strided(a: np.ndarray) -> np.ndarray:
    """`a` as every second element of a larger array, in each dimension."""
    wide = np.full([2 * n + 1 for n in a.shape], 77, a.dtype)
    part = wide[(*(slice(1, 2 * n + 1, 2) for n in a.shape), ...)]
    part[...] = a
    return part


def offset(a: np.ndarray) -> np.ndarray:
    """`a` somewhere inside a larger flat array."""
    whole = np.full(a.size + 5, 77, a.dtype)
    part = whole[3 : 3 + a.size].reshape(a.shape)
    part[...] = a
    return part


def graded_as_it_is(array: np.ndarray) -> Any:
    """A tensor over the very memory of `array`."""
    made = flambeau.from_numpy(array)
    return made.requires_grad_() if array.dtype.kind in "fc" else made


@every_op
def test_any_memory_layout_gives_the_same(sample: Sample) -> None:
    if sample.op.name in NEEDS_A_LAYOUT:
        return
    plain, its = gradients(sample, graded)
    for layout in (transposed, strided, offset):
        other, theirs = gradients(sample, lambda a, f=layout: graded_as_it_is(f(a)))
        for a, b in zip(outputs(plain), outputs(other), strict=True):
            assert a.dtype is b.dtype
            np.testing.assert_allclose(array_of(b), array_of(a), 1e-9, 1e-12, str(layout))
        for a, b in zip(its, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(array_of(b), array_of(a), 1e-9, 1e-12, str(layout))


@every_op
def test_inputs_are_never_modified(sample: Sample) -> None:
    originals = [a.copy() for a in sample.arrays()]
    values = sample.made(graded)
    held = leaves_of(sample, values)
    scalar = project(sample.call(values), 1)
    if scalar is not None and scalar.requires_grad:
        scalar.backward()
    for before, t in zip(originals, held, strict=True):
        np.testing.assert_array_equal(array_of(t), before)
        assert t._version == 0


@every_op
def test_results_do_not_alias_inputs_unless_views(sample: Sample) -> None:
    if sample.op.family in ("view", "composite"):
        return
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
    """PyTorch's function of that name, wherever it keeps it."""
    for home in (torch, torch.nn.functional, torch.special, torch.linalg):
        if hasattr(home, name):
            return getattr(home, name)
    return None


def is_compared(name: str, dtype: str) -> bool:
    """Whether the op's results in `dtype` are determined."""
    if name in COUNTS_TIES and dtype in ("int64", "int32", "uint8", "bool"):
        return False
    return not (name in WIDER_HALF and dtype in ("float16", "bfloat16"))


@every_op
def test_as_in_torch_for_every_dtype(sample: Sample) -> None:
    torch = pytest.importorskip("torch")
    name = sample.op.name
    function = torch_function(torch, name)
    if name in NOT_TORCH or function is None or not hasattr(flambeau, name):
        return
    castable = any(a.dtype.kind in "fc" for a in sample.arrays())
    for dtype in TORCH_DTYPES if castable else ["float64"]:
        if not is_compared(name, dtype):
            continue
        try:
            theirs = torch_outputs(torch, function, sample, dtype)
        except (RuntimeError, NotImplementedError, TypeError, IndexError, ValueError):
            continue  # PyTorch has no such kernel
        if any(str(t.dtype) == "torch.complex32" for t in theirs):
            continue  # cannot be stored
        ours = outputs(sample.run(lambda a, d=dtype: cast(flambeau, a, d)))
        assert len(ours) == len(theirs), dtype
        for a, b in zip(ours, theirs, strict=True):
            assert (str(a.dtype), tuple(a.shape)) == (str(b.dtype), tuple(b.shape)), dtype
            rtol, atol = LOOSE.get(dtype, (1e-7, 1e-9))
            rtol = max(rtol, LOOSE.get(str(b.dtype)[6:], (0, 0))[0])
            np.testing.assert_allclose(numbers(a), numbers(b), rtol, atol, err_msg=f"for {dtype}")


def cast(library: Any, a: np.ndarray, dtype: str) -> Any:
    """A tensor of `a`; floating-point arrays are cast to `dtype`, complex ones to complex64."""
    made = library.from_numpy(np.array(a))
    if a.dtype.kind == "f" or (a.dtype.kind == "c" and dtype == "complex64"):
        return made.to(getattr(library, dtype))
    return made


def torch_outputs(torch: Any, function: Any, sample: Sample, dtype: str) -> list[Any]:
    """The tensors that PyTorch's function returns for a sample."""
    positional, keyword = sample.split(sample.made(lambda a: cast(torch, a, dtype)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = function(*positional, **keyword)
    return [v for v in flat(result) if isinstance(v, torch.Tensor)]


def numbers(t: Any) -> np.ndarray:
    """The values of a tensor of either library."""
    t = t.detach()
    if str(t.dtype) in ("torch.bfloat16", "torch.float16"):
        t = t.float()
    return np.array(t.resolve_conj().tolist()).reshape(tuple(t.shape))


# ---------------------------------------------------------------- derivatives
def is_differentiable(sample: Sample) -> bool:
    """Whether finite differences say what the derivative should be."""
    name = sample.op.name
    return not (name in NOT_A_DERIVATIVE or name in NO_DERIVATIVE or sample.op.excuse)


@every_op
def test_gradients_are_the_slopes(sample: Sample) -> None:
    if not is_differentiable(sample):
        return
    arrays = sample.arrays()
    out, found = gradients(sample, graded)
    if project(out, 1) is None:
        return
    for k, array in enumerate(arrays):
        along = directions(arrays, 5 + k)
        only = [u if i == k else None for i, u in enumerate(along)]
        if only[k] is None:
            continue
        expected = slope(lambda s, u=only: number(project(sample.run(moved(sample, u, s)), 1)))
        close(inner(found, only), expected, 1e-5, 1e-6, f"gradient of tensor argument {k}")
        assert found[k] is None or found[k].shape == array.shape


@every_op
def test_second_derivatives_are_the_slopes_of_the_first(sample: Sample) -> None:
    if not is_differentiable(sample):
        return
    arrays = sample.arrays()
    values = sample.made(graded)
    leaves = leaves_of(sample, values)
    wanted = [t for t in leaves if t.requires_grad]
    scalar = project(sample.call(values), 1)
    if scalar is None or not scalar.requires_grad:
        return
    first = grad(scalar, wanted, create_graph=True, allow_unused=True)
    again = project([g for g in first if g is not None], 2)
    found: list[Any] = [None] * len(wanted)
    if again is not None and again.requires_grad:
        found = list(grad(again, wanted, allow_unused=True))
    filled = iter(found)
    everything = [next(filled) if t.requires_grad else None for t in leaves]
    along = directions(arrays, 9)

    def first_at(step: float) -> float:
        _, grads = gradients(sample, moved(sample, along, step))
        return number(project([g for g in grads if g is not None], 2))

    close(inner(everything, along), slope(first_at), 1e-4, 1e-5, "second derivative")


@every_op
def test_forward_mode_gives_the_slopes(sample: Sample) -> None:
    if not is_differentiable(sample):
        return
    arrays = sample.arrays()
    along = directions(arrays, 13)
    scalar = project(sample.run(graded), 1)
    if scalar is None or not scalar.requires_grad:
        return
    expected = slope(lambda s: number(project(sample.run(moved(sample, along, s)), 1)))
    turn = iter(along)

    def dual(array: np.ndarray) -> Any:
        u = next(turn)
        made = tensor(array)
        return made if u is None else forward_ad.make_dual(made, tensor(u.astype(array.dtype)))

    with forward_ad.dual_level():
        parts = [forward_ad.unpack_dual(o) for o in outputs(sample.run(dual))]
    rng, found = np.random.default_rng(1), 0.0
    for primal, tangent in parts:
        v = weights(rng, primal)
        if tangent is not None:
            assert tangent.shape == primal.shape
            found += float(np.real(np.sum(np.conj(v) * array_of(tangent))))
    close(found, expected, 1e-5, 1e-6, "tangent")


# ---------------------------------------------------------------- other forms
def meta(array: np.ndarray) -> Any:
    """A tensor of the array's shape and dtype, without data."""
    return tensor(array).to("meta")


@every_op
def test_meta_shapes_and_dtypes(sample: Sample) -> None:
    name = sample.op.name
    real = outputs(sample.run(tensor))
    try:
        found = outputs(sample.call(sample.made(meta, meta)))
    except (RuntimeError, ValueError):
        assert name in NO_META
        return
    assert len(real) == len(found)
    for a, b in zip(real, found, strict=True):
        if b.is_meta:
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
        else:
            assert name in NO_META


@every_op
def test_in_place_does_the_same(sample: Sample) -> None:
    if not sample.op.inplace:
        return
    values = sample.made(tensor)
    first = values.get(sample.op.tensors[0])
    expected = sample.run(tensor)
    if not isinstance(first, flambeau.Tensor) or not isinstance(expected, flambeau.Tensor):
        return
    if first.shape != expected.shape:
        return
    positional, keyword = sample.split(values, skip=1)
    change = functools.partial(getattr(first, f"{sample.op.name}_"), *positional, **keyword)
    if not flambeau.can_cast(expected.dtype, first.dtype):
        with pytest.raises(RuntimeError, match="cast"):
            change()
        return
    before, memory = first.dtype, first._d
    out = change()
    assert out is first
    assert out._d is memory
    assert out.dtype is before
    assert out._version == 1
    np.testing.assert_allclose(array_of(out), array_of(expected.to(before)))


@every_op
def test_out_receives_the_same(sample: Sample) -> None:
    if not sample.op.out:
        return
    expected = sample.run(tensor)
    several = isinstance(expected, (tuple, list))
    parts = outputs(expected)
    targets = tuple(flambeau.empty(p.shape, dtype=p.dtype) for p in parts)
    result = sample.run(tensor, out=targets if several else targets[0])
    for a, b, t in zip(parts, outputs(result), targets, strict=True):
        assert b is t
        np.testing.assert_array_equal(array_of(b), array_of(a))
    refused = tuple(flambeau.ones(p.shape, requires_grad=True) * 1 for p in parts)
    with pytest.raises(RuntimeError, match="requires? grad"):
        sample.run(tensor, out=refused if several else refused[0])


@every_op
def test_methods_are_the_functions(sample: Sample) -> None:
    op = sample.op
    first = next(iter(sample.made(tensor).values()), None)
    if not op.method or op.varargs is not None or not isinstance(first, flambeau.Tensor):
        return
    assert callable(getattr(first, op.name)) or isinstance(getattr(first, op.name), type(first))
    for alias in op.aliases:
        assert getattr(fl, alias) is getattr(fl, op.name)


# ---------------------------------------------------------------- compiled kernels
SIZE = 8192 + 77


def pieces(f: Callable[..., Any], arrays: list[np.ndarray], size: int = 1000) -> np.ndarray:
    """``f`` over short slices, for which no kernel is used."""
    return np.concatenate([f(*(a[i : i + size] for a in arrays)) for i in range(0, SIZE, size)])


@functools.partial(every_op, names=SHORT)
def test_large_tensors_give_what_small_ones_do(sample: Sample) -> None:
    op = sample.op
    arrays = sample.arrays()
    if len(arrays) < len(op.tensors) or any(a.dtype.kind != "f" for a in arrays):
        return
    parameters = {k: v for k, v in sample.values.items() if k not in op.tensors}
    run = functools.partial(value_and_gradients, getattr(fl, op.name), parameters)
    for dtype, tolerance in ((np.float32, 4e-6), (np.float64, 1e-14)):
        large = [np.roll(np.resize(a, SIZE).astype(dtype), 7 * i) for i, a in enumerate(arrays)]
        for k, found in enumerate(run(*large)):
            if found is not None:
                expected = pieces(lambda *a, k=k: run(*a)[k], large)
                np.testing.assert_allclose(found, expected, tolerance, tolerance, err_msg=str(k))


def value_and_gradients(
    function: Any, parameters: dict[str, Any], *arrays: np.ndarray
) -> list[Any]:
    """The result, and the gradient of its sum for each tensor."""
    tensors = [flambeau.tensor(a, requires_grad=True) for a in arrays]
    out = function(*tensors, **parameters)
    if not out.requires_grad:
        return [array_of(out)]
    ones = flambeau.from_numpy(np.ones(out.shape, out._d.dtype))
    found = grad(out, tensors, ones, allow_unused=True)
    return [array_of(out), *(None if g is None else array_of(g) for g in found)]
