"""The caching allocator: no byte of a live array ever changes, and the books are right."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import queue
import re
import sys
import threading

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

from flambeau import settings
from flambeau.compiler import allocator, allocator_ir, jit
from tests.compiler import process

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled here")

SIZES = [
    1,
    7,
    63,
    64,
    65,
    80,
    81,
    1000,
    1023,
    1024,
    1025,
    4096,
    100_000,
    1 << 20,
    3_000_001,
    1 << 22,
]


@pytest.fixture(autouse=True)
def installed():
    """Install the allocator for one test, with an empty cache and its usual limit."""
    was = allocator._installed.get(False)
    assert allocator.install()
    gc.collect()
    allocator.empty_cache()
    limit = allocator.memory_stats()["limit"]
    yield
    allocator.set_cache_limit(limit)
    if not was:
        allocator.uninstall()


def pattern(seed, size):
    return (np.arange(size, dtype=np.uint64) * 2654435761 + seed).astype(np.uint8)


def test_numpy_uses_it():
    assert get_handler_name(np.empty(10)) == allocator.HANDLER_NAME
    assert get_handler_name() == allocator.HANDLER_NAME
    allocator.uninstall()
    assert get_handler_name(np.empty(10)) == "default_allocator"
    allocator.install()
    assert get_handler_name(np.empty(10)) == allocator.HANDLER_NAME


def test_it_can_be_switched_off(monkeypatch):
    allocator.uninstall()
    monkeypatch.setattr(settings, "allocator", False)
    assert not allocator.install()
    assert get_handler_name(np.empty(10)) == "default_allocator"


def test_prepare_waits_for_an_array_that_is_mapped():
    assert "llvmlite" in sys.modules
    allocator.uninstall()
    allocator.prepare(allocator.MAPPED - 1)
    assert get_handler_name() == "default_allocator"
    allocator.prepare(allocator.MAPPED)
    assert get_handler_name() == allocator.HANDLER_NAME


def test_prepare_waits_for_a_large_array_if_llvmlite_had_to_be_loaded(monkeypatch):
    allocator.uninstall()
    monkeypatch.delitem(sys.modules, "llvmlite")
    allocator.prepare(allocator_ir.LARGE - 1)
    assert get_handler_name() == "default_allocator"
    allocator.prepare(allocator_ir.LARGE)
    assert get_handler_name() == allocator.HANDLER_NAME


def test_the_error_state_of_numpy_is_untouched():
    code = """
import numpy as np
from flambeau.compiler import allocator
np.seterr(over="raise", under="ignore")
before = np.geterr()
assert allocator.install()
assert np.geterr() == before
with np.errstate(all="ignore"):
    pass
print(np.geterr() == before)
"""
    assert process.run(code)[0] == "True\n"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [np.empty, np.zeros])
def test_data_is_aligned(make, size):
    for _ in range(3):
        array = make(size, np.uint8)
        assert array.ctypes.data % 64 == 0
        if size >= 2 << 20:
            assert array.ctypes.data % (2 << 20) == 0


@pytest.mark.parametrize("size", SIZES)
def test_zeros_are_zero_in_used_memory(size):
    for _ in range(3):
        dirty = np.empty(size, np.uint8)
        address = dirty.ctypes.data
        dirty.fill(0xAA)
        del dirty
        clean = np.zeros(size, np.uint8)
        assert clean.ctypes.data == address
        assert not clean.any()
        clean.fill(0x55)
        del clean


@pytest.mark.parametrize("size", SIZES)
def test_a_freed_block_is_reused(size):
    before = allocator.memory_stats()["reused"]
    first = np.empty(size, np.uint8)
    address = first.ctypes.data
    del first
    again = np.empty(size, np.uint8)
    assert again.ctypes.data == address
    assert allocator.memory_stats()["reused"] > before


def test_live_arrays_do_not_overlap():
    arrays = [np.empty(size, np.uint8) for size in SIZES * 4]
    spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


@pytest.mark.parametrize("seed", range(4))
def test_contents_survive_a_long_random_life(seed):
    random = np.random.default_rng(seed)
    alive: list[tuple[np.ndarray, np.ndarray]] = []
    for step in range(3000):
        choice = random.integers(6)
        if choice <= 2 or not alive:
            size = int(2 ** random.uniform(0, 16)) if random.random() < 0.97 else 3 << 20
            array = np.empty(size, np.uint8)
            array[:] = pattern(step, size)
            alive.append((array, bytes(array) if size < 1 << 16 else array.tobytes()))
        elif choice == 3:
            at = int(random.integers(len(alive)))
            array, truth = alive.pop(at)
            assert array.tobytes() == truth
        elif choice == 4:
            at = int(random.integers(len(alive)))
            array, truth = alive[at]
            size = int(array.size * random.uniform(0.1, 3)) + 1
            array.resize(size, refcheck=False)
            kept = min(size, len(truth))
            assert array[:kept].tobytes() == truth[:kept]
            assert not array[kept:].any()
            alive[at] = (array, array.tobytes())
        else:
            at = int(random.integers(len(alive)))
            alive.append((alive[at][0].copy(), alive[at][1]))
        while len(alive) > 60:
            array, truth = alive.pop(0)
            assert array.tobytes() == truth
        if step == 1500:
            allocator.empty_cache()
    for array, truth in alive:
        assert array.tobytes() == truth


def test_growing_and_shrinking_in_place():
    array = np.arange(10)
    for size in (11, 12, 100, 10_000, 1_000_000, 500, 3, 1):
        kept = min(size, array.size)
        before = array[:kept].copy()
        array.resize(size, refcheck=False)
        assert (array[:kept] == before).all()
        assert not array[kept:].any()
        array[:] = np.arange(size)


def test_the_books_balance():
    gc.collect()
    before = allocator.memory_stats()
    allocator.reset_peak_memory_stats()
    assert allocator.memory_stats()["peak"] >= before["current"]
    array = np.empty(1 << 20, np.uint8)
    during = allocator.memory_stats()
    assert during["current"] - before["current"] == 1 << 20
    assert during["peak"] >= during["current"]
    array.resize(1000, refcheck=False)
    assert allocator.memory_stats()["current"] - before["current"] == 1000
    del array
    after = allocator.memory_stats()
    assert after["current"] == before["current"]
    assert after["peak"] >= before["current"] + (1 << 20)
    assert after["cached"] >= before["cached"] + (1 << 20)
    assert after["allocations"] - before["allocations"] == after["frees"] - before["frees"]
    allocator.reset_peak_memory_stats()
    assert allocator.memory_stats()["peak"] == allocator.memory_stats()["current"]
    assert after["strays"] == 0


def test_the_system_gets_back_what_it_gave():
    before = allocator.memory_stats()
    arrays = [np.empty(size, np.uint8) for size in SIZES]
    during = allocator.memory_stats()
    assert during["reserved"] - before["reserved"] >= sum(SIZES) - before["cached"]
    assert during["reserved"] >= during["current"] + during["cached"]
    assert during["reserved_peak"] >= during["reserved"]
    assert during["allocated"] - before["allocated"] >= sum(SIZES)
    del arrays
    allocator.empty_cache()
    after = allocator.memory_stats()
    assert after["reserved"] <= before["reserved"]
    assert after["obtained"] - before["obtained"] >= after["reserved"] - before["reserved"]
    allocator.reset_peak_memory_stats()
    after = allocator.memory_stats()
    assert after["reserved_peak"] == after["reserved"]


def test_the_census_counts_blocks():
    size = 3 << 20
    rows = {row[0]: row[1:] for row in allocator.census()}
    live, _ = rows.get(size, (0, 0))
    arrays = [np.empty(size - 5, np.uint8) for _ in range(3)]
    arrays.pop()
    rows = {row[0]: row[1:] for row in allocator.census()}
    assert rows[size] == (live + 2, 1)
    reserved = sum(size * (a + b) for size, (a, b) in rows.items())
    assert reserved == allocator.memory_stats()["reserved"]
    cached = sum(size * b for size, (_, b) in rows.items())
    assert cached == allocator.memory_stats()["cached"]


def test_class_sizes_are_those_of_the_allocator():
    """Four per power of two, in order; a block of each size asked for is at most 1.25 as large."""
    sizes = [allocator_ir.size_of_class(k) for k in range(22, allocator_ir.CLASSES)]
    assert sizes == sorted(set(sizes))
    assert sizes[:5] == [56, 64, 80, 96, 112]
    assert all(b / a <= 1.25 for a, b in itertools.pairwise(sizes[1:]))


def test_a_budget_is_kept():
    reserved = allocator.memory_stats()["reserved"]
    assert allocator.set_budget(reserved + (8 << 20))
    try:
        kept = np.empty(6 << 20, np.uint8)
        refusals = allocator.memory_stats()["refusals"]
        with pytest.raises(MemoryError):
            np.empty(6 << 20, np.uint8)
        assert allocator.memory_stats()["refusals"] == refusals + 1
        message = str(allocator.out_of_memory("too much"))
        assert re.match(r"too much; .* are in arrays and .* reserved, of at most .*iB", message)
        del kept
        # What is cached in another size is given up for it.
        assert np.empty(7 << 20, np.uint8).nbytes == 7 << 20
    finally:
        allocator.set_budget(0)
    assert np.empty(64 << 20, np.uint8).nbytes == 64 << 20
    with pytest.raises(ValueError, match="must not be negative, got -5"):
        allocator.set_budget(-5)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's books")
def test_large_arrays_are_given_back_at_once():
    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    array = np.ones(100 << 20, np.uint8)
    assert resident() - before >= 90 << 20
    del array
    allocator.empty_cache()
    assert resident() - before < 20 << 20


def test_sizes_are_written_for_people():
    shown = [allocator.format_bytes(n) for n in (0, 1023, 1536, 5 << 20, 3 << 40, 5000 << 40)]
    assert shown == ["0 B", "1023 B", "1.50 KiB", "5.00 MiB", "3.00 TiB", "5000.00 TiB"]


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (3, 0, 1000), (0, 100_000)])
def test_empty_arrays(shape):
    """NumPy allocates and frees these with different sizes."""
    before = allocator.memory_stats()["current"]
    arrays = [make(shape) for make in (np.empty, np.zeros) for _ in range(20)]
    assert all(array.size == 0 for array in arrays)
    filled = [pattern(i, 40_000) for i in range(20)]
    del arrays
    assert all((filled[i] == pattern(i, 40_000)).all() for i in range(20))
    del filled
    gc.collect()
    assert allocator.memory_stats()["current"] == before


def test_empty_cache_returns_everything():
    arrays = [np.empty(size, np.uint8) for size in SIZES]
    del arrays
    cached = allocator.memory_stats()["cached"]
    assert cached >= sum(SIZES)
    assert allocator.empty_cache() >= sum(SIZES)
    assert allocator.memory_stats()["cached"] < 1 << 16
    assert not np.zeros(1 << 20).any()


def test_the_limit_holds():
    allocator.set_cache_limit(8 << 20)
    arrays = [np.empty(1 << 20, np.uint8) for _ in range(20)]
    del arrays
    assert allocator.memory_stats()["cached"] <= 8 << 20
    allocator.set_cache_limit(0)
    allocator.empty_cache()
    del_me = np.empty(1 << 20, np.uint8)
    del del_me
    assert allocator.memory_stats()["cached"] == 0
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        allocator.set_cache_limit(-1)


def test_a_cache_of_the_wrong_sizes_makes_room():
    """Large blocks missing while the cache is more than half full: what is in it is of no use."""
    allocator.set_cache_limit(64 << 20)
    arrays = [np.empty(1 << 20, np.uint8) for _ in range(50)]
    del arrays
    assert allocator.memory_stats()["cached"] >= 50 << 20
    large = np.empty(20 << 20, np.uint8)
    assert allocator.memory_stats()["cached"] < 1 << 20
    assert large.nbytes == 20 << 20


@pytest.mark.parametrize("size", [1 << 46, (1 << 47) - 1, 1 << 47, 1 << 50, (1 << 63) - 1])
@pytest.mark.parametrize("make", [np.empty, np.zeros])
def test_too_much_is_a_memory_error(make, size):
    before = allocator.memory_stats()["current"]
    try:
        array = make(size, np.uint8)
    except (MemoryError, ValueError):
        array = None
    if size > 1 << 47:
        assert array is None
    del array
    assert allocator.memory_stats()["current"] == before


def test_a_failed_resize_keeps_the_array():
    array = pattern(1, 5000)
    with pytest.raises(MemoryError):
        array.resize(1 << 48, refcheck=False)
    assert (array == pattern(1, 5000)).all()


def test_arrays_outlive_the_handler():
    array = pattern(3, 1 << 20)
    allocator.uninstall()
    before = allocator.memory_stats()["frees"]
    other = np.empty(10)
    assert (array == pattern(3, 1 << 20)).all()
    del array, other
    assert allocator.memory_stats()["frees"] == before + 1
    allocator.install()


def test_a_new_thread_decides_for_itself():
    names = []

    def look():
        names.append(get_handler_name())
        allocator.install()
        names.append(get_handler_name(np.empty(3)))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert names == ["default_allocator", allocator.HANDLER_NAME]
    assert get_handler_name() == allocator.HANDLER_NAME


def test_a_storm_of_threads():
    """Arrays are made in one thread, checked and freed in another."""
    inbox: queue.Queue = queue.Queue()
    wrong = []

    def produce(seed):
        allocator.install()
        random = np.random.default_rng(seed)
        for step in range(600):
            size = int(2 ** random.uniform(0, 15))
            inbox.put((seed * 1000 + step, pattern(seed * 1000 + step, size)))
        inbox.put(None)

    def consume():
        while (item := inbox.get()) is not None:
            if not (item[1] == pattern(item[0], item[1].size)).all():
                wrong.append(item[0])

    workers = [threading.Thread(target=produce, args=(seed,)) for seed in range(3)]
    workers += [threading.Thread(target=consume) for _ in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(60)
        assert not each.is_alive()
    assert not wrong
    assert allocator.memory_stats()["strays"] == 0


@pytest.mark.parametrize("locked", [True, False])
def test_a_block_freed_twice_is_not_given_out_twice(locked):
    library = jit.compile_ir(f"alloc_{locked}", allocator_ir.render_allocator(locked))
    malloc = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
        library.address("cache_malloc")
    )
    free = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
        library.address("cache_free")
    )
    counters = ctypes.PYFUNCTYPE(ctypes.c_void_p)(library.address("cache_counters"))()
    books = (ctypes.c_int64 * len(allocator_ir.COUNTERS)).from_address(counters)
    books[allocator_ir.COUNTERS.index("limit")] = 1 << 30
    strays = allocator_ir.COUNTERS.index("strays")
    before = books[strays]
    block = malloc(None, 100)
    free(None, block, 100)
    free(None, block, 100)
    assert books[strays] == before + 1
    assert malloc(None, 100) == block
    assert malloc(None, 100) != block
    free(None, None, 0)


def test_the_lock_holds_without_the_gil():
    """Every ctypes call gives up the GIL, so the threads meet inside the allocator."""
    library = jit.compile_ir("alloc_True", allocator_ir.render_allocator(True))
    malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
        library.address("cache_malloc")
    )
    free = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
        library.address("cache_free")
    )
    wrong = []

    def work(seed):
        held = []
        for step in range(4000):
            block = malloc(None, 48)
            stamp = seed << 32 | step
            ctypes.c_uint64.from_address(block).value = stamp
            held.append((block, stamp))
            if len(held) > 5:
                block, stamp = held.pop(step % 5)
                if ctypes.c_uint64.from_address(block).value != stamp:
                    wrong.append(stamp)
                free(None, block, 48)
        for block, _ in held:
            free(None, block, 48)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(60)
        assert not each.is_alive()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_allocates():
    kept = pattern(9, 100_000)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            arrays = [pattern(i, 50_000) for i in range(50)]
            good = all((arrays[i] == pattern(i, 50_000)).all() for i in range(50))
            status = 0 if good and (kept == pattern(9, 100_000)).all() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (kept == pattern(9, 100_000)).all()


def test_a_soak_and_an_exit_with_arrays_alive():
    code = """
import numpy as np
from flambeau.compiler import allocator
assert allocator.install()
random = np.random.default_rng(0)
kept = {}
class Late:
    array = np.ones(1000)
    def __del__(self):
        self.array = self.array * 2
late = Late()
cycle = [np.ones(500_000)]
cycle.append(cycle)
for step in range(20_000):
    size = int(2 ** random.uniform(0, 18))
    kept[step % 50] = np.full(size, step % 251, np.uint8)
    at = int(random.integers(50))
    if at in kept:
        value = kept[at]
        assert value.min() == value.max(), (step, at)
x = np.linspace(0, 1, 300_000)
assert abs(np.fft.irfft(np.fft.rfft(x), x.size) - x).max() < 1e-12
assert abs(np.sort(random.permutation(x)) - x).max() == 0
a = random.standard_normal((200, 200))
assert abs(np.linalg.solve(a, a @ a) - a).max() < 1e-6
stats = allocator.memory_stats()
assert stats["strays"] == 0 and stats["reused"] > 10_000
print("fine")
"""
    out, err = process.run(code)
    assert out == "fine\n"
    assert err == ""


def test_nothing_is_installed_without_the_jit():
    code = """
import sys
import numpy as np
from numpy._core.multiarray import get_handler_name
from flambeau.compiler import allocator
allocator.prepare(1 << 30)
assert not allocator.install()
allocator.set_cache_limit(5)
allocator.uninstall()
allocator.reset_peak_memory_stats()
print(get_handler_name(), set(allocator.memory_stats().values()), "llvmlite" in sys.modules)
"""
    assert process.run(code, FLAMBEAU_JIT="0")[0] == "default_allocator {0} False\n"
    assert process.run(code, FLAMBEAU_ALLOCATOR="0")[0].startswith("default_allocator")
