"""What ran, for how long, and how near to what the machine can do.

    >>> import flambeau as torch
    >>> from flambeau.compiler import profile
    >>> a = torch.randn(512, 512)
    >>> with profile() as p:
    ...     b = (a @ a).tanh()
    >>> print(p.table())  # doctest: +SKIP

Kernels are seen, not NumPy calls: small arrays have none. While nobody profiles, a launch pays
nothing for the possibility; while somebody does, it takes a few microseconds more, which are not
in its time.
"""

from __future__ import annotations

import functools
import sys
import time
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from . import jit, launch, machine
from .costs import Cost


class Record(NamedTuple):
    """One launch: seconds from call to end, and what it had to do, as far as it is known."""

    name: str
    shapes: str
    chunks: int
    seconds: float
    flops: float
    bytes: float
    kernel: launch.Binding

    def roof(self) -> float:
        """Return the seconds that this machine needs at least (the roofline model)."""
        peak = machine.peak()
        return max(self.flops / peak.flops, self.bytes / peak.bandwidth)

    def source(self) -> str:
        """Return what the kernel computes, in its author's words, or "" if only the IR says it."""
        return self._library().source()

    def ir(self) -> str:
        """Return the kernel's module as LLVM IR."""
        return self._library().ir()

    def assembly(self) -> str:
        """Return the kernel's module as assembly."""
        return self._library().assembly()

    def _library(self) -> jit.Library:
        library = jit.library_at(self.kernel.address)
        if library is None:
            raise RuntimeError(f"{self.name} was not made by flambeau.compiler.jit")
        return library


class profile:
    """A context in which every kernel that runs, in any thread, is recorded.

    `records` lists the launches in the order of their ends, `seconds` is the block's duration.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.seconds = 0.0
        self._start = 0.0
        self._before: Any = None

    def __enter__(self) -> profile:
        self._before = launch.observe(self._note)
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds += time.perf_counter() - self._start
        launch.observe(self._before)

    def _note(self, run: launch.Launch) -> None:
        self.records.append(describe(run))
        if self._before is not None:
            self._before(run)

    def table(self, limit: int = 30) -> str:
        """Return a table of kernels, those that took longest first, at most `limit` of them.

        Launches of one kernel on arrays of one shape are one row. `roof` is the part of the
        machine's limit that was reached: 100% for a kernel that computes or moves data as fast as
        the machine can, more if the data came from its caches. The first table of a process takes
        0.3 s to measure the machine.
        """
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in self.records:
            groups.setdefault((record.name, record.shapes), []).append(record)
        ranked = sorted(groups.values(), key=lambda group: -sum(r.seconds for r in group))
        peak = machine.peak()
        lines = [_ROW.format("kernel", "calls", "ms", "GFLOP/s", "GB/s", "roof", "chunks, arrays")]
        lines += [_row(group) for group in ranked[:limit]]
        total = sum(record.seconds for record in self.records)
        lines.append(
            f"{len(self.records)} launches, {total * 1e3:.3f} ms of {self.seconds * 1e3:.3f} ms; "
            f"machine: {peak.flops / 1e9:.0f} GFLOP/s (float32), {peak.bandwidth / 1e9:.1f} GB/s"
        )
        return "\n".join(lines) + "\n"


_ROW = "{:24.24} {:>6} {:>10} {:>9} {:>8} {:>6}  {}"


def _row(group: list[Record]) -> str:
    first, seconds = group[0], sum(record.seconds for record in group)
    flops, moved = (sum(r[i] for r in group) for i in (4, 5))
    roof = sum(record.roof() for record in group)
    return _ROW.format(
        first.name,
        len(group),
        f"{seconds * 1e3:.3f}",
        f"{flops / seconds / 1e9:.1f}" if flops else "-",
        f"{moved / seconds / 1e9:.1f}" if moved else "-",
        f"{100 * roof / seconds:.0f}%",
        f"{first.chunks} {first.shapes}",
    )


def describe(run: launch.Launch) -> Record:
    """Return the record of a launch; its arrays are not kept."""
    arrays = [a for a in _flat(run.args) if isinstance(a, np.ndarray)]
    cost = Cost(0.0) if run.kernel.cost is None else run.kernel.cost(*run.args)
    moved = cost.bytes
    if moved is None:
        moved = float(sum(a.nbytes for a in {id(a): a for a in arrays}.values()))
    shapes = " ".join(f"{_short(a.dtype)}[{','.join(map(str, a.shape))}]" for a in arrays[:6])
    if len(arrays) > 6:
        shapes += f" and {len(arrays) - 6} more"
    return Record(run.kernel.name, shapes, run.chunks, run.seconds, cost.flops, moved, run.kernel)


def _flat(args: tuple[Any, ...]) -> list[Any]:
    return [item for a in args for item in (a if isinstance(a, (list, tuple)) else [a])]


@functools.cache
def _short(dtype: np.dtype[Any]) -> str:
    return str(dtype).replace("float", "f").replace("int", "i")


def print_launch(run: launch.Launch) -> None:
    """Write a line about a launch to the standard error stream: FLAMBEAU_DEBUG=1."""
    record = describe(run)
    speed = f"{record.bytes / record.seconds / 1e9:.1f} GB/s"
    if record.flops:
        speed = f"{record.flops / record.seconds / 1e9:.1f} GFLOP/s {speed}"
    sys.stderr.write(f"run {record.name} {record.seconds * 1e6:.1f} us {speed} {record.shapes}\n")
