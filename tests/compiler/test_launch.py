"""Launching kernels: the compiled launcher and its definition in Python, held to one behaviour."""

from __future__ import annotations

import ctypes
import gc
import struct
import sys
import threading
import time
import types

import ml_dtypes
import numpy as np
import pytest

from flambeau import settings
from flambeau.compiler import jit, launch, launch_ir
from tests.compiler import process

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled here")

# copy: words[2:] to the array in word 0, as many as word 1 says. total: the sum of a strided
# 2-d int64 array given by an "A". rows: for each row of a table, count and first byte, to word 0.
IR = """
define void @copy(ptr %w) {
entry:
  %out = load ptr, ptr %w
  %np = getelementptr i64, ptr %w, i64 1
  %n = load i64, ptr %np
  %from = getelementptr i64, ptr %w, i64 2
  %bytes = shl i64 %n, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %from, i64 %bytes, i1 false)
  ret void
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal i64 @word(ptr %p, i64 %i) alwaysinline {
  %q = getelementptr i64, ptr %p, i64 %i
  %v = load i64, ptr %q
  ret i64 %v
}

define i64 @total(ptr %w) {
entry:
  %data = load ptr, ptr %w
  %nd = call i64 @word(ptr %w, i64 1)
  %d = call i64 @word(ptr %w, i64 2)
  %dims = inttoptr i64 %d to ptr
  %s = call i64 @word(ptr %w, i64 3)
  %strides = inttoptr i64 %s to ptr
  %two = icmp eq i64 %nd, 2
  %rows0 = call i64 @word(ptr %dims, i64 0)
  %rows = select i1 %two, i64 %rows0, i64 0
  %cols = call i64 @word(ptr %dims, i64 1)
  %sr = call i64 @word(ptr %strides, i64 0)
  %sc = call i64 @word(ptr %strides, i64 1)
  br label %outer
outer:
  %i = phi i64 [0, %entry], [%i1, %next]
  %a = phi i64 [0, %entry], [%b, %next]
  %mi = icmp slt i64 %i, %rows
  br i1 %mi, label %inner, label %done
inner:
  %j = phi i64 [0, %outer], [%j1, %body]
  %b = phi i64 [%a, %outer], [%b1, %body]
  %mj = icmp slt i64 %j, %cols
  br i1 %mj, label %body, label %next
body:
  %oi = mul i64 %i, %sr
  %oj = mul i64 %j, %sc
  %o = add i64 %oi, %oj
  %p = getelementptr i8, ptr %data, i64 %o
  %v = load i64, ptr %p
  %b1 = add i64 %b, %v
  %j1 = add i64 %j, 1
  br label %inner
next:
  %i1 = add i64 %i, 1
  br label %outer
done:
  ret i64 %a
}

define void @rows(ptr %w) {
entry:
  %out = load ptr, ptr %w
  %t = call i64 @word(ptr %w, i64 1)
  %table = inttoptr i64 %t to ptr
  %n = call i64 @word(ptr %w, i64 2)
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %body]
  %m = icmp slt i64 %i, %n
  br i1 %m, label %body, label %done
body:
  %row = getelementptr [2 x i64], ptr %table, i64 %i
  %data = load ptr, ptr %row
  %size = call i64 @word(ptr %row, i64 1)
  %first = load i8, ptr %data
  %f = zext i8 %first to i64
  %to = getelementptr [2 x i64], ptr %out, i64 %i
  store i64 %size, ptr %to
  %to1 = getelementptr i64, ptr %to, i64 1
  store i64 %f, ptr %to1
  %i1 = add i64 %i, 1
  br label %head
done:
  ret void
}

define double @half(ptr %w) {
  %x = load double, ptr %w
  %y = fmul double %x, 0.5
  ret double %y
}

; Look at the flag (word 0) as often as word 1 says; 1 as soon as it is set.
define i64 @watch(ptr %w) {
entry:
  %flag = load ptr, ptr %w
  %n = call i64 @word(ptr %w, i64 1)
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %body]
  %m = icmp slt i64 %i, %n
  br i1 %m, label %body, label %no
body:
  %v = load atomic i64, ptr %flag seq_cst, align 8
  %set = icmp ne i64 %v, 0
  %i1 = add i64 %i, 1
  br i1 %set, label %yes, label %head
yes:
  ret i64 1
no:
  ret i64 0
}

define void @mark(ptr %w, i64 %i, i64 %thread) {
  %out = load ptr, ptr %w
  %p = getelementptr i64, ptr %out, i64 %i
  %v = load i64, ptr %p
  %v1 = add i64 %v, 1
  store i64 %v1, ptr %p
  ret void
}
"""


@pytest.fixture(params=["compiled", "ctypes"])
def bind(request, monkeypatch):
    """Return a bind for kernels of this file by name, one whose form is sure."""
    fast = request.param == "compiled"
    if fast and not launch.fastcall_available():
        pytest.skip("this interpreter's layout is unknown")
    monkeypatch.setattr(settings, "fastcall", fast)
    library = jit.compile_ir("launch_tests", IR)

    def make(kernel, params=None, **options):
        call = launch.bind(library.address(kernel), params, name=kernel, **options)
        assert isinstance(call, types.BuiltinFunctionType) == fast
        return call

    return make


def words(bind, params, *args, count=1):
    out = np.zeros(count, np.int64)
    spec = None if params is None else f"a i {params}"
    assert bind("copy", spec)(out, count, *args) is None
    return out.tolist()


def bits(value):
    return struct.unpack("<q", struct.pack("<d", value))[0]


def test_this_interpreter_is_known():
    """The versions that the project supports take the fast way; anything else is a regression."""
    if sys.implementation.name == "cpython" and sys.version_info < (3, 15):
        assert launch.fastcall_available()


def test_each_letter_gives_its_words(bind):
    x = np.zeros((3, 4), np.float32)
    pointer = x.ctypes.data
    assert words(bind, "a", x) == [pointer]
    assert words(bind, "a:float32:cw", x) == [pointer]
    assert words(bind, "a::c", x) == [pointer]
    assert words(bind, "o", x) == [pointer]
    assert words(bind, "o", None) == [0]
    assert words(bind, "A", x.T, count=4)[:2] == [pointer, 2]
    assert words(bind, "i", -7) == [-7]
    assert words(bind, "i", -1) == [-1]
    assert words(bind, "i", True) == [1]
    assert words(bind, "i", np.int32(5)) == [5]
    assert words(bind, "f", 0.1) == [bits(0.1)]
    assert words(bind, "f", -1.0) == [bits(-1.0)]
    assert words(bind, "f", 3) == [bits(3.0)]
    assert words(bind, "f", -1) == [bits(-1.0)]
    assert words(bind, "f", np.float32(0.5)) == [bits(0.5)]
    assert words(bind, "p", (1 << 64) - 2) == [-2]
    assert words(bind, "p", 0) == [0]
    assert words(bind, "t", [x, x, x], count=2)[1] == 3
    assert words(bind, "t", (), count=2)[1] == 0


def test_arguments_speak_for_themselves(bind):
    x = np.zeros(3, np.int8)
    assert words(bind, None, x, 5, 2.5, None, False, -1.0, -1, count=7) == [
        x.ctypes.data, 5, bits(2.5), 0, 0, bits(-1.0), -1,
    ]  # fmt: skip


def test_many_arguments(bind):
    values = list(range(300))
    assert words(bind, None, *values, count=300) == values
    assert words(bind, " i" * 300, *values, count=300) == values


def test_letters_may_stand_together(bind):
    out = np.zeros(2, np.int64)
    bind("copy", "aiif")(out, 2, 7, 0.25)
    assert out.tolist() == [7, bits(0.25)]


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a.T, lambda a: a[::-2, 1::3]])
def test_a_kernel_reads_shape_and_strides(bind, view):
    array = view(np.arange(70, dtype=np.int64).reshape(7, 10))
    assert bind("total", "A:int64", returns="i")(array) == int(array.sum())


def test_tables_hold_pointers_and_sizes(bind):
    arrays = [np.full(shape, 3 + i, np.uint8) for i, shape in enumerate([(), (5,), (2, 3), (4, 1)])]
    arrays.append(arrays[2][:, ::2])
    for container in (list, tuple):
        out = np.zeros((5, 2), np.int64)
        bind("rows", "a t:uint8")(out, container(arrays))
        assert out.tolist() == [[1, 3], [5, 4], [6, 5], [4, 6], [4, 5]]


def test_two_tables_beside_other_words(bind):
    a = [np.zeros(i + 1, np.float64) for i in range(3)]
    got = words(bind, "i t f t i", 1, a, 2.0, a[:2], 9, count=7)
    assert [got[0], got[2], got[3], got[5], got[6]] == [1, 3, bits(2.0), 2, 9]


def test_a_table_too_long_for_the_stack(bind):
    arrays = [np.full(1, i % 251, np.uint8) for i in range(6000)]
    out = np.zeros((6000, 2), np.int64)
    bind("rows", "a t:uint8")(out, arrays)
    assert out[:, 1].tolist() == [i % 251 for i in range(6000)]


X = np.zeros((3, 4), np.float32)
READ_ONLY = np.zeros(3, np.float32)
READ_ONLY.flags.writeable = False
UNALIGNED = np.zeros(13, np.uint8)[1:].view(np.float32)


@pytest.mark.parametrize(
    ("params", "value", "message"),
    [
        ("a", [1.0], "argument 3 must be an ndarray, got list"),
        ("a", None, "an ndarray, got NoneType"),
        ("a", 3, "an ndarray, got int"),
        ("o", "x", "an ndarray or None, got str"),
        ("a:float32", X.astype(np.float64), r"an ndarray \(float32\), got ndarray of float64"),
        ("a:int32", np.zeros(1, np.uint32), "got ndarray of uint32"),
        ("a:float32", X.astype(">f4"), "got ndarray of >f4"),
        ("a:float16", np.zeros(1, ml_dtypes.bfloat16), "got ndarray of bfloat16"),
        ("a:bfloat16", np.zeros(1, np.float16), "got ndarray of float16"),
        ("a:float32", UNALIGNED, "unaligned"),
        ("a:float32:c", X[:, ::2], r"shape \(3, 2\), strides \(16, 8\)"),
        ("a:float32:w", READ_ONLY, "read-only"),
        ("A:float32", X.astype(np.int32), "got ndarray of int32"),
        ("t", X, "a list or tuple of ndarrays, got ndarray"),
        ("t", [X, None], "a list or tuple of ndarrays"),
        ("t:float32", [X, X.astype(np.float64)], "a list or tuple of ndarrays"),
        ("t", {1: X}, "got dict"),
        ("i", 1.0, "an int, got float"),
        ("i", X, "an int, got ndarray"),
        ("f", "1", "a float, got str"),
        ("f", None, "a float, got NoneType"),
        ("p", 1.0, "an address, got float"),
        (None, "x", "must be an int, got str"),
        (None, [X], "must be an int, got list"),
        (None, 1j, "must be an int, got complex"),
    ],
)
def test_a_misfit_is_refused_with_what_came(bind, params, value, message):
    with pytest.raises(TypeError, match=message):
        words(bind, params, value)


@pytest.mark.parametrize(
    ("params", "value"),
    [("i", 1 << 63), ("i", -(1 << 63) - 1), ("p", 1 << 64), ("f", 10**400), (None, 1 << 70)],
)
def test_numbers_beyond_64_bits_are_refused(bind, params, value):
    with pytest.raises(OverflowError):
        words(bind, params, value)


def test_the_extremes_of_64_bits_fit(bind):
    assert words(bind, "i i", -(1 << 63), (1 << 63) - 1, count=2) == [-(1 << 63), (1 << 63) - 1]


def test_the_number_of_arguments_is_checked(bind):
    call = bind("copy", "a i i")
    for args in ((), (X,), (X, 1), (X, 1, 1, 1)):
        with pytest.raises(TypeError, match=f"copy: expected 3 arguments, got {len(args)}"):
            call(*args)


def test_keywords_are_refused(bind):
    with pytest.raises(TypeError):
        bind("copy", "a i i")(X, 0, i=1)


def test_subclasses_and_other_dtypes_pass_where_allowed(bind):
    class Mine(np.ndarray):
        pass

    mine = np.zeros(3, np.float32).view(Mine)
    assert words(bind, "a:float32", mine) == [mine.ctypes.data]
    assert words(bind, None, mine) == [mine.ctypes.data]
    brain = np.zeros(3, ml_dtypes.bfloat16)
    assert words(bind, "a:bfloat16", brain) == [brain.ctypes.data]
    titled = np.zeros(3, np.dtype("f4", metadata={"a": 1}))
    assert words(bind, "a:float32", titled) == [titled.ctypes.data]


def test_results(bind):
    assert bind("half", "f", returns="f")(3.0) == 1.5
    assert bind("half", "f", returns="f", release_gil=True)(5) == 2.5
    assert bind("watch", "p i", returns="i")(0, 0) == 0


@pytest.mark.parametrize(
    "options", [{"returns": "x"}, {"returns": "i", "parallel": True}, {"params": "q"},
                {"params": "i:int32"}, {"params": "a:float32:z"}]
)  # fmt: skip
def test_a_senseless_binding_is_refused(bind, options):
    with pytest.raises(ValueError, match="copy"):
        bind("copy", **options)


def test_references_stay_balanced(bind):
    x = np.zeros((3, 4), np.float32)
    call = bind("copy", "a i A:float32 t f o")
    out = np.zeros(9, np.int64)
    table, misfit = [x, x], [None]
    objects = (x, table, misfit, out, call, x.dtype)
    call(out, 9, x, table, 1.5, None)
    before = [sys.getrefcount(item) for item in objects]
    refused = 0
    for _ in range(1000):
        call(out, 9, x, table, 1.5, None)
        try:
            call(out, 9, x, misfit, 1.5, x)
        except TypeError:
            refused += 1
    gc.collect()
    assert refused == 1000
    assert [sys.getrefcount(item) for item in objects] == before


def test_none_is_returned_as_a_new_reference(bind):
    call = bind("copy", "a i")
    out = np.zeros(1, np.int64)
    before = sys.getrefcount(None)
    kept = [call(out, 0) for _ in range(1000)]
    grown = sys.getrefcount(None) - before
    del kept
    # From Python 3.12 on None is immortal and its count stays.
    assert grown == 0 if sys.version_info >= (3, 12) else 900 < grown < 1100
    assert abs(sys.getrefcount(None) - before) < 100


def test_bindings_may_come_and_go(bind):
    for _ in range(300):
        assert words(bind, "i f", 4, 0.5, count=2) == [4, bits(0.5)]
    gc.collect()
    kept = bind("half", "f", returns="f")
    gc.collect()
    assert kept.__name__ == "half"
    assert kept(4.0) == 2.0


def test_a_kernel_without_the_gil_lets_others_run(bind):
    flag = np.zeros(1, np.int64)
    call = bind("watch", "a i", returns="i", release_gil=True)

    def set_soon():
        time.sleep(0.01)
        flag[0] = 1

    thread = threading.Thread(target=set_soon)
    thread.start()
    assert call(flag, 20_000_000_000) == 1
    thread.join()


def test_a_kernel_with_the_gil_lets_nobody_run(bind):
    flag = np.zeros(1, np.int64)
    call = bind("watch", "a i", returns="i")
    gate = threading.Lock()
    gate.acquire()
    running = threading.Event()

    def set_when_let():
        running.set()
        with gate:
            flag[0] = 1

    thread = threading.Thread(target=set_when_let)
    thread.start()
    running.wait()
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        gate.release()
        assert call(flag, 3_000_000) == 0
    finally:
        sys.setswitchinterval(switch)
    thread.join()
    assert call(flag, 1) == 1


@pytest.mark.parametrize("params", [None, "a"])
@pytest.mark.parametrize("release", [False, True])
def test_a_parallel_kernel_runs_each_chunk_once(bind, params, release):
    call = bind("mark", params, parallel=True, release_gil=release)
    for chunks in (0, 1, 2, 3, 64, 1000, -5):
        out = np.zeros(1001, np.int64)
        assert call(chunks, out) is None
        assert out.sum() == max(chunks, 0)
        assert out[: max(chunks, 0)].all()


@pytest.mark.parametrize("params", [None, "a"])
def test_a_parallel_kernel_wants_its_chunk_count(bind, params):
    call = bind("mark", params, parallel=True)
    with pytest.raises(TypeError):
        call(X)
    with pytest.raises(TypeError):
        call(2.0, X)
    with pytest.raises(TypeError):
        call()


def test_an_unknown_layout_is_noticed(monkeypatch):
    assert launch._layout_is_known.__wrapped__()
    for field in ("DATA", "DESCR"):
        with monkeypatch.context() as patch:
            patch.setattr(launch_ir, field, getattr(launch_ir, field) + 8)
            assert not launch._layout_is_known.__wrapped__()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", (3, 99, 0))
        assert not launch._layout_is_known.__wrapped__()


def test_a_wrong_launcher_fails_its_self_check_and_is_not_used(tmp_path, monkeypatch):
    right = launch_ir.render_launchers()
    wrong = right.replace(f"ptr %o, i64 {launch_ir.STRIDES}", f"ptr %o, i64 {launch_ir.DIMS}")
    assert wrong != right
    library = jit.compile_ir("wrong_launch", wrong, launch_ir.SYMBOLS)
    monkeypatch.setattr(launch, "_launchers", lambda: library)
    with pytest.warns(RuntimeWarning, match="launched through ctypes: the launcher's self-check"):
        assert not launch._self_check.__wrapped__()


def test_ctypes_can_be_asked_for():
    code = (
        "from flambeau.compiler import jit, launch\n"
        "library = jit.compile_ir('f', 'define i64 @f(ptr %w) {\\n %v = load i64, ptr %w\\n"
        " ret i64 %v\\n}')\n"
        "call = launch.bind(library.address('f'), 'i', returns='i', name='f')\n"
        "print(type(call).__name__, call(-3), call)"
    )
    out, _ = process.run(code, FLAMBEAU_FASTCALL="0")
    assert out.startswith("Binding -3 <kernel f at 0x")
    assert process.run(code)[0].startswith("builtin_function_or_method -3")


def test_the_address_is_where_the_kernel_is():
    library = jit.compile_ir("launch_tests", IR)
    half = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(library.address("half"))
    assert half(ctypes.addressof(ctypes.c_double(9.0))) == 4.5
