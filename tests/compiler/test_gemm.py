from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flambeau import settings
from flambeau.backends.cpu import matmul as module
from flambeau.backends.cpu.matmul import linear, matmul
from flambeau.compiler import jit, threads
from flambeau.compiler.target import Target
from tests.compiler.guarded import guarded

TOLERANCE = {"float32": 1e-5, "float64": 1e-13}
needs_jit = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def thread_count(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


@pytest.fixture(params=[True, False], ids=["jit", "numpy"])
def path(request, monkeypatch):
    monkeypatch.setattr(settings, "jit", request.param and settings.jit)
    module._plans.clear()
    yield
    module._plans.clear()


def placed(rng, rows, columns, dtype, placing):
    """A matrix in memory in one of five ways."""
    wide = rng.standard_normal((2 * rows + 3, 3 * columns + 7)).astype(dtype)
    if placing == "plain":
        return np.ascontiguousarray(wide[:rows, :columns])
    if placing == "transposed":
        return np.ascontiguousarray(wide[:rows, :columns].T).T
    if placing == "sliced":
        return wide[: 2 * rows : 2, : 3 * columns : 3]
    if placing == "offset":
        return wide[3 : 3 + rows, 7 : 7 + columns]
    return wide[rows - 1 :: -1, columns - 1 :: -1][:rows, :columns]


PLACINGS = ["plain", "transposed", "sliced", "offset", "reversed"]


def check(result, truth, dtype):
    assert result.shape == truth.shape
    assert result.dtype == dtype
    scale = np.abs(truth).max(initial=0) or 1
    assert np.abs(result - truth).max(initial=0) <= TOLERANCE[np.dtype(dtype).name] * scale


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    m=st.integers(1, 140), k=st.integers(1, 600), n=st.integers(1, 300),
    places=st.tuples(st.sampled_from(PLACINGS), st.sampled_from(PLACINGS)),
    dtype=st.sampled_from(["float32", "float64"]), count=st.integers(1, 2),
)  # fmt: skip
def test_any_shape_and_strides(m, k, n, places, dtype, count):
    rng = np.random.default_rng(m * 1000 + k + n)
    a, b = placed(rng, m, k, dtype, places[0]), placed(rng, k, n, dtype, places[1])
    before = threads.get_num_threads()
    threads.set_num_threads(count)
    try:
        result = matmul(a, b)
    finally:
        threads.set_num_threads(before)
    wide = [v.astype("float64") for v in (a, b)]
    assert result.dtype == dtype
    # Every element within the rounding of its own sum, which may cancel.
    bound = np.finfo(dtype).eps * (4 + k**0.5) * (np.abs(wide[0]) @ np.abs(wide[1]))
    assert (np.abs(result - wide[0] @ wide[1]) <= bound).all()


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (6, 64, 64),
        (12, 1000, 128),
        (700, 3, 700),
        (1, 700, 700),
        (700, 700, 1),
        (4, 33, 5000),
        (520, 530, 540),
        (300, 3, 1),
        (900, 70, 5),
        (5, 3, 1000),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("path", "thread_count")
def test_shapes_that_choose_different_plans(shape, dtype):
    m, k, n = shape
    rng = np.random.default_rng(0)
    for left in ("plain", "transposed"):
        for right in ("plain", "transposed"):
            a, b = placed(rng, m, k, dtype, left), placed(rng, k, n, dtype, right)
            check(matmul(a, b), a.astype("float64") @ b.astype("float64"), dtype)


@pytest.mark.parametrize(
    ("left", "right"),
    [((5,), (5,)), ((5,), (5, 7)), ((7, 5), (5,)), ((3, 7, 5), (5,)), ((5,), (3, 5, 7)),
     ((3, 7, 5), (5, 4)), ((7, 5), (3, 5, 4)), ((3, 7, 5), (3, 5, 4)), ((2, 1, 7, 5), (3, 5, 4)),
     ((2, 3, 40, 50), (2, 3, 50, 60)), ((1, 7, 5), (3, 5, 4)), ((64, 33, 33), (64, 33, 33)),
     ((300, 4, 4), (300, 4, 4))],
)  # fmt: skip
@pytest.mark.usefixtures("path", "thread_count")
def test_batches_broadcast_as_in_numpy(left, right):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(left, "float32"), rng.standard_normal(right, "float32")
    check(matmul(a, b), np.matmul(a.astype("float64"), b.astype("float64")), "float32")
    a = np.broadcast_to(a, (2, *left)) if a.ndim > 2 else a
    check(matmul(a, b), np.matmul(a.astype("float64"), b.astype("float64")), "float32")


@pytest.mark.usefixtures("path")
def test_batches_of_any_strides():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((9, 4, 8, 32), "float32").transpose(0, 2, 1, 3)  # heads of attention
    b = rng.standard_normal((9, 4, 8, 32), "float32").transpose(0, 2, 3, 1)
    check(matmul(a, b), np.matmul(a.astype("float64"), b.astype("float64")), "float32")
    check(matmul(a[::-2], b[::2]), np.matmul(a[::-2].astype("float64"), b[::2]), "float32")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((0, 3), (3, 4)),
        ((2, 0), (0, 4)),
        ((2, 3), (3, 0)),
        ((0, 2, 3), (3, 4)),
        ((5, 0), (0,)),
        ((0,), (0,)),
    ],
)
@pytest.mark.usefixtures("path")
def test_extents_of_zero(left, right):
    a, b = np.ones(left, "float32"), np.ones(right, "float32")
    result = matmul(a, b)
    assert result.shape == np.matmul(a, b).shape
    assert not result.any()
    if a.ndim == 2 and b.ndim == 2:
        y = linear(a, np.ascontiguousarray(b.T), np.ones(b.shape[1], "float32"))
        assert np.array_equal(y, np.matmul(a, b) + 1)


@pytest.mark.usefixtures("path")
def test_mismatched_shapes_are_refused():
    for left, right in [((2, 3), (4, 5)), ((2, 2, 3), (3, 3, 4)), ((), (3,))]:
        with pytest.raises(ValueError, match=r"matmul|broadcast"):
            matmul(np.ones(left, "float32"), np.ones(right, "float32"))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.complex64, np.complex128])
@pytest.mark.usefixtures("path")
def test_other_types_are_numpys(dtype):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (20, 30)).astype(dtype), rng.integers(0, 9, (30, 10)).astype(dtype)
    result = matmul(a, b)
    assert result.dtype == dtype
    assert np.array_equal(result, np.matmul(a, b))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.usefixtures("path")
def test_narrow_floats_round_once(dtype):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 300)).astype(dtype)
    b = rng.standard_normal((300, 10)).astype(dtype)
    truth = a.astype("float64") @ b.astype("float64")
    unit = float(ml_dtypes.finfo(dtype).eps) / 2
    result = matmul(a, b)
    assert result.dtype == dtype
    # Half a unit in the last place for the one rounding; a little for float32's own error.
    assert (np.abs(result.astype("float64") - truth) <= 1.01 * unit * np.abs(truth) + 1e-4).all()
    y = linear(a, b.T, np.zeros(10, dtype))
    assert np.array_equal(y, result)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 30), (64, 100, 70), (200, 784, 130)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("path", "thread_count")
def test_linear(shape, dtype):
    m, k, n = shape
    rng = np.random.default_rng(0)
    w, bias = rng.standard_normal((n, k)).astype(dtype), rng.standard_normal(2 * n).astype(dtype)
    for x in (rng.standard_normal((m, k)), rng.standard_normal((2, m, k)), rng.standard_normal(k)):
        x = x.astype(dtype)
        truth = x.astype("float64") @ w.T.astype("float64")
        check(linear(x, w), truth, dtype)
        check(linear(x, w, bias[:n]), truth + bias[:n], dtype)
        check(linear(x, w, bias[::2]), truth + bias[::2], dtype)
        check(linear(x, w, bias[:n], relu=True), np.maximum(truth + bias[:n], 0), dtype)


@pytest.mark.usefixtures("path")
def test_out():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((40, 50), "float32"), rng.standard_normal((50, 60), "float32")
    truth = matmul(a, b)
    for out in (np.empty((40, 60), "float32"), np.empty((60, 40), "float32").T):
        assert matmul(a, b, out) is out
        assert np.allclose(out, truth, rtol=1e-5, atol=1e-5)
    square = rng.standard_normal((50, 50), "float32")
    truth = matmul(square, square)
    assert matmul(square, square, square) is square  # the result takes the place of an operand
    assert np.allclose(square, truth, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"60.*60|60"):
        matmul(a, b, np.empty((60, 60), "float32"))


@pytest.mark.parametrize("shape", [(3, 7, 40), (30, 200, 100), (1, 100, 500)])
@pytest.mark.usefixtures("path")
def test_nan_and_infinity_reach_what_they_touch(shape):
    m, k, n = shape
    a, b = np.ones((m, k), "float32"), np.ones((k, n), "float32")
    a[m - 1, k // 2], b[k - 1, n - 1] = np.nan, np.inf
    result = matmul(a, b)
    assert np.isnan(result[m - 1]).all()
    assert np.isinf(result[: m - 1, n - 1]).all()
    assert (result[: m - 1, : n - 1] == k).all()
    y = linear(a, np.ascontiguousarray(b.T), np.zeros(n, "float32"), relu=True)
    assert np.isnan(y[m - 1]).all()  # a ReLU lets NaN pass


@needs_jit
def test_result_does_not_depend_on_threads():
    rng = np.random.default_rng(0)
    before = threads.get_num_threads()
    for m, k, n in [(100, 1000, 90), (1, 900, 900), (300, 300, 300), (8, 2000, 700)]:
        a, b = rng.standard_normal((m, k), "float32"), rng.standard_normal((k, n), "float32")
        results = []
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            results += [matmul(a, b), matmul(a, np.asfortranarray(b))]
        threads.set_num_threads(before)
        for result in results[2:]:
            assert any(np.array_equal(result, first) for first in results[:2])


@needs_jit
@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
@pytest.mark.parametrize(
    "shape", [(1, 5, 3), (7, 13, 37), (65, 33, 67), (6, 400, 64), (200, 50, 20)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_beyond_an_operand_is_touched(shape, dtype):
    m, k, n = shape
    rng = np.random.default_rng(0)
    truth_a, truth_b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    for a in (guarded(truth_a.astype(dtype)), guarded(truth_a.T.astype(dtype)).T):
        for b in (guarded(truth_b.astype(dtype)), guarded(truth_b.T.astype(dtype)).T):
            out = guarded(np.zeros((m, n), dtype))
            matmul(a, b, out)
            check(out, a.astype("float64") @ b.astype("float64"), dtype)


def test_no_further_from_the_truth_than_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for m, k, n in [(64, 64, 64), (200, 1000, 150), (8, 5000, 40), (1, 3000, 500)]:
        a, b = rng.standard_normal((m, k), "float32"), rng.standard_normal((k, n), "float32")
        truth = a.astype("float64") @ b.astype("float64")
        ours = np.abs(matmul(a, b) - truth).max()
        theirs = np.abs((torch.from_numpy(a) @ torch.from_numpy(b)).numpy() - truth).max()
        assert ours <= 4 * theirs


@needs_jit
def test_unaligned_operands():
    rng = np.random.default_rng(0)
    raw = np.zeros(40 * 50 * 4 + 1, np.uint8)
    a = raw[1:].view("float32").reshape(40, 50)
    a[...] = rng.standard_normal((40, 50))
    b = rng.standard_normal((50, 60), "float32")
    assert not a.flags.aligned
    check(matmul(a, b), a.astype("float64") @ b.astype("float64"), "float32")
    swapped = a.astype(">f4")
    assert np.allclose(matmul(swapped, b), a @ b, rtol=1e-4, atol=1e-4)


@needs_jit
@pytest.mark.parametrize(("cpu", "width"), [("haswell", "32"), ("x86-64", "16")])
def test_code_for_lesser_x86(cpu, width, tmp_path):
    from flambeau.compiler import target

    if target.host().architecture != "x86_64":
        pytest.skip("not an x86-64 host")
    env = os.environ | {"FLAMBEAU_CPU": cpu, "FLAMBEAU_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).parent / "portability.py"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(script)], env=env | {"PYTHONPATH": root}, check=False,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == width


ARM = Target(
    "aarch64-unknown-linux-gnu", "neoverse-n1", "+neon", 16, 32, 64 << 10, 1 << 20, 8 << 20, 4
)


@needs_jit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_object_code_for_aarch64(dtype):
    llvm = pytest.importorskip("llvmlite.binding")
    from llvmlite import ir

    from flambeau.compiler import target
    from flambeau.compiler.convolution import build_convolution
    from flambeau.compiler.depthwise import build_depthwise
    from flambeau.compiler.filtering import PLAIN
    from flambeau.compiler.gemm import build_gemm
    from flambeau.compiler.gemm_block import STRIDED
    from flambeau.compiler.microkernel import tile_for
    from flambeau.compiler.packing import PACK
    from flambeau.compiler.skinny import build_skinny
    from flambeau.compiler.small import build_small
    from flambeau.compiler.winograd import build_winograd
    from flambeau.compiler.winograd_products import POSITION
    from flambeau.compiler.winograd_transforms import build_gather
    from flambeau.compiler.winograd_weight import build_winograd_weight

    modules = [
        build(dtype, ARM)
        for build in (build_gemm, build_skinny, build_small, build_convolution, build_depthwise,
                      build_winograd, build_winograd_weight)
    ]  # fmt: skip
    for routine in (PACK, STRIDED, POSITION):
        modules.append(ir.Module(routine.name))
        routine.build(modules[-1], tile_for(dtype, ARM)).linkage = ""
    for side in ("inputs", "inputs apart", "gradients"):
        modules += [build_gather(dtype, ARM, PLAIN, side, n) for n in (0, 2)]
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = target.create_machine(ARM)
    for module_ in modules:
        parsed = llvm.parse_assembly(str(module_))
        parsed.triple = ARM.triple
        parsed.verify()
        code = machine.emit_object(parsed)
        assert code[:4] == b"\x7fELF"
        assert code[18:20] == b"\xb7\x00"  # EM_AARCH64


@needs_jit
def test_plans_follow_the_number_of_threads(thread_count):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((300, 300), "float32") for _ in range(2))
    chunks = []
    original = module.kernel

    def spy(name, dtype):
        launch = original(name, dtype)
        return lambda count, *arrays: (chunks.append(count), launch(count, *arrays))[1]

    module._plans.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "kernel", spy)
        matmul(a, b)
        threads.set_num_threads(3 - thread_count)
        matmul(a, b)
    module._plans.clear()
    assert chunks[0] != chunks[1]


@needs_jit
def test_calls_from_several_threads_at_once():
    """Scratch memory belongs to a call: results do not mix."""
    rng = np.random.default_rng(0)
    pairs = [
        (rng.standard_normal((200, 300), "float32"), rng.standard_normal((250, 300), "float32").T)
        for _ in range(4)
    ]
    truths = [matmul(a, b) for a, b in pairs]
    wrong = []

    def work(i):
        results = (matmul(*pairs[i]) for _ in range(50))
        wrong.extend(i for result in results if not np.array_equal(result, truths[i]))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(pairs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
