"""A fork-join pool of Python threads that live inside one compiled loop.

A kernel's chunks start within a microsecond. The protocol, on Linux: a job is (function, words, n);
its chunks are claimed by `fetch_add` on a ticket that holds n above and the next index below, so
that a claim is always one of the current job, whoever comes late. The caller publishes the ticket,
bumps the epoch, wakes sleepers if there are any, and works like the rest: it never waits for a
thread to wake up. Workers look for a new epoch for a while and then sleep on it with a futex; the
caller waits for the count of chunks done in the same manner. Whoever finds the pool busy (another
Python thread, a kernel inside a kernel) runs all chunks alone, as thread 0: scratch memory must
therefore belong to a call, never to a thread number.

Elsewhere an executor of the standard library runs chunks through ctypes.

`split` is the one rule for how many chunks a loop is worth.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import itertools
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import settings
from . import jit, layout, target

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# The pool's state; each word that threads fight over has cache lines of its own.
_OFFSETS = {
    "ticket": 0, "epoch": 128, "done": 256, "sleepers": 384, "waiting": 448, "function": 512,
    "words": 520, "busy": 576, "stop": 640, "ready": 704, "members": 708, "spin": 712, "rest": 716,
}  # fmt: skip
_STATE_BYTES = 768

# Looks before a thread sleeps; a look is an x86 pause, 20 to 60 ns. A worker stays awake from one
# kernel of a training step to the next; a caller soon leaves its core to a late worker. Four times
# as many looks gain nothing, and lose where other programs want the cores.
_WORKER_LOOKS, _CALLER_LOOKS = 10000, 2000

# Nanoseconds of one thread's work. From `_FORK` on two threads that are awake beat one; from
# `_WAKE` on they do even if the second has to be woken, a system call of 5 us on a bare machine and
# of 55 us on a virtual one. A chunk is at least `_GRAIN`.
_FORK, _WAKE, _GRAIN = 5_000, 120_000, 2_500
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98}

_current: _NativePool | _PortablePool | None = None
_creation = threading.Lock()
_Chunk = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


def get_num_threads() -> int:
    """Return how many threads, the caller included, a parallel kernel may use."""
    return _pool().count


def set_num_threads(count: int) -> None:
    """Let parallel kernels use `count` threads from now on; RuntimeError if it is below 1."""
    if not isinstance(count, int):
        raise TypeError(f"set_num_threads expects an int, but got {type(count).__name__}")
    if count < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, but got {count}")
    pool = _pool()
    if count != pool.count:
        pool.stop()
        pool.count = count


def run(function: int, words: int, chunks: int) -> None:
    """Call the machine code `void (i64* words, i64 index, i64 thread)` for each index < chunks.

    Returns when all calls have returned. The GIL is released. A busy pool means that the calling
    thread runs all chunks itself.
    """
    if chunks > 0:
        _pool().run(function, words, chunks)


def split(count: int, cost: float, multiple: int = 1) -> tuple[int, int]:
    """Return how to share `count` iterations among threads: (chunks, iterations of a chunk).

    `cost` is what one iteration takes one thread, in nanoseconds; a chunk's size is a multiple of
    `multiple`. The last chunk may be shorter. Work too small to gain from threads is one chunk.
    The answer may differ from call to call, with the temperature of the pool, so a result must
    not depend on it.
    """
    pool = _current or _pool()
    work = count * cost
    if pool.count == 1 or work < _FORK or (work < _WAKE and pool.asleep(work)):
        return 1, count
    chunks = min(4 * pool.count, int(work / _GRAIN), count)
    size = -(-count // chunks)
    size = -(-size // multiple) * multiple
    return -(-count // size), size


def alone(cost: float) -> float:
    """Return from how many iterations on `split` may share them; see there for `cost`."""
    return _FORK / cost


def native_addresses() -> tuple[int, int]:
    """Return the addresses of `pool_run(function, words, chunks)` and of its readiness flag.

    Machine code without the GIL may call the first whenever the flag (i32) is not 0; if it is 0,
    `run` starts the threads. Both are 0 where there is no compiled pool.
    """
    return _pool().addresses()


def stop() -> None:
    """End the pool's threads; the next parallel kernel starts new ones."""
    _pool().stop()


def _pool() -> _NativePool | _PortablePool:
    global _current
    if _current is None:
        with _creation:
            if _current is None:
                native = _futex_number() and jit.available()
                _current = _NativePool() if native else _PortablePool()
    return _current


def _futex_number() -> int:
    """Return the system call number of futex, or 0 on a system that has none."""
    machine = os.uname().machine if sys.platform == "linux" else ""
    return _FUTEX.get(machine, 0) if sys.maxsize > 1 << 32 else 0


class _NativePool:
    """The compiled pool."""

    def __init__(self) -> None:
        _watch_forks()
        self.count = settings.threads()
        self._threads: list[threading.Thread] = []
        self._lock = threading.RLock()
        self._closed = False
        self._state: int = 0
        self._sleepers = ctypes.c_int32(0)
        self._missed = 0.0
        self._worker: Callable[[int], None]
        self._run: Callable[[int, int, int], None]

    def addresses(self) -> tuple[int, int]:
        self._load()
        return _library().address("pool_run"), self._state + _OFFSETS["ready"]

    def run(self, function: int, words: int, chunks: int) -> None:
        self._load()
        if not self._read("ready"):
            self._start()
        self._run(function, words, chunks)

    def asleep(self, work: float) -> bool:
        """Tell whether `work` nanoseconds are better done alone than by waking the threads for it.

        What is done alone adds up, and once the sum would have paid for a wake-up the threads are
        woken: a single small kernel never pays, a stream of them pays once.
        """
        if self._threads and not self._sleepers.value:
            return False
        self._missed += work
        if self._missed < _WAKE:
            return True
        self._missed = 0.0
        return False

    def stop(self) -> None:
        """Wait for a running job to end, then for the threads."""
        with self._lock:
            if not self._state:
                return
            self._write("ready", 0)
            if self._threads:
                self._stop_workers()
                for thread in self._threads:
                    thread.join()
                self._threads.clear()
            self._write("members", 0)
            self._write("stop", 0)

    def close(self) -> None:
        """Stop for good: what the interpreter still runs while it dies has one thread."""
        self.stop()
        self._closed = True

    def forget(self) -> None:
        """In the child of a fork: no thread has survived, and no lock is held."""
        self._lock = threading.RLock()
        self._threads = []
        if self._state:
            ctypes.memset(self._state, 0, _STATE_BYTES)

    def _load(self) -> None:
        if self._state:
            return
        with self._lock:
            library = _library()
            self._worker = ctypes.CFUNCTYPE(None, ctypes.c_int64)(library.address("pool_worker"))
            self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(
                library.address("pool_run")
            )
            self._stop_workers = ctypes.CFUNCTYPE(None)(library.address("pool_stop"))
            state = ctypes.CFUNCTYPE(ctypes.c_void_p)(library.address("pool_state"))()
            self._sleepers = ctypes.c_int32.from_address(state + _OFFSETS["sleepers"])
            self._state = state

    def _start(self) -> None:
        with self._lock:
            if self._read("ready"):
                return
            # More threads than CPUs only take time from each other by looking.
            enough = self.count <= settings.usable_cpus()
            self._write("spin", _WORKER_LOOKS if enough else 0)
            self._write("rest", _CALLER_LOOKS if enough else 0)
            for number in range(1, 1 if self._closed else self.count):
                thread = threading.Thread(
                    target=self._worker, args=(number,), name=f"flambeau-{number}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    break  # the system or a dying interpreter has no more threads to give
                self._threads.append(thread)
            self._write("members", len(self._threads))
            self._write("ready", 1)

    def _read(self, name: str) -> int:
        return ctypes.c_int32.from_address(self._state + _OFFSETS[name]).value

    def _write(self, name: str, value: int) -> None:
        ctypes.c_int32.from_address(self._state + _OFFSETS[name]).value = value


class _PortablePool:
    """The same service from concurrent.futures: 20 to 50 us a job."""

    def __init__(self) -> None:
        # Imported before our fork hooks are set: its own hook then takes its lock after ours have
        # waited for the jobs, which need that lock to end.
        from concurrent.futures import thread

        _watch_forks()
        self._make_executor = thread.ThreadPoolExecutor
        self.count = settings.threads()
        self._busy = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False

    def addresses(self) -> tuple[int, int]:
        return 0, 0

    def run(self, function: int, words: int, chunks: int) -> None:
        call = _Chunk(function)
        helpers = 0 if self._closed else min(self.count, chunks) - 1
        if helpers < 1 or not self._busy.acquire(blocking=False):
            for index in range(chunks):
                call(words, index, 0)
            return
        try:
            self._share(call, words, chunks, helpers)
        finally:
            self._busy.release()

    def _share(
        self, call: Callable[[int, int, int], None], words: int, chunks: int, helpers: int
    ) -> None:
        if self._executor is None:
            self._executor = self._make_executor(self.count - 1, "flambeau")
        indices = itertools.count()

        def work(thread: int) -> None:
            while (index := next(indices)) < chunks:
                call(words, index, thread)

        futures = [self._executor.submit(work, thread + 1) for thread in range(helpers)]
        work(0)
        for future in futures:
            future.result()

    def asleep(self, work: float) -> bool:
        """Tell whether `work` nanoseconds are too few for a job of this pool: they always are."""
        return True

    def stop(self) -> None:
        with self._busy:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None

    def close(self) -> None:
        self.stop()
        self._closed = True

    def forget(self) -> None:
        self._busy = threading.Lock()
        self._executor = None


def _at_exit() -> None:
    if _current is not None:
        _current.close()


def _before_fork() -> None:
    if _current is not None:
        _current.stop()


def _after_fork_in_child() -> None:
    if _current is not None:
        _current.forget()


atexit.register(_at_exit)


@functools.cache
def _watch_forks() -> None:
    """Stop the pool before a fork and forget it in the child, from the first pool on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


# The compiled side -------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _library() -> jit.Library:
    architecture = target.host().architecture
    return jit.load_or_build(
        "pool", architecture, lambda: _render_pool(_futex_number(), architecture)
    )


def _render_pool(futex: int, architecture: str) -> str:
    """Return the IR of pool_run, pool_worker, pool_stop and pool_state."""
    declaration, pause = {
        "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
        "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
    }.get(architecture, ("", 'call void asm sideeffect "", ""()'))
    state = _render_state(declaration, pause, futex)
    return layout.place_names(state + _TAKE + _WORKER + _RUN + _STOP_ALL, "state", _OFFSETS)


def _render_state(declaration: str, pause: str, futex: int) -> str:
    return f"""
@state = internal global [{_STATE_BYTES} x i8] zeroinitializer, align 128
{declaration}
declare i64 @syscall(i64, ...)

define ptr @pool_state() {{
  ret ptr @state
}}

define internal void @pause() alwaysinline {{
  {pause}
  ret void
}}

; Sleep unless the word has already changed from `seen`.
define internal void @sleep_on(ptr %word, i32 %seen) {{
  %w = ptrtoint ptr %word to i64
  %s = zext i32 %seen to i64
  %r = call i64 (i64, ...) @syscall(i64 {futex}, i64 %w, i64 128, i64 %s, i64 0, i64 0, i64 0)
  ret void
}}

define internal void @wake(ptr %word, i64 %count) {{
  %w = ptrtoint ptr %word to i64
  %r = call i64 (i64, ...) @syscall(i64 {futex}, i64 %w, i64 129, i64 %count, i64 0, i64 0, i64 0)
  ret void
}}
"""


# Claim and run chunks until none is left. Words and function are stable while a claim is open,
# because the job cannot end before the claimed chunk is counted as done.
_TAKE = """
define internal void @take(i64 %thread) {
entry:
  br label %claim
claim:
  %t = atomicrmw add ptr @ticket, i64 1 seq_cst
  %index = and i64 %t, 4294967295
  %n = lshr i64 %t, 32
  %open = icmp ult i64 %index, %n
  br i1 %open, label %chunk, label %out
chunk:
  %f = load ptr, ptr @function
  %w = load ptr, ptr @words
  call void %f(ptr %w, i64 %index, i64 %thread)
  %before = atomicrmw add ptr @done, i32 1 seq_cst
  %after = add i32 %before, 1
  %n32 = trunc i64 %n to i32
  %last = icmp eq i32 %after, %n32
  br i1 %last, label %finished, label %claim
finished:
  %asleep = load atomic i32, ptr @waiting seq_cst, align 4
  %call = icmp ne i32 %asleep, 0
  br i1 %call, label %rouse, label %claim
rouse:
  call void @wake(ptr @done, i64 1)
  br label %claim
out:
  ret void
}
"""


_WORKER = """
define void @pool_worker(i64 %thread) {
entry:
  %first = load atomic i32, ptr @epoch seq_cst, align 4
  br label %found
await:
  %limit = load i32, ptr @spin
  br label %look
look:
  %k = phi i32 [0, %await], [%k1, %again], [0, %awake]
  %e = load atomic i32, ptr @epoch seq_cst, align 4
  %new = icmp ne i32 %e, %seen
  br i1 %new, label %found, label %idle
idle:
  %tired = icmp sge i32 %k, %limit
  br i1 %tired, label %bed, label %again
again:
  call void @pause()
  %k1 = add i32 %k, 1
  br label %look
bed:
  %s0 = atomicrmw add ptr @sleepers, i32 1 seq_cst
  call void @sleep_on(ptr @epoch, i32 %seen)
  %s1 = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  br label %awake
awake:
  br label %look
found:
  %seen = phi i32 [%first, %entry], [%e, %look]
  %end = load atomic i32, ptr @stop seq_cst, align 4
  %over = icmp ne i32 %end, 0
  br i1 %over, label %leave, label %help
help:
  call void @take(i64 %thread)
  br label %await
leave:
  ret void
}
"""


_RUN = """
define void @pool_run(ptr %f, ptr %w, i64 %n) {
entry:
  %members = load atomic i32, ptr @members seq_cst, align 4
  %alone = icmp eq i32 %members, 0
  %single = icmp slt i64 %n, 2
  %huge = icmp sgt i64 %n, 2147483647
  %odd = or i1 %single, %huge
  %skip = or i1 %odd, %alone
  br i1 %skip, label %inline, label %try
try:
  %got = cmpxchg ptr @busy, i32 0, i32 1 seq_cst seq_cst
  %mine = extractvalue {i32, i1} %got, 1
  br i1 %mine, label %publish, label %inline
publish:
  store ptr %f, ptr @function
  store ptr %w, ptr @words
  store atomic i32 0, ptr @done seq_cst, align 4
  %ticket = shl i64 %n, 32
  %old = atomicrmw xchg ptr @ticket, i64 %ticket seq_cst
  %bump = atomicrmw add ptr @epoch, i32 1 seq_cst
  %sleepers = load atomic i32, ptr @sleepers seq_cst, align 4
  %some = icmp ne i32 %sleepers, 0
  br i1 %some, label %rouse, label %work
rouse:
  %others = sub i64 %n, 1
  call void @wake(ptr @epoch, i64 %others)
  br label %work
work:
  call void @take(i64 0)
  %n32 = trunc i64 %n to i32
  %limit = load i32, ptr @rest
  br label %look
look:
  %k = phi i32 [0, %work], [%k1, %again]
  %d = load atomic i32, ptr @done seq_cst, align 4
  %all = icmp eq i32 %d, %n32
  br i1 %all, label %finish, label %idle
idle:
  %tired = icmp sge i32 %k, %limit
  br i1 %tired, label %bed, label %again
again:
  call void @pause()
  %k1 = add i32 %k, 1
  br label %look
bed:
  store atomic i32 1, ptr @waiting seq_cst, align 4
  br label %doze
doze:
  %d2 = load atomic i32, ptr @done seq_cst, align 4
  %all2 = icmp eq i32 %d2, %n32
  br i1 %all2, label %rise, label %nap
nap:
  call void @sleep_on(ptr @done, i32 %d2)
  br label %doze
rise:
  store atomic i32 0, ptr @waiting seq_cst, align 4
  br label %finish
finish:
  store atomic i32 0, ptr @busy seq_cst, align 4
  ret void
inline:
  br label %head
head:
  %i = phi i64 [0, %inline], [%i1, %body]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %out
body:
  call void %f(ptr %w, i64 %i, i64 0)
  %i1 = add i64 %i, 1
  br label %head
out:
  ret void
}
"""


# Waits until no job runs, so that no caller waits for threads that have left.
_STOP_ALL = """
define void @pool_stop() {
entry:
  br label %try
try:
  %got = cmpxchg ptr @busy, i32 0, i32 1 seq_cst seq_cst
  %mine = extractvalue {i32, i1} %got, 1
  br i1 %mine, label %go, label %again
again:
  call void @pause()
  br label %try
go:
  store atomic i32 0, ptr @members seq_cst, align 4
  store atomic i32 1, ptr @stop seq_cst, align 4
  %bump = atomicrmw add ptr @epoch, i32 1 seq_cst
  call void @wake(ptr @epoch, i64 2147483647)
  store atomic i32 0, ptr @busy seq_cst, align 4
  ret void
}
"""
