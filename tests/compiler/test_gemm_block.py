from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flambeau.compiler import jit, launch, target
from flambeau.compiler.gemm_block import (
    BLOCK_ARGUMENTS,
    TRANSPOSE_ARGUMENTS,
    render_block,
    render_transpose,
)
from flambeau.compiler.kernel import kernel
from flambeau.compiler.language import F32, Array, multiply_pairs
from flambeau.compiler.target import Target, create_machine
from tests.compiler.guarded import guarded

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")

POINTERS = ("a", "b", "c", "source", "result")
DTYPES = ("float32", "float64")


def caller(function, arguments):
    """A kernel that hands its words on to `function`."""
    types = ["ptr" if name in POINTERS else "i64" for name in arguments]
    lines = [f"define void @call_{function}(ptr %words) {{"]
    for i, kind in enumerate(types):
        lines += [f"  %p{i} = getelementptr i64, ptr %words, i64 {i}",
                  f"  %v{i} = load {kind}, ptr %p{i}, align 8"]  # fmt: skip
    passed = ", ".join(f"{kind} %v{i}" for i, kind in enumerate(types))
    return "\n".join([*lines, f"  call void @{function}({passed})", "  ret void", "}\n"])


@pytest.fixture(scope="module")
def kernels():
    made = {}
    for dtype in DTYPES:
        text = render_block("product", dtype) + render_transpose("turn", dtype)
        # Appended to a module that declares an intrinsic itself, and twice under two names.
        text += render_block("other", dtype) + "declare float @llvm.fma.f32(float, float, float)\n"
        text += caller("product", BLOCK_ARGUMENTS) + caller("turn", TRANSPOSE_ARGUMENTS)
        library = jit.compile_ir("block_test", text)
        for name, params in (("product", "aiiaiaiiiii"), ("turn", "aiaiii")):
            made[name, dtype] = launch.bind(library.address(f"call_{name}"), params)
    return made


@hypothesis_settings(max_examples=120, deadline=None)
@given(
    m=st.integers(0, 40), n=st.integers(0, 150), k=st.integers(0, 60), wider=st.integers(0, 5),
    turned=st.booleans(), accumulate=st.booleans(), dtype=st.sampled_from(DTYPES),
)  # fmt: skip
def test_products_of_any_extents(kernels, m, n, k, wider, turned, accumulate, dtype):
    rng = np.random.default_rng(m + 50 * n + 1000 * k)
    a = rng.standard_normal((k, m + wider) if turned else (m, k + wider)).astype(dtype)
    b = rng.standard_normal((k, n + wider)).astype(dtype)
    c = rng.standard_normal((m, n + wider)).astype(dtype)
    before, size = c.copy(), a.itemsize
    a_row, a_col = (s // size for s in (a.strides[::-1] if turned else a.strides))
    kernels["product", dtype](
        a, a_row, a_col, b, n + wider, c, n + wider, m, n, k, int(accumulate)
    )  # fmt: skip
    left = (a.T[:m] if turned else a[:, :k]).astype("float64")
    truth = left @ b[:, :n] + (before[:, :n] if accumulate else 0)
    np.testing.assert_allclose(c[:, :n], truth, rtol=0, atol=1e-4 if dtype == "float32" else 1e-12)
    assert np.array_equal(c[:, n:], before[:, n:])


@kernel
def multiply_words(
    first: int, last: int, a: Array[F32], b: Array[F32], c: Array[F32], m: int, n: int, k: int,
    accumulate: int,
) -> None:  # fmt: skip
    """C = A B, or C += A B, of words of two bfloat16."""
    for _ in range(first, last):
        multiply_pairs(a, k, 1, b, n, c, n, m, n, k, accumulate)


@pytest.mark.skipif(not target.host().has("avx512bf16"), reason="needs AVX512_BF16")
@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (6, 64, 5), (13, 70, 9), (40, 150, 60)])
def test_products_of_pairs(m, n, k, accumulate):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((m, k, 2)).astype(ml_dtypes.bfloat16)
    b = rng.standard_normal((k, n, 2)).astype(ml_dtypes.bfloat16)
    start = rng.standard_normal((m, n), "float32")
    truth = np.einsum("mkp,knp->mn", a.astype("float64"), b.astype("float64"))
    for run in (multiply_words, lambda items, cost, *args: multiply_words.python(items, *args)):
        c = guarded(start)
        words = [guarded(v.view(np.float32)[..., 0]) for v in (a, b)]
        run(1, 1, *words, c, m, n, k, accumulate)
        np.testing.assert_allclose(c, truth + accumulate * start, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rows", "columns"), [(64, 64), (5, 7), (16, 33), (37, 16), (0, 4), (1, 1)]
)
def test_transposes(kernels, dtype, rows, columns):
    source = np.random.default_rng(0).standard_normal((rows, columns + 2)).astype(dtype)
    result = np.full((columns, rows + 3), 7, dtype)
    kernels["turn", dtype](source, columns + 2, result, rows + 3, rows, columns)
    assert np.array_equal(result[:, :rows], source[:, :columns].T)
    assert (result[:, rows:] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_beyond_the_operands_is_touched(kernels, dtype):
    """Each operand ends where memory that may not be touched begins."""
    rng = np.random.default_rng(0)
    for m, n, k in ((7, 3, 5), (6, 64, 4), (13, 70, 9)):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        left, right, c = guarded(a), guarded(b), guarded(np.zeros((m, n), dtype))
        kernels["product", dtype](left, k, 1, right, n, c, n, m, n, k, 0)
        np.testing.assert_allclose(c, a @ b, atol=1e-5)
        turned = guarded(np.zeros((n, k), dtype))
        kernels["turn", dtype](right, n, turned, k, k, n)
        assert np.array_equal(turned, b.T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_object_code_for_aarch64(dtype):
    llvm = pytest.importorskip("llvmlite.binding")
    arm = Target(
        "aarch64-unknown-linux-gnu", "neoverse-n1", "+neon", 16, 32, 64 << 10, 1 << 20, 8 << 20, 4
    )
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    text = render_block("product", dtype, arm) + caller("product", BLOCK_ARGUMENTS)
    parsed = llvm.parse_assembly(text + render_transpose("turn", dtype, arm))
    parsed.triple = arm.triple
    parsed.verify()
    code = create_machine(arm).emit_object(parsed)
    assert code[:4] == b"\x7fELF"
    assert code[18:20] == b"\xb7\x00"  # EM_AARCH64
