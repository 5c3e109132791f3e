"""What `torch.cpu` has, and about the CPU's memory what `torch.cuda` has about a GPU's.

Arrays come from a caching allocator (`flambeau.compiler.allocator`): what is freed stays warm for
the next array of its size. It is installed by the first large array or the first function here
that sets something; before that, and where it cannot be, every count is 0.

>>> import flambeau as torch
>>> stats = torch.cpu.memory_stats()
>>> stats["reserved_bytes.all.current"] >= stats["allocated_bytes.all.current"]
True
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from ..compiler import allocator
from ..devices import device as Device
from ..errors import OutOfMemoryError

__all__ = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_device",
    "current_stream",
    "device_count",
    "empty_cache",
    "get_device_module",
    "get_per_process_memory_fraction",
    "is_available",
    "is_initialized",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_peak_memory_stats",
    "set_device",
    "set_memory_limit",
    "set_per_process_memory_fraction",
    "stream",
    "synchronize",
]

_SMALL = 1 << 20  # bytes of a block above which PyTorch calls its pool the large one


# The device --------------------------------------------------------------------------------------


class Stream:
    """A queue of work; the CPU has one, and work in it is done when its call returns."""

    def __init__(self, priority: int = -1) -> None:
        self.priority = priority

    def wait_stream(self, stream: Stream) -> None:
        """Wait for another stream, which is already done."""

    def wait_event(self, event: Event) -> None:
        """Wait for an event, which has already happened."""

    def record_event(self) -> Event:
        """Return an event for the work so far."""
        return Event()


class Event:
    """A moment in a stream; on the CPU it has always passed."""

    def query(self) -> bool:
        """Tell whether the work before the event is done: it is."""
        return True

    def record(self, stream: Stream | None = None) -> None:
        """Place the event after the work so far."""

    def synchronize(self) -> None:
        """Wait for the event."""

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream wait for the event."""


_STREAM = Stream()


def is_available() -> bool:
    """Tell whether there is a CPU."""
    return True


def is_initialized() -> bool:
    """Tell whether the CPU can be used."""
    return True


def device_count() -> int:
    """Return how many CPU devices there are: all cores are one."""
    return 1


def current_device() -> str:
    """Return the device in use, "cpu"."""
    return "cpu"


def set_device(device: Any) -> None:
    """Choose the device; there is but one."""


def synchronize(device: Any = None) -> None:
    """Wait for the work on the device, which is done when its call returns."""


def current_stream(device: Any = None) -> Stream:
    """Return the stream in use."""
    return _STREAM


@contextlib.contextmanager
def stream(stream: Stream) -> Iterator[None]:
    """Run a block in a stream; on the CPU it makes no difference."""
    yield


# Memory ------------------------------------------------------------------------------------------


def memory_allocated(device: Any = None) -> int:
    """Return how many bytes arrays hold now."""
    return allocator.memory_stats()["current"]


def max_memory_allocated(device: Any = None) -> int:
    """Return the most bytes that arrays have held since `reset_peak_memory_stats`."""
    return allocator.memory_stats()["peak"]


def memory_reserved(device: Any = None) -> int:
    """Return how many bytes the allocator has from the system, in arrays and cached."""
    return allocator.memory_stats()["reserved"]


def max_memory_reserved(device: Any = None) -> int:
    """Return the most bytes had from the system since `reset_peak_memory_stats`."""
    return allocator.memory_stats()["reserved_peak"]


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let the peaks start again from what is held now."""
    allocator.reset_peak_memory_stats()


def empty_cache() -> None:
    """Return cached memory to the system."""
    allocator.empty_cache()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Return the bytes that may still be reserved, and all that this process may use.

    The second is the memory limit if one is set, else the machine's (or container's) memory; of
    what other processes take nothing is known.
    """
    books = allocator.memory_stats()
    total = books["budget"] or allocator.physical_memory()
    return max(total - books["reserved"], 0), total


def set_memory_limit(nbytes: int | None) -> None:
    """Let arrays reserve at most `nbytes` of memory; None: as much as there is.

    Beyond it an op raises `OutOfMemoryError`, after cached memory has been given back in vain.
    Threads whose arrays have all been small, and memory from elsewhere, are not counted. Raises
    ValueError for a negative number, RuntimeError where the allocator is switched off.
    """
    budget = 0 if nbytes is None else nbytes or 1  # 0 is the allocator's word for no limit
    if not allocator.set_budget(budget):
        raise RuntimeError("memory cannot be limited: flambeau's allocator is off or not available")


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Let arrays reserve at most this part of the memory, from 0 to 1; see `set_memory_limit`.

    Raises TypeError if it is no float and ValueError if it is out of range.
    """
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    set_memory_limit(int(fraction * allocator.physical_memory()))


def get_per_process_memory_fraction(device: Any = None) -> float:
    """Return the part of the memory that arrays may reserve, 1.0 if it is not limited."""
    budget = allocator.memory_stats()["budget"]
    return budget / allocator.physical_memory() if budget else 1.0


def memory_stats(device: Any = None) -> dict[str, int]:
    """Return the allocator's counts, under the names of `torch.cuda.memory_stats`.

    `allocated_bytes`, `reserved_bytes` and `allocation` have `.all.` `current`, `peak`, `allocated`
    (ever) and `freed`. `inactive_split_bytes` is what blocks are larger than the arrays in them;
    `cached_bytes` what is free. `block.small_pool.current` counts blocks in arrays of less than 1
    MiB, `block.large_pool.current` the others, and `block.N.active` and `block.N.cached` those of N
    bytes.
    """
    books = allocator.memory_stats()
    census = allocator.census()
    live, reserved = books["current"], books["reserved"]
    stats = {
        "allocated_bytes.all.current": live,
        "allocated_bytes.all.peak": books["peak"],
        "allocated_bytes.all.allocated": books["allocated"],
        "allocated_bytes.all.freed": books["allocated"] - live,
        "reserved_bytes.all.current": reserved,
        "reserved_bytes.all.peak": books["reserved_peak"],
        "reserved_bytes.all.allocated": books["obtained"],
        "reserved_bytes.all.freed": books["obtained"] - reserved,
        "allocation.all.current": books["allocations"] - books["frees"],
        "allocation.all.allocated": books["allocations"],
        "allocation.all.freed": books["frees"],
        "allocation.all.reused": books["reused"],
        "cached_bytes.all.current": books["cached"],
        "inactive_split_bytes.all.current": max(reserved - books["cached"] - live, 0),
        "num_alloc_retries": books["retries"],
        "num_ooms": books["refusals"],
        "block.small_pool.current": sum(n for size, n, _ in census if size < _SMALL),
        "block.large_pool.current": sum(n for size, n, _ in census if size >= _SMALL),
    }
    for size, active, cached in census:
        stats[f"block.{size}.active"], stats[f"block.{size}.cached"] = active, cached
    return stats


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """Return a table of what memory is used for; without its size classes if `abbreviated`."""
    stats, show = memory_stats(), allocator.format_bytes
    lines = [f"{'memory':18}{'current':>12}{'peak':>12}{'ever':>12}{'freed':>12}"]
    for title, name in (("in arrays", "allocated_bytes"), ("from the system", "reserved_bytes")):
        words = ("current", "peak", "allocated", "freed")
        figures = [show(stats[f"{name}.all.{word}"]) for word in words]
        lines.append(f"{title:18}" + "".join(f"{figure:>12}" for figure in figures))
    lines += [
        f"{'cached':18}{show(stats['cached_bytes.all.current']):>12}",
        f"{'lost to rounding':18}{show(stats['inactive_split_bytes.all.current']):>12}",
        f"{'arrays':18}{stats['allocation.all.current']:>12}{'':12}"
        f"{stats['allocation.all.allocated']:>12}{stats['allocation.all.freed']:>12}",
        f"{'out of memory':18}{stats['num_ooms']:>12}",
    ]
    if not abbreviated:
        lines += ["", f"{'blocks of':18}{'in arrays':>12}{'cached':>12}{'bytes':>12}"]
        for size, active, cached in allocator.census():
            total = show(size * (active + cached))
            lines.append(f"{show(size):18}{active:>12}{cached:>12}{total:>12}")
    return "\n".join(lines) + "\n"


def __getattr__(name: str) -> Any:
    if name != "amp":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(".amp", __name__)


def get_device_module(device: Any = None) -> Any:
    """The module of a kind of device, `cpu` or `cuda`; RuntimeError where there is none."""
    kind = Device("cpu" if device is None else device).type
    if kind not in ("cpu", "cuda"):
        raise RuntimeError(f"Device '{kind}' does not have a corresponding module registered.")
    return importlib.import_module(f"..{kind}", __name__)
