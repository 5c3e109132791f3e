"""The thread pool: every chunk once, whatever the callers and threads do to each other."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from flambeau import settings
from flambeau.compiler import jit, launch, threads
from tests.compiler import process

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled here")

# mark: out[i] += 1. claim: a chunk holds its thread's flag for a while; finding it held is an
# error, counted in word 1. nest: each chunk runs `mark` over its own row through pool_run.
# watch: waits for a flag, for at most `word 1` looks, and says in word 2 whether it came.
IR = """
define void @mark(ptr %w, i64 %i, i64 %thread) {
  %out = load ptr, ptr %w
  %p = getelementptr i64, ptr %out, i64 %i
  %v = atomicrmw add ptr %p, i64 1 monotonic
  ret void
}

define void @claim(ptr %w, i64 %i, i64 %thread) {
entry:
  %flags = load ptr, ptr %w
  %ep = getelementptr ptr, ptr %w, i64 1
  %errors = load ptr, ptr %ep
  %f = getelementptr i64, ptr %flags, i64 %thread
  %old = atomicrmw xchg ptr %f, i64 1 seq_cst
  %e = atomicrmw add ptr %errors, i64 %old monotonic
  br label %work
work:
  %k = phi i64 [0, %entry], [%k1, %work]
  %c = load volatile i64, ptr %f
  %k1 = add i64 %k, %c
  %more = icmp slt i64 %k1, 200
  br i1 %more, label %work, label %done
done:
  %tp = getelementptr i64, ptr %errors, i64 1
  %t = atomicrmw max ptr %tp, i64 %thread monotonic
  store atomic i64 0, ptr %f seq_cst, align 8
  ret void
}

define void @nest(ptr %w, i64 %i, i64 %thread) {
  %out = load ptr, ptr %w
  %rp = getelementptr ptr, ptr %w, i64 1
  %run = load ptr, ptr %rp
  %row = getelementptr [50 x i64], ptr %out, i64 %i
  %inner = alloca ptr
  store ptr %row, ptr %inner
  call void %run(ptr @mark, ptr %inner, i64 50)
  ret void
}

define void @watch(ptr %w, i64 %i, i64 %thread) {
entry:
  %flag = load ptr, ptr %w
  br label %head
head:
  %k = phi i64 [0, %entry], [%k1, %head]
  %v = load atomic i64, ptr %flag seq_cst, align 8
  %k1 = add i64 %k, 1
  %set = icmp ne i64 %v, 0
  %tired = icmp sgt i64 %k1, 5000000000
  %stop = or i1 %set, %tired
  br i1 %stop, label %done, label %head
done:
  %op = getelementptr i64, ptr %flag, i64 1
  %o = atomicrmw add ptr %op, i64 %v monotonic
  ret void
}
"""


@pytest.fixture(scope="module")
def kernel():
    return jit.compile_ir("thread_tests", IR).address


@pytest.fixture(params=["native", "portable"], autouse=True)
def pool(request, monkeypatch):
    """Run each test on both pools, with three threads whatever the machine has."""
    if request.param == "portable":
        monkeypatch.setattr(threads, "_current", threads._PortablePool())
    elif not threads._futex_number():
        pytest.skip("no futex here")
    before = threads.get_num_threads()
    threads.set_num_threads(3)
    yield request.param
    threads.stop()
    threads.set_num_threads(before)


def run(address, chunks, *words):
    packed = (ctypes.c_int64 * len(words))(*words)
    threads.run(address, ctypes.addressof(packed), chunks)


def test_each_chunk_runs_once(kernel):
    for chunks in (0, 1, 2, 3, 7, 100, 2000):
        out = np.zeros(2001, np.int64)
        run(kernel("mark"), chunks, out.ctypes.data)
        assert out[:chunks].all()
        assert out.sum() == chunks


def test_many_jobs_in_a_row(kernel, pool):
    out = np.zeros(5, np.int64)
    jobs = 20000 if pool == "native" else 500
    for _ in range(jobs):
        run(kernel("mark"), 5, out.ctypes.data)
    assert out.tolist() == [jobs] * 5


def test_no_two_chunks_have_a_thread_number_at_once(kernel):
    flags, seen = np.zeros(3, np.int64), np.zeros(2, np.int64)
    for _ in range(200):
        run(kernel("claim"), 60, flags.ctypes.data, seen.ctypes.data)
    assert seen[0] == 0
    assert seen[1] <= 2


def test_more_threads_than_cpus(kernel):
    threads.set_num_threads(settings.usable_cpus() + 6)
    out = np.zeros(100, np.int64)
    for _ in range(100):
        run(kernel("mark"), 100, out.ctypes.data)
    assert out.tolist() == [100] * 100


def test_one_thread_is_the_caller(kernel):
    threads.set_num_threads(1)
    before = threading.active_count()
    out = np.zeros(10, np.int64)
    run(kernel("mark"), 10, out.ctypes.data)
    assert out.tolist() == [1] * 10
    assert threading.active_count() == before


def test_the_number_of_threads_can_change_between_jobs(kernel):
    out = np.zeros(20, np.int64)
    for count in (2, 1, 4, 3, 2, 5, 1, 2):
        threads.set_num_threads(count)
        assert threads.get_num_threads() == count
        run(kernel("mark"), 20, out.ctypes.data)
    assert out.tolist() == [8] * 20


def test_threads_start_late_and_stop():
    threads.stop()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("flambeau")]


@pytest.mark.parametrize(
    ("count", "error"), [(0, RuntimeError), (-2, RuntimeError), (2.0, TypeError), ("2", TypeError)]
)
def test_a_senseless_number_of_threads_is_refused(count, error):
    with pytest.raises(error, match="set_num_threads expects"):
        threads.set_num_threads(count)


@pytest.mark.parametrize("multiple", [1, 64])
def test_a_split_covers_everything_once(multiple):
    for count in (0, 1, 2, 63, 64, 65, 1000, 99_999, 10_000_000):
        for cost in (0.001, 0.3, 100.0, 1e7):
            chunks, size = threads.split(count, cost, multiple)
            assert chunks * size >= count
            assert (chunks - 1) * size < max(count, 1)
            assert chunks == 1 or size % multiple == 0
            assert chunks <= 4 * threads.get_num_threads()


def test_only_work_that_is_worth_it_is_split(kernel, pool):
    run(kernel("mark"), 3, np.zeros(3, np.int64).ctypes.data)
    assert threads.split(1_000_000, 0.001) == (1, 1_000_000)
    assert threads.split(1000, 1e6)[0] == 12
    threads.set_num_threads(1)
    assert threads.split(1000, 1e6) == (1, 1000)


def test_sleeping_threads_are_woken_for_a_stream_of_small_jobs(pool):
    """Work for 50 us does not pay for a wake-up, several of them in a row do."""
    threads.stop()
    chunks = [threads.split(1000, 50.0)[0] for _ in range(6)]
    assert chunks[0] == 1
    assert (max(chunks) > 1) == (pool == "native")


def test_python_threads_may_all_call(kernel):
    callers, jobs = 4, 300
    out = np.zeros((callers, 30), np.int64)

    def call(row):
        for _ in range(jobs):
            run(kernel("mark"), 30, row.ctypes.data)

    workers = [threading.Thread(target=call, args=(row,)) for row in out]
    for each in workers:
        each.start()
    for each in workers:
        each.join(60)
        assert not each.is_alive()
    assert (out == jobs).all()


def test_callers_survive_a_change_of_the_pool(kernel):
    out = np.zeros((3, 30), np.int64)
    done = threading.Event()

    def call(row):
        for _ in range(200):
            run(kernel("mark"), 30, row.ctypes.data)

    def change():
        count = 2
        while not done.is_set():
            threads.set_num_threads(count)
            count = 5 - count
            time.sleep(0.001)

    changer = threading.Thread(target=change)
    workers = [threading.Thread(target=call, args=(row,)) for row in out]
    for each in (changer, *workers):
        each.start()
    for each in workers:
        each.join(60)
        assert not each.is_alive()
    done.set()
    changer.join()
    assert (out == 200).all()


def test_a_job_inside_a_job_runs_in_its_thread(kernel, pool):
    if pool == "portable":
        pytest.skip("machine code cannot call the portable pool")
    out = np.zeros((40, 50), np.int64)
    address, _ = threads.native_addresses()
    run(kernel("nest"), 40, out.ctypes.data, address)
    assert (out == 1).all()


def test_python_runs_while_the_pool_works(kernel):
    flag = np.zeros(2, np.int64)

    def set_soon():
        time.sleep(0.02)
        flag[0] = 1

    thread = threading.Thread(target=set_soon)
    thread.start()
    run(kernel("watch"), 2, flag.ctypes.data)
    thread.join()
    assert flag[1] == 2


def test_a_worker_shares_the_work(kernel):
    """Two chunks that wait for each other end only if two threads run them."""
    flag = np.zeros(2, np.int64)
    library = jit.compile_ir(
        "meet",
        """
define void @meet(ptr %w, i64 %i, i64 %thread) {
entry:
  %count = load ptr, ptr %w
  %old = atomicrmw add ptr %count, i64 1 seq_cst
  br label %head
head:
  %v = load atomic i64, ptr %count seq_cst, align 8
  %both = icmp sge i64 %v, 2
  br i1 %both, label %done, label %head
done:
  ret void
}
""",
    )
    for _ in range(3):
        flag[:] = 0
        run(library.address("meet"), 2, flag.ctypes.data)
        time.sleep(0.01)  # long enough for the workers to sleep, so that the next job wakes them
    assert flag[0] == 2


def test_launched_kernels_use_the_pool(kernel):
    call = launch.bind(kernel("mark"), "a:int64", parallel=True)
    out = np.zeros(64, np.int64)
    for _ in range(100):
        call(64, out)
    threads.set_num_threads(2)
    call(64, out)
    assert out.tolist() == [101] * 64


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(kernel):
    out = np.zeros(50, np.int64)
    run(kernel("mark"), 50, out.ctypes.data)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(50):
                run(kernel("mark"), 50, out.ctypes.data)
            status = 0 if out.tolist() == [51] * 50 else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    run(kernel("mark"), 50, out.ctypes.data)
    assert out.tolist() == [2] * 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_works(pool):
    """The child is forked amid jobs, works, and both processes end by themselves."""
    code = f"""
import ctypes, os, threading, warnings
import numpy as np
from flambeau.compiler import jit, threads
warnings.simplefilter("ignore")
if {pool == "portable"}:
    threads._current = threads._PortablePool()
threads.set_num_threads(3)
mark = jit.compile_ir("thread_tests", {IR!r}).address("mark")
def job(out):
    words = (ctypes.c_int64 * 1)(out.ctypes.data)
    threads.run(mark, ctypes.addressof(words), 20)
stop = threading.Event()
def busy():
    out = np.zeros(20, np.int64)
    while not stop.is_set():
        job(out)
other = threading.Thread(target=busy)
other.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        out = np.zeros(20, np.int64)
        for _ in range(20):
            job(out)
        os._exit(0 if out.tolist() == [20] * 20 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
other.join()
print("fine")
"""
    assert process.run(code)[0] == "fine\n"


def test_a_process_ends_with_its_pool_running():
    code = f"""
import atexit, ctypes, time
import numpy as np
from flambeau.compiler import jit, threads
out = np.zeros(20, np.int64)
mark = jit.compile_ir("thread_tests", {IR!r}).address("mark")
words = (ctypes.c_int64 * 1)(out.ctypes.data)
def late():
    threads.run(mark, ctypes.addressof(words), 20)
    print(out.sum())
atexit.register(late)
import flambeau.compiler.threads
threads.set_num_threads(3)
threads.run(mark, ctypes.addressof(words), 20)
atexit.register(late)
"""
    out, err = process.run(code)
    assert out.split() == ["40", "60"]
    assert err == ""


def test_the_exit_handler_closes_the_pool(kernel):
    before = threading.active_count()
    out = np.zeros(9, np.int64)
    run(kernel("mark"), 9, out.ctypes.data)
    current = threads._current
    current.close()
    try:
        run(kernel("mark"), 9, out.ctypes.data)
        assert threading.active_count() == before
    finally:
        current._closed = False
        threads.stop()
    assert out.tolist() == [2] * 9


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_idle_workers_sleep(kernel, pool):
    out = np.zeros(9, np.int64)
    for _ in range(3):
        run(kernel("mark"), 9, out.ctypes.data)
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("flambeau")]
    assert workers
    for worker in workers:
        for _ in range(1000):
            stat = Path(f"/proc/self/task/{worker.native_id}/stat").read_text()
            if stat.rpartition(")")[2].split()[0] == "S":
                break
            time.sleep(0.005)
        else:
            pytest.fail(f"{worker.name} never sleeps")
