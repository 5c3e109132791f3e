"""From loops over strided arrays to machine code, and the means to run it.

Read in the order of the work: `expressions` (what a loop computes), `vectors` and `microkernel`
(how a machine computes it), `gemm` and `packing` (contractions), `jit` (IR to object code, kept on
disk), `launch` (machine code as a Python callable), `threads` (its chunks on all cores),
`allocator` (the memory under the arrays), `target` (the machine), `profiler` (what ran, and how
near to the limits that `machine` measures).

llvmlite is imported here and nowhere else, by the first kernel and not before; nothing in here
imports from a higher floor. With FLAMBEAU_JIT=0 every module still imports and none compiles.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "profile":  # imported when it is first used, like all that most programs never do
        from .profiler import profile

        return profile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
