"""The thread counts of BLAS libraries while our calls run, and what is left of them afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import flambeau
from flambeau.compiler import blas_threads, threads

SMALL, LARGE = np.empty((3, 64, 64)), np.empty((512, 600))


class Recorder:
    """A library that remembers what it was told."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.told: list[int] = []
        self.library = blas_threads.Library(lambda: self.count, self.set)

    def set(self, count: int) -> None:
        self.count = count
        self.told.append(count)


@pytest.fixture
def four() -> Iterator[None]:
    before = flambeau.get_num_threads()
    flambeau.set_num_threads(4)
    yield
    flambeau.set_num_threads(before)


def with_libraries(monkeypatch: pytest.MonkeyPatch, *counts: int) -> list[Recorder]:
    recorders = [Recorder(count) for count in counts]
    found = tuple(r.library for r in recorders)
    monkeypatch.setattr(blas_threads, "libraries", lambda: found)
    return recorders


@pytest.mark.usefixtures("four")
def test_counts_are_lowered_but_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    many, few, one, unknown = with_libraries(monkeypatch, 8, 2, 1, -1)
    with blas_threads.for_matrices(LARGE):
        assert [r.count for r in (many, few, one, unknown)] == [4, 2, 1, -1]
    with blas_threads.for_matrices(SMALL):
        assert [r.count for r in (many, few, one, unknown)] == [1, 1, 1, -1]
    assert (many.told, few.told, one.told, unknown.told) == ([4, 8, 1, 8], [1, 2], [], [])


def test_a_thin_matrix_and_a_vector_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    (library,) = with_libraries(monkeypatch, 8)
    for a in (np.empty((100_000, 3)), np.empty(10**6), np.empty((512, 511))):
        with blas_threads.for_matrices(a):
            assert library.count == 1
    library.told.clear()
    for a in (np.empty((9, 16, 16)), np.empty((0, 0))):  # too small to be shared at all
        with blas_threads.for_matrices(a):
            assert library.count == 8
    assert not library.told


@pytest.mark.usefixtures("four")
def test_overlapping_contexts_have_the_largest_count(monkeypatch: pytest.MonkeyPatch) -> None:
    (library,) = with_libraries(monkeypatch, 3)
    with blas_threads.for_matrices(SMALL):
        with blas_threads.for_matrices(LARGE):
            assert library.count == 3
            with blas_threads.for_matrices(SMALL):
                assert library.count == 3
        assert library.count == 3
    assert library.count == 3
    with blas_threads.for_matrices(LARGE), blas_threads.for_matrices(SMALL):
        assert library.count == 3


def test_an_error_puts_the_count_back(monkeypatch: pytest.MonkeyPatch) -> None:
    (library,) = with_libraries(monkeypatch, 5)
    with pytest.raises(ZeroDivisionError), blas_threads.for_matrices(SMALL):
        raise ZeroDivisionError
    assert library.count == 5


def test_many_python_threads_leave_the_count_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    (library,) = with_libraries(monkeypatch, 6)
    high: list[int] = []

    def work() -> None:
        for _ in range(200):
            with blas_threads.for_matrices(SMALL):
                high.append(library.count)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(high) == {1}
    assert library.count == 6


def test_the_count_of_linear_algebra_reaches_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    (library,) = with_libraries(monkeypatch, 7)
    a = flambeau.eye(80) * 2
    calls = [
        flambeau.linalg.qr, flambeau.linalg.svd, flambeau.linalg.eigh, flambeau.linalg.eig,
        flambeau.linalg.cholesky, flambeau.linalg.inv, flambeau.linalg.det, flambeau.linalg.slogdet,
        flambeau.linalg.ldl_factor, flambeau.linalg.lu_factor, flambeau.linalg.matrix_exp,
        flambeau.linalg.pinv, flambeau.geqrf, lambda x: flambeau.linalg.solve(x, x),
        lambda x: flambeau.linalg.solve_triangular(x, x, upper=True),
    ]  # fmt: skip
    for call in calls:
        library.told.clear()
        call(a)
        assert set(library.told) == {1, 7}
        assert library.count == 7


def test_libraries_of_numpy_and_scipy_are_found() -> None:
    """Each library found can be read and set; NumPy's wheels always bring one."""
    pytest.importorskip("scipy.linalg")
    found = blas_threads.libraries()
    wheels = "openblas" in str(np.show_config("dicts")["Build Dependencies"]["blas"]["name"])  # type: ignore[call-overload]
    assert found or not wheels
    for library in found:
        before = library.read()
        library.write(1)
        assert library.read() == 1
        library.write(before)
        assert library.read() == before


def test_a_library_without_the_names_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas_threads, "_NAMES", (("no_such_get", "no_such_set"),))
    monkeypatch.setattr(blas_threads, "_libraries", blas_threads._libraries.__wrapped__)
    assert blas_threads.libraries() == ()
    with blas_threads.for_matrices(SMALL):
        pass


def test_importing_flambeau_searches_nothing() -> None:
    import subprocess
    import sys

    code = (
        "import flambeau, sys\n"
        "from flambeau.compiler import blas_threads as b\n"
        "assert not b._libraries.cache_info().currsize\n"
        "flambeau.set_num_threads(1)\n"
        "assert not b._libraries.cache_info().currsize\n"
        "flambeau.linalg.inv(flambeau.eye(20))\n"
        "assert b._libraries.cache_info().currsize == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_a_busy_process_has_the_old_count(monkeypatch: pytest.MonkeyPatch) -> None:
    blas_threads.libraries()  # fork hooks are set
    (library,) = with_libraries(monkeypatch, 6)
    threads.stop()
    with blas_threads.for_matrices(SMALL):
        child = os.fork()
        if not child:
            os._exit(0 if library.count == 6 and not blas_threads._running else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert library.count == 1
