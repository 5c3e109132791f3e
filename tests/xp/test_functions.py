"""Every other function of `flambeau.xp`, against array-api-strict on tables of calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import flambeau
from flambeau import xp
from tests.xp.comparison import (
    BINARY,
    COMPLEX,
    INTEGERS,
    NAMES,
    REAL,
    UNARY,
    array,
    check,
    find,
    ours,
    strict,
    theirs,
)

F, G, H = array("float32", (3, 4)), array("float64", (3, 4), 1), array("float64", (2, 3, 4), 2)
J, U, B = array("int16", (3, 4)), array("uint16", (3, 4)), array("bool", (3, 4))
C, D = array("complex64", (3, 4)), array("complex128", (2, 3, 4))
V, W = array("float32", 5), array("int64", 5)
EMPTY = array("float32", (0, 3))
TIES = np.array([[2, 1, 2, 0, 1], [3, 3, 0, 0, 3]])
f32, f64, i8 = np.dtype("float32"), np.dtype("float64"), np.dtype("int8")
SQUARE = array("float64", (2, 3, 3))
POSITIVE = SQUARE @ SQUARE.swapaxes(-1, -2) + np.eye(3)
HERMITIAN = array("complex128", (2, 3, 3)) + array("complex128", (2, 3, 3)).conj().swapaxes(-1, -2)


class Call:
    """A call's arguments, written as it would be."""

    def __init__(self, *args, **options):
        self.args, self.options = args, options


AXES = [{}, {"axis": 0}, {"axis": -1}, {"axis": (0, 1)}, {"axis": 1, "keepdims": True}]
AXES += [{"keepdims": True}, {"axis": ()}, {"axis": (), "keepdims": True}, {"axis": 7}]
SUMS = [Call(x, **o) for x in (F, H, J, U, C, array("uint8", (2, 3))) for o in AXES]
SUMS += [Call(J, dtype=f64), Call(F, dtype=f64), Call(array("int8", (2, 3)), dtype=i8), Call(EMPTY)]
EXTREMA = [Call(x, **o) for x in (F, H, J, U) for o in AXES] + [Call(np.float32([1, np.nan]))]
MEANS = [Call(x, **o) for x in (F, H) for o in AXES]
SPREADS = MEANS + [Call(H, correction=1), Call(H, axis=2, correction=0.5)]
TRUTHS = [Call(x, **o) for x in (B, F, J, C) for o in AXES]
TRUTHS += [Call(EMPTY), Call(array("uint8", (2, 3)), axis=0), Call(np.float32([np.nan, 1]))]
SCANS = [Call(x, axis=a, include_initial=i) for x in (F, J, U) for a in (0, -1) for i in (0, 1)]
SCANS += [Call(V), Call(W, dtype=f32), Call(F), Call(array("uint8", 4), include_initial=True)]
PLACES = [Call(x, axis=a, keepdims=k) for x in (F, J, TIES) for a in (None, 0, 1) for k in (0, 1)]
SORTS = [Call(x, axis=a, descending=d) for x in (TIES, F, U) for a in (0, -1) for d in (0, 1)]
SETS = [Call(TIES), Call(F), Call(J), Call(V[:0]), Call(np.array(3)), Call(B)]
NORMS = ("backward", "ortho", "forward")
ONE = [Call(C, axis=a, n=n, norm=m) for a in (0, -1) for n in (None, 3, 6) for m in NORMS]
REAL_ONE = [Call(F, axis=a, n=n, norm=m) for a in (0, -1) for n in (None, 3, 6) for m in NORMS]
SEVERAL = [Call(D), Call(D, axes=(0, 2)), Call(D, s=(2, 5), axes=(1, 2), norm="ortho")]
REAL_SEVERAL = [Call(H), Call(H, axes=(0, 2)), Call(H, s=(2, 5), axes=(1, 2), norm="forward")]
SHIFTS = [Call(H), Call(H, axes=1), Call(H, axes=(0, 2)), Call(array("complex64", 5))]
LIKE = [Call(F), Call(J), Call(H, dtype=f32)]
SHAPES = [Call(3), Call((2, 3)), Call((), dtype=i8), Call((0, 2), dtype=np.dtype("complex64"))]

CALLS = {
    "all": TRUTHS,
    "any": TRUTHS,
    "arange": [
        *(Call(5), Call(2, 7), Call(1, 9, 3), Call(5, 0, -2), Call(0, 5, -1), Call(3, 3)),
        *(Call(0.0, 1.0, 0.3), Call(5, dtype=f64), Call(5.0), Call(1, 4, 0.5), Call(4, dtype=i8)),
    ],
    "argmax": PLACES,
    "argmin": PLACES,
    "argsort": SORTS,
    "asarray": [
        *(Call([1, 2]), Call([[1.5, 2], [3, 4]]), Call(True), Call(3), Call(2.5), Call(1j)),
        *(Call([True, False]), Call([1, 2], dtype=f32), Call(F), Call([], dtype=f32)),
        *(Call(3, copy=False), Call(300, dtype=f64), Call([1.5, 1j])),
    ],
    "broadcast_arrays": [Call(V[:4], F, np.array(1.0)), Call(), Call(V, F)],
    "broadcast_shapes": [Call((2, 1), (3,)), Call(), Call((2,), (3,))],
    "broadcast_to": [Call(V, (2, 5)), Call(np.array(1), (3,)), Call(V, (5, 2))],
    "concat": [
        *(Call((F, G)), Call([F, F], axis=1), Call((F, V), axis=None), Call((J, U), axis=-1)),
        *(Call((F, V)), Call((F, J)), Call((np.array(1.0), V), axis=None)),
    ],
    "count_nonzero": [Call(x, **o) for x in (TIES, F, B) for o in AXES],
    "cumulative_prod": SCANS,
    "cumulative_sum": SCANS,
    "diff": [
        Call(F),
        Call(J, axis=0, n=2),
        Call(F, prepend=F[:, :1], append=F[:, :2]),
        Call(F, n=0),
    ],
    "eye": [Call(3), Call(2, 4), Call(4, 2, k=-1), Call(3, k=1, dtype=i8), Call(2, k=5), Call(0)],
    "expand_dims": [Call(F, 0), Call(F, axis=-1), Call(F, 3), Call(F, -4)],
    "flip": [Call(H), Call(H, axis=1), Call(H, axis=(0, -1)), Call(F, axis=5)],
    "full": [Call(3, 2.0), Call((2,), True), Call((2, 1), 7), Call((), 1j), Call(2, 1, dtype=f32)],
    "full_like": [Call(F, 3), Call(J, 2), Call(F, 1, dtype=i8), Call(C, 1j)],
    "isin": [Call(TIES, np.array([1, 3])), Call(TIES, 2), Call(2, TIES), Call(W, W)],
    "linspace": [
        *(Call(0, 1, 5), Call(0, 10, 4, endpoint=False), Call(1.0, -1.0, 3, dtype=f32)),
        *(Call(0, 1, 1), Call(0, 1, 0), Call(2, 3, 1, endpoint=False), Call(0, 1j, 3)),
    ],
    "matmul": [Call(F, G.T), Call(H, H.swapaxes(1, 2)), Call(V, V), Call(J, J.T), Call(F, V)],
    "matrix_transpose": [Call(H), Call(F), Call(V)],
    "max": EXTREMA,
    "mean": MEANS,
    "meshgrid": [Call(V, W.astype("f4")), Call(V, V[:2], indexing="ij"), Call(V), Call()],
    "min": EXTREMA,
    "moveaxis": [Call(H, 0, -1), Call(H, (0, 1), (2, 0)), Call(H, 5, 0)],
    "nonzero": [Call(TIES), Call(F), Call(B), Call(np.array(1))],
    "ones": SHAPES,
    "ones_like": LIKE,
    "permute_dims": [Call(H, (2, 0, 1)), Call(F, axes=(1, 0)), Call(F, (0, 0))],
    "prod": SUMS,
    "repeat": [Call(F, 2), Call(F, 3, axis=1), Call(F, np.array([1, 0, 2]), axis=0)],
    "reshape": [
        *(Call(F, (4, 3)), Call(F, (-1,)), Call(F, (2, 6), copy=True), Call(F, (6, 2), copy=False)),
        *(Call(F, (5, 5)), Call(EMPTY, (3, 0)), Call(np.array(1), (1, 1))),
    ],
    "roll": [
        *(Call(F, 1), Call(F, -2, axis=1), Call(H, (1, 2), axis=(0, 2)), Call(H, 1, axis=(0, 1))),
        *(Call(V, 7), Call(EMPTY, 1)),
    ],
    "searchsorted": [
        *(Call(np.sort(V), F, side=s) for s in ("left", "right")),
        *(Call(V, F, sorter=np.argsort(V)), Call(np.sort(V), 0.5), Call(np.sort(W), TIES)),
    ],
    "sort": SORTS,
    "squeeze": [Call(F[None], 0), Call(F[:, None, :, None], (1, -1)), Call(F, 0), Call(F, ())],
    "stack": [Call((F, G)), Call([F, F], axis=-1), Call((F, V)), Call((J, U), axis=1)],
    "std": SPREADS,
    "sum": SUMS,
    "take": [
        *(Call(V, np.array([3, 0, 0])), Call(H, np.array([1, -1]), axis=1), Call(F, W * 0)),
        *(Call(V, np.array([1, 2], "u1")), Call(F, np.array([0], "i4"), axis=-1)),
    ],
    "take_along_axis": [
        *(Call(F, np.argsort(F, axis=1)), Call(F, np.argsort(F, axis=0), axis=0)),
        *(Call(F, np.array([[-1, 0]] * 3, "i4")), Call(V, np.array([2, 2]))),
    ],
    "tensordot": [Call(F, G, axes=([0], [0])), Call(H, F), Call(V, W.astype("f8"), axes=0)],
    "tile": [Call(F, (2,)), Call(F, (2, 1, 3)), Call(H, (2, 2)), Call(V, ())],
    "tril": [Call(F), Call(H, k=1), Call(J, k=-1)],
    "triu": [Call(F), Call(H, k=1), Call(J, k=-1)],
    "unique_all": SETS,
    "unique_counts": SETS,
    "unique_inverse": SETS,
    "unique_values": SETS,
    "unstack": [Call(H), Call(H, axis=-1), Call(np.array(1)), Call(V)],
    "var": SPREADS,
    "vecdot": [Call(F, G), Call(C, C), Call(H, F, axis=-1), Call(J, J)],
    "where": [
        Call(B, F, G),
        Call(B, F, 2),
        Call(B, 1, J),
        Call(B, J, U),
        Call(J, F, F),
        Call(B, F, J),
    ],
    "zeros": SHAPES,
    "zeros_like": LIKE,
    "linalg.cholesky": [Call(POSITIVE), Call(POSITIVE, upper=True)],
    "linalg.cross": [Call(F[:, :3], G[:, :3]), Call(F, G)],
    "linalg.det": [Call(SQUARE), Call(SQUARE[0].astype("f4"))],
    "linalg.diagonal": [Call(H), Call(H, offset=1), Call(H, offset=-1)],
    "linalg.eigvalsh": [Call(POSITIVE), Call(HERMITIAN)],
    "linalg.inv": [Call(POSITIVE), Call(HERMITIAN)],
    "linalg.matrix_norm": [
        *(Call(H, ord=o) for o in (1, -1, 2, -2, float("inf"), "fro", "nuc")),
        *(Call(H, keepdims=True), Call(D)),
    ],
    "linalg.matrix_power": [Call(POSITIVE, n) for n in (0, 1, 3, -2)],
    "linalg.matrix_rank": [Call(H), Call(POSITIVE, rtol=0.5), Call(np.zeros((3, 3)))],
    "linalg.outer": [Call(V, V), Call(V, array("float64", 3))],
    "linalg.pinv": [Call(H), Call(H, rtol=0.3)],
    "linalg.slogdet": [Call(SQUARE), Call(HERMITIAN)],
    "linalg.solve": [
        *(Call(POSITIVE, H[:, :, :2]), Call(POSITIVE, H[0, :, 0]), Call(POSITIVE[0], H[0])),
        *(Call(POSITIVE, SQUARE[0]), Call(np.stack([POSITIVE[0]] * 3), SQUARE[1])),
    ],
    "linalg.svdvals": [Call(H), Call(D)],
    "linalg.trace": [Call(H), Call(H, offset=1), Call(J, dtype=f32), Call(U)],
    "linalg.vector_norm": [
        *(Call(x, **o) for x in (F, H) for o in AXES),
        *(Call(H, ord=o, axis=1) for o in (0, 1, -1, 3, float("inf"), -float("inf"))),
        Call(C),
    ],
    "fft.fft": ONE,
    "fft.ifft": ONE,
    "fft.hfft": ONE,
    "fft.irfft": ONE,
    "fft.rfft": REAL_ONE,
    "fft.ihfft": REAL_ONE,
    "fft.fftn": SEVERAL,
    "fft.ifftn": SEVERAL,
    "fft.irfftn": SEVERAL,
    "fft.rfftn": REAL_SEVERAL,
    "fft.fftfreq": [Call(5), Call(4, d=0.5), Call(4, dtype=f32), Call(4, dtype=i8)],
    "fft.rfftfreq": [Call(5), Call(4, d=0.5), Call(4, dtype=f32), Call(4, dtype=i8)],
    "fft.fftshift": SHIFTS,
    "fft.ifftshift": SHIFTS,
}
for name in ("matmul", "matrix_transpose", "tensordot", "vecdot"):
    CALLS[f"linalg.{name}"] = CALLS[name]

# What is compared otherwise: in this file below, or beside it.
ELSEWHERE = {*UNARY, *BINARY, "clip", "astype", "can_cast", "finfo", "iinfo", "isdtype"}
ELSEWHERE |= {"result_type", "__array_namespace_info__", "from_dlpack", "empty", "empty_like"}
ELSEWHERE |= {"linalg.eigh", "linalg.qr", "linalg.svd"}


def test_every_function_is_compared():
    assert {*CALLS, *ELSEWHERE} == set(NAMES)


@pytest.fixture(autouse=True)
def double():
    """Make float64 the default, as it is in array-api-strict."""
    flambeau.set_default_dtype(flambeau.float64)
    yield
    flambeau.set_default_dtype(flambeau.float32)


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    refused = [check(name, *call.args, **call.options) for call in CALLS[name]]
    assert None in refused


def test_empty_has_a_shape_and_a_type():
    for shape in (3, (2, 0)):
        x, y = xp.empty(shape, dtype=xp.int8), strict.empty(shape)
        assert (tuple(x.shape), x.dtype) == (y.shape, xp.int8)
    assert tuple(xp.empty_like(ours(F)).shape) == F.shape
    assert xp.empty_like(ours(F), dtype=xp.int8).dtype is xp.int8


def test_dlpack_shares_memory_or_copies():
    source = np.arange(3.0)
    shared, copied = xp.from_dlpack(source), xp.from_dlpack(source, copy=True)
    source[0] = 9
    assert (shared[0].item(), copied[0].item()) == (9, 0)
    kept, other = xp.asarray(source, copy=False), xp.asarray(source, copy=True)
    source[1] = 7
    assert (kept[1].item(), other[1].item()) == (7, 1)


def test_reshape_without_a_copy_is_a_view():
    x = xp.zeros((2, 3))
    xp.reshape(x, (6,), copy=False)[0] = 1
    xp.reshape(x, (6,), copy=True)[1] = 1
    assert x.tolist() == [[1, 0, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="view"):
        xp.reshape(xp.matrix_transpose(x), (6,), copy=False)


@pytest.mark.parametrize("matrices", [POSITIVE, HERMITIAN], ids=["real", "complex"])
def test_eigenvectors(matrices):
    found = xp.linalg.eigh(ours(matrices))
    assert found._fields == ("eigenvalues", "eigenvectors")
    values, vectors = found[0].numpy(), found[1].numpy()
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrices), atol=1e-11)
    np.testing.assert_allclose(matrices @ vectors, vectors * values[:, None, :], atol=1e-10)


@pytest.mark.parametrize("x", [H, D, H.swapaxes(1, 2)], ids=["real", "complex", "tall"])
def test_factors_multiply_to_the_matrix(x):
    for full in (True, False):
        found = xp.linalg.svd(ours(x), full_matrices=full)
        expected = strict.linalg.svd(theirs(x), full_matrices=full)
        assert found._fields == expected._fields
        assert [tuple(f.shape) for f in found] == [e.shape for e in expected]
        u, s, v = (f.numpy() for f in found)
        k = s.shape[-1]
        np.testing.assert_allclose(u[..., :k] * s[:, None, :] @ v[:, :k], x, atol=1e-11)
    for mode in ("reduced", "complete"):
        found, expected = xp.linalg.qr(ours(x), mode=mode), strict.linalg.qr(theirs(x), mode=mode)
        assert found._fields == expected._fields
        assert [tuple(f.shape) for f in found] == [e.shape for e in expected]
        np.testing.assert_allclose(found[0].numpy() @ found[1].numpy(), x, atol=1e-11)


def test_each_nan_is_an_element_of_its_own():
    x = np.array([np.nan, 1.0, np.nan, 1.0])
    values, indices, inverse, counts = (v.numpy() for v in xp.unique_all(ours(x)))
    assert np.isnan(values).sum() == 2
    assert sorted(counts) == [1, 1, 2]
    np.testing.assert_array_equal(values[inverse], x)
    np.testing.assert_array_equal(x[indices], values)


@pytest.mark.parametrize("name", ["sin", "add", "sum", "linalg.det", "fft.fft"])
def test_arguments_are_positional_as_in_the_standard(name):
    with pytest.raises(TypeError):
        find(xp, name)(x=ours(SQUARE))


def test_isin_inverted():
    found = xp.isin(ours(TIES), 2, invert=True).numpy()
    np.testing.assert_array_equal(found, TIES != 2)
    found = xp.isin(ours(TIES), ours(np.array([0, 3])), invert=True).numpy()
    np.testing.assert_array_equal(found, ~np.isin(TIES, [0, 3]))


def test_integers_that_do_not_fit_are_refused():
    assert xp.asarray(2**64 - 1, dtype=xp.uint64).item() == 2**64 - 1
    for value, dtype in ((2**63, None), (-1, xp.uint8), (300, xp.int8)):
        with pytest.raises(OverflowError):
            xp.asarray(value, dtype=dtype)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_broadcasting_of_any_shapes(data):
    shapes = data.draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
    name = data.draw(st.sampled_from(sorted(n for n in BINARY if "f" in BINARY[n])))
    a, b = (data.draw(st.sampled_from(REAL)) for _ in range(2))
    left, right = shapes.input_shapes
    assert check(name, array(a, left), array(b, right, 1)) is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_reductions_over_any_axes(data):
    shape = data.draw(array_shapes(min_dims=0, max_dims=4, max_side=3))
    axes = st.lists(st.integers(-len(shape), len(shape) - 1), max_size=len(shape), unique=True)
    axes = tuple({a % len(shape): a for a in data.draw(axes)}.values()) if shape else ()
    name = data.draw(st.sampled_from(["sum", "prod", "max", "min", "any", "all", "count_nonzero"]))
    dtype = data.draw(st.sampled_from([*INTEGERS, *REAL]))
    assert check(name, array(dtype, shape), axis=axes, keepdims=data.draw(st.booleans())) is None


SCIPY = """
import numpy as np, scipy
from scipy import fft, integrate, special, stats
import flambeau

x = flambeau.arange(1.0, 13.0, dtype=flambeau.float64).reshape(3, 4)
for function in (
    lambda v: special.logsumexp(v, axis=1),
    special.expit,
    lambda v: stats.zscore(v, axis=None),
    lambda v: stats.skew(v**2, axis=0),
    lambda v: integrate.cumulative_trapezoid(v, axis=1),
    fft.fft,
):
    found = function(x)
    assert isinstance(found, flambeau.Tensor), type(found)
    np.testing.assert_allclose(found.numpy(), function(x.numpy()), rtol=1e-12)
print("agreed")
"""


def test_scipy_computes_in_tensors():
    """SciPy reads its switch for arrays of other libraries when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCIPY],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "agreed\n", done.stderr


def test_functions_say_what_they_are():
    for name in NAMES:
        function = find(xp, name)
        assert function.__name__ == name.split(".")[-1]
        assert function.__doc__


@pytest.mark.parametrize("dtype", [*INTEGERS, *REAL, *COMPLEX, "bool"])
def test_asarray_reads_numpys_types(dtype):
    assert xp.asarray(np.ones(2, dtype)).dtype is getattr(xp, dtype)
