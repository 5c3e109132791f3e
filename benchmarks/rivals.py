"""The libraries at work: each in a process of its own that sleeps while the other is measured."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import statistics
import time
import timeit
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .cases import Case

WARM_UP = 0.03  # seconds of work before each round: caches, clocks and threads wake up
BATCH = 0.002  # seconds that calls timed together take at least
PATIENCE = 120.0  # seconds until a process that does not answer is given up


def arrays(value: Any) -> list[np.ndarray]:
    """Return copies of the tensors and numbers in a result, in order."""
    if isinstance(value, list | tuple):
        return [array for item in value for array in arrays(item)]
    return [np.array(value.detach().numpy() if hasattr(value, "detach") else value)]


def agree(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    """Tell whether two results have the same types, shapes and, up to rounding, values."""
    return len(ours) == len(theirs) and all(
        (a.dtype, a.shape) == (b.dtype, b.shape)
        and np.allclose(a, b, rtol=0, atol=1e-4 * _scale(b))
        for a, b in zip(ours, theirs, strict=True)
    )


def _scale(array: np.ndarray) -> float:
    return np.abs(array).max(initial=0.0, where=np.isfinite(array))


class Workbench:
    """One library with one case prepared."""

    def __init__(self, library: str) -> None:
        self.torch = importlib.import_module(library)

    def prepare(self, case: Case) -> tuple[float, list[np.ndarray]]:
        """Set a case up and run it once; return the seconds of that run and its result."""
        self.case = case
        self.names = {"torch": self.torch, "nn": self.torch.nn, "F": self.torch.nn.functional}
        self.torch.manual_seed(0)
        exec(case.setup, self.names)
        began = time.perf_counter()
        result = eval(case.timed, self.names)
        return time.perf_counter() - began, arrays(result if case.unit == "s" else [])

    def measure(self, seconds: float) -> tuple[float, float]:
        """Return the figure of a round, and the CPU seconds that it took to measure."""
        before = os.times()
        if self.case.unit == "s":
            figure = self._time(seconds) / self.case.count
        else:
            figure = eval(self.case.timed, self.names)
        return figure, sum(os.times()[:4]) - sum(before[:4])

    def _time(self, seconds: float) -> float:
        """Return the median seconds of a call, over batches of calls, after a warm-up."""
        timer, calls, times = timeit.Timer(self.case.timed, globals=self.names), 1, []
        end = time.perf_counter() + WARM_UP
        while (took := timer.timeit(calls)) < BATCH or time.perf_counter() < end:
            calls *= 2 if took < BATCH else 1
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            times.append(timer.timeit(calls) / calls)
        return statistics.median(times)


def serve(library: str, pipe: Connection) -> None:
    """Answer requests, each the name of a method of the workbench and its argument."""
    bench = Workbench(library)
    while True:
        name, argument = pipe.recv()
        try:
            pipe.send((getattr(bench, name)(argument), None))
        except Exception as error:
            pipe.send((None, f"{library}: {type(error).__name__}: {error}"))


class Rival:
    """A library in a process of its own, which is replaced when it dies."""

    def __init__(self, library: str) -> None:
        self.library = library
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=serve, args=(self.library, there), daemon=True)
        self._process.start()
        there.close()

    def ask(self, name: str, argument: Any) -> Any:
        """Return the workbench's answer; RuntimeError says why there is none."""
        try:
            self._pipe.send((name, argument))
            if not self._pipe.poll(PATIENCE):
                raise TimeoutError(f"no answer in {PATIENCE:g} s")
            answer, trouble = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.stop()
            self._start()
            answer, trouble = None, f"{self.library}: {error or 'the process died'}"
        if trouble:
            raise RuntimeError(trouble)
        return answer

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()
