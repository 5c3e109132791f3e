"""Object code: what is compiled, what is kept, and what happens to a damaged cache."""

from __future__ import annotations

import ctypes
import re
import shutil
import warnings

import pytest

from flambeau import settings
from flambeau.compiler import allocator_ir, jit, launch_ir, target, threads
from tests.compiler import process

compiled = pytest.mark.skipif(not jit.available(), reason="nothing is compiled here")

TWICE = "define i64 @twice(i64 %x) {\n  %y = mul i64 %x, 2\n  ret i64 %y\n}\n"
LOOP = """
define void @add(ptr noalias %x, ptr noalias %y, i64 %n) {
entry:
  br label %l
l:
  %i = phi i64 [0, %entry], [%j, %l]
  %p = getelementptr float, ptr %x, i64 %i
  %q = getelementptr float, ptr %y, i64 %i
  %a = load float, ptr %p
  %b = load float, ptr %q
  %c = fadd float %a, %b
  store float %c, ptr %q
  %j = add i64 %i, 1
  %m = icmp ult i64 %j, %n
  br i1 %m, label %l, label %done
done:
  ret void
}
"""

# Prints "compiled" if the cache had nothing for the key, and what the kernel answers.
GET = """
import ctypes
from flambeau.compiler import jit
KERNEL = {ir!r}
def build():
    print("compiled")
    return KERNEL
library = jit.load_or_build({name!r}, {key!r}, build)
function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address("twice"))
print(function(21))
"""


def get(name="twice", key="1", ir=TWICE):
    return GET.format(name=name, key=key, ir=ir)


def call(library, symbol, value):
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address(symbol))
    return function(value)


@compiled
def test_compiles_and_runs():
    library = jit.compile_ir("twice", TWICE)
    assert call(library, "twice", 21) == 42
    assert library.symbols() == ("twice",)
    assert jit.compile_ir("twice", TWICE) is library


@compiled
def test_an_absent_function_is_named_with_those_there_are():
    with pytest.raises(KeyError, match=r"no function 'thrice'.*twice"):
        jit.compile_ir("twice", TWICE).address("thrice")


@compiled
@pytest.mark.parametrize(
    ("ir", "message"),
    [
        ("define i64 @f() { ret i32 0 }", "LLVM refuses the IR of broken"),
        ("not IR at all", "LLVM refuses the IR of broken"),
        (
            "declare void @nobody_defines_this()\n"
            "define void @f() {\n call void @nobody_defines_this()\n ret void\n}",
            "cannot link broken",
        ),
    ],
)
def test_bad_ir_is_refused_by_name(ir, message, capfd):
    with pytest.raises(RuntimeError, match=message):
        jit.compile_ir("broken", ir)


@compiled
def test_python_objects_and_functions_resolve():
    ir = """
    @_Py_NoneStruct = external global i8
    @PyExc_ValueError = external global ptr
    declare void @PyErr_SetNone(ptr)
    declare void @Py_IncRef(ptr)
    define ptr @nothing() {
      call void @Py_IncRef(ptr @_Py_NoneStruct)
      ret ptr @_Py_NoneStruct
    }
    define ptr @fails() {
      %e = load ptr, ptr @PyExc_ValueError
      call void @PyErr_SetNone(ptr %e)
      ret ptr null
    }
    """
    names = ("_Py_NoneStruct", "PyExc_ValueError", "PyErr_SetNone", "Py_IncRef")
    library = jit.compile_ir("objects", ir, names)
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object)
    assert prototype(library.address("nothing"))() is None
    with pytest.raises(ValueError, match=r"^$"):
        prototype(library.address("fails"))()


@compiled
def test_bindings_are_addresses_of_the_callers_own():
    cell = ctypes.c_int64(5)
    ir = (
        "@cell = external global i64\n"
        "define i64 @read(i64 %by) {\n  %v = load i64, ptr @cell\n"
        "  %w = add i64 %v, %by\n  ret i64 %w\n}"
    )
    library = jit.compile_ir("cell", ir, bindings={"cell": ctypes.addressof(cell)})
    cell.value = 6
    assert call(library, "read", 1) == 7


@compiled
def test_an_unknown_python_symbol_is_refused():
    with pytest.raises(RuntimeError, match="does not export PyNothing_Such"):
        jit.symbol_address("PyNothing_Such")


@compiled
def test_a_second_process_does_not_build(tmp_path):
    cache = {"FLAMBEAU_CACHE_DIR": str(tmp_path)}
    assert process.run(get(), **cache)[0].split() == ["compiled", "42"]
    assert process.run(get(), **cache)[0].split() == ["42"]
    assert process.run(get(key="2"), **cache)[0].split() == ["compiled", "42"]
    assert process.run(get(name="other"), **cache)[0].split() == ["compiled", "42"]
    assert process.run(get(), **cache, FLAMBEAU_CACHE="0")[0].split() == ["compiled", "42"]
    plain = {**cache, "FLAMBEAU_CPU": "generic"}
    assert process.run(get(), **plain)[0].split() == ["compiled", "42"]
    assert process.run(get(), **cache)[0].split() == ["42"]


@compiled
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: b"X" + data[1:],
    ],
    ids=["empty", "header", "truncated", "flipped bit", "magic"],
)
def test_a_damaged_entry_is_rebuilt_after_one_warning(damage, tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))

    def forget():
        monkeypatch.setattr(jit, "_libraries", {})
        monkeypatch.setattr(jit, "_warned", set())

    built = []

    def fetch(key):
        return jit.load_or_build("victim", key, lambda: built.append(key) or TWICE)

    forget()
    fetch("1"), fetch("2")
    for entry in (tmp_path / "objects").iterdir():
        entry.write_bytes(damage(entry.read_bytes()))
    forget()
    with pytest.warns(RuntimeWarning, match="damaged") as record:
        libraries = [fetch("1"), fetch("2")]
    assert len(record) == 1
    assert [call(library, "twice", 4) for library in libraries] == [8, 8]
    assert built == ["1", "2", "1", "2"]
    forget()
    assert call(fetch("1"), "twice", 4) == 8
    assert len(built) == 4


@compiled
def test_an_unwritable_cache_warns_once_and_works(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(blocked))
    monkeypatch.setattr(jit, "_libraries", {})
    monkeypatch.setattr(jit, "_warned", {"read"})
    with pytest.warns(RuntimeWarning, match="cannot write the kernel cache") as record:
        libraries = [jit.load_or_build("x", key, lambda: TWICE) for key in "123"]
    assert len(record) == 1
    assert [call(library, "twice", 3) for library in libraries] == [6, 6, 6]


@compiled
def test_processes_that_compile_the_same_kernel_at_once(tmp_path):
    running = [process.start(get(), FLAMBEAU_CACHE_DIR=str(tmp_path)) for _ in range(4)]
    for each in running:
        assert process.finish(each)[0].split()[-1] == "42"
    (entry,) = (tmp_path / "objects").iterdir()
    assert entry.name.startswith("twice-")


@compiled
def test_a_changed_generator_finds_nothing_of_its_past(tmp_path):
    package = tmp_path / "code" / "flambeau"
    shutil.copytree(process.ROOT / "flambeau" / "compiler", package / "compiler")
    shutil.copy(process.ROOT / "flambeau" / "settings.py", package)
    (package / "__init__.py").write_text("")

    def words():
        out, _ = process.run(get(), tmp_path / "code", FLAMBEAU_CACHE_DIR=str(tmp_path / "cache"))
        return out.split()

    assert words() == ["compiled", "42"]
    assert words() == ["42"]
    with open(package / "compiler" / "target.py", "a") as source:
        source.write("# changed\n")
    assert words() == ["compiled", "42"]


@compiled
def test_the_oldest_entries_go_when_the_cache_is_full(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "_libraries", {})
    monkeypatch.setattr(jit.statistics, "compiled", 1)
    old = jit.load_or_build("old", "1", lambda: TWICE)
    monkeypatch.setattr(jit.statistics, "compiled", 64)
    monkeypatch.setattr(settings, "cache_limit", 0)
    jit.load_or_build("new", "1", lambda: TWICE)
    assert list((tmp_path / "objects").iterdir()) == []
    assert call(old, "twice", 2) == 4


@compiled
def test_clear_cache_counts_what_it_deletes(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "_libraries", {})
    assert jit.clear_cache() == 0
    jit.load_or_build("x", "1", lambda: TWICE)
    assert jit.clear_cache() == 1


@compiled
def test_the_debug_ladder_shows_kernels_timings_ir_and_assembly(tmp_path):
    cache = {"FLAMBEAU_CACHE_DIR": str(tmp_path)}
    assert process.run(get(), **cache, FLAMBEAU_DEBUG="0")[1] == ""
    assert process.run(get(), **cache, FLAMBEAU_DEBUG="1")[1] == ""
    _, two = process.run(get(), **cache, FLAMBEAU_DEBUG="2")
    assert re.match(r"load twice \d+\.\d\d ms\n", two)
    _, four = process.run(get(), **cache, FLAMBEAU_DEBUG="4")
    assert "define i64 @twice" in four
    assert ".globl" not in four
    _, five = process.run(get(), **cache, FLAMBEAU_DEBUG="5")
    assert ".globl" in five


@compiled
@pytest.mark.skipif(target.host().architecture != "x86_64", reason="reads x86 assembly")
def test_vectorising_is_an_option(capfd, monkeypatch):
    monkeypatch.setattr(settings, "debug", 5)
    monkeypatch.setattr(jit, "_libraries", {})
    jit.compile_ir("loop", LOOP)
    assert "addps" in capfd.readouterr().err
    plain = jit.Options(vectorize=False, slp=False, unroll=False)
    jit.compile_ir("loop", LOOP, options=plain)
    assembly = capfd.readouterr().err
    assert "addss" in assembly
    assert "addps" not in assembly


def test_nothing_is_compiled_or_imported_with_the_jit_off():
    code = """
import sys
from flambeau.compiler import allocator, jit, launch, target, threads
assert not jit.available() and target.host().vector_bytes >= 16
assert not launch.fastcall_available() and not allocator.install()
assert allocator.memory_stats()["allocations"] == 0 and allocator.empty_cache() == 0
threads.set_num_threads(3)
assert threads.get_num_threads() == 3
try:
    jit.compile_ir("x", "")
except RuntimeError as error:
    print(error)
assert "llvmlite" not in sys.modules
"""
    assert "FLAMBEAU_JIT is 0" in process.run(code, FLAMBEAU_JIT="0")[0]


def test_settings_refuse_what_is_not_a_number():
    code = "try:\n import flambeau.settings\nexcept ValueError as error:\n print(error)"
    out, _ = process.run(code, FLAMBEAU_DEBUG="loud")
    assert "FLAMBEAU_DEBUG: expected an integer, got 'loud'" in out


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"FLAMBEAU_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"FLAMBEAU_THREADS": "", "OMP_NUM_THREADS": "5,2"}, 5),
    ],
)
def test_threads_come_from_the_environment(environment, threads):
    code = "from flambeau import settings; print(settings.threads())"
    assert int(process.run(code, **environment)[0]) == threads


@compiled
@pytest.mark.skipif(not jit.available() or target.host().architecture != "x86_64", reason="x86")
@pytest.mark.parametrize(
    ("environment", "width"),
    [
        ({"FLAMBEAU_CPU": "haswell"}, 32),
        ({"FLAMBEAU_CPU": "skylake-avx512"}, 64),
        ({"FLAMBEAU_CPU": "x86-64"}, 16),
        ({"FLAMBEAU_CPU": "haswell", "FLAMBEAU_CPU_FEATURES": "-avx"}, 16),
    ],
)
def test_another_cpu_can_be_asked_for(environment, width):
    code = (
        "from flambeau.compiler import target; host = target.host();"
        "print(host.vector_bytes, host.vector_registers, host.cpu, host.has('avx512bf16'))"
    )
    words = process.run(code, **environment)[0].split()
    assert words == [
        str(width),
        "32" if width == 64 else "16",
        environment["FLAMBEAU_CPU"],
        "False",
    ]


def test_the_target_is_plausible():
    host = target.host()
    assert host.vector_bytes in (16, 32, 64)
    assert host.lanes(4) == host.vector_bytes // 4
    assert 1024 < host.l1 < host.l2 <= host.l3
    assert host.cores >= 1


def test_warnings_are_given_once(monkeypatch):
    monkeypatch.setattr(jit, "_warned", set())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        jit._warn_once("kind", "one")
        jit._warn_once("kind", "two")
    assert [str(each.message) for each in seen] == ["one"]


@compiled
@pytest.mark.parametrize(
    "triple",
    ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "riscv64-unknown-linux-gnu",
     "arm64-apple-darwin", "x86_64-apple-darwin", "x86_64-pc-windows-msvc"],
)  # fmt: skip
def test_the_runtime_compiles_for_other_machines(triple):
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=3, reloc="pic")
    modules = [
        launch_ir.render_launchers(),
        allocator_ir.render_allocator(locked=True),
        allocator_ir.render_allocator(locked=False),
        threads._render_pool(98, triple.split("-")[0]),
    ]
    for text in modules:
        module = llvm.parse_assembly(text)
        module.triple = triple
        module.data_layout = str(machine.target_data)
        module.verify()
        assert len(machine.emit_object(module)) > 500
