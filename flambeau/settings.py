"""Every environment variable that flambeau reads, read once, here and nowhere else.

| variable                 | default     | meaning                                              |
|--------------------------|-------------|------------------------------------------------------|
| FLAMBEAU_JIT             | 1           | 0: nothing is compiled, llvmlite is never imported   |
| FLAMBEAU_CACHE           | 1           | 0: object code is neither read from nor kept on disk |
| FLAMBEAU_CACHE_DIR       | the user's  | where object code is kept                            |
| FLAMBEAU_CACHE_LIMIT     | 512         | size in MB above which old object code is dropped    |
| FLAMBEAU_THREADS         | usable CPUs | threads a kernel may use (else OMP_NUM_THREADS)      |
| FLAMBEAU_CPU             | the host's  | LLVM CPU name to compile for, e.g. haswell           |
| FLAMBEAU_CPU_FEATURES    | the host's  | LLVM features to add or drop, e.g. -avx512f          |
| FLAMBEAU_DEBUG           | 0           | 1 launches, 2 compiling, 3 source, 4 IR, 5 assembly  |
| FLAMBEAU_ALLOCATOR       | 1           | 0: NumPy keeps its own allocator                     |
| FLAMBEAU_ALLOCATOR_LIMIT | 0           | MB of freed memory to keep; 0: a quarter of the RAM  |
| FLAMBEAU_FASTCALL        | 1           | 0: kernels are launched through ctypes               |

The values are plain module attributes, so a test or a program may also assign them.
"""

from __future__ import annotations

import os
import sys


def _text(name: str) -> str:
    return os.environ.get("FLAMBEAU_" + name, "").strip()


def _integer(name: str, default: int) -> int:
    text = _text(name)
    try:
        return int(text) if text else default
    except ValueError:
        raise ValueError(f"FLAMBEAU_{name}: expected an integer, got {text!r}") from None


def _switch(name: str) -> bool:
    """Whether a flag that is on by default is left on."""
    return _text(name).lower() not in ("0", "off", "false", "no")


jit: bool = _switch("JIT")
cache: bool = _switch("CACHE")
cache_limit: int = _integer("CACHE_LIMIT", 512) << 20
cpu: str = _text("CPU")
cpu_features: str = _text("CPU_FEATURES")
debug: int = _integer("DEBUG", 0)
allocator: bool = _switch("ALLOCATOR")
allocator_limit: int = _integer("ALLOCATOR_LIMIT", 0) << 20
fastcall: bool = _switch("FASTCALL")


def cache_dir() -> str:
    """Return the folder for object code: FLAMBEAU_CACHE_DIR, else one in the user's cache."""
    named = _text("CACHE_DIR")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        root = os.path.join(home, "Library", "Caches")
    else:
        root = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(root, "flambeau")


def usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def threads() -> int:
    """Return how many threads a kernel may use unless the program says otherwise."""
    chosen = _integer("THREADS", 0)
    if chosen <= 0:
        # The usual convention of numerical libraries; a list is for nested OpenMP regions.
        first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        chosen = int(first) if first.isdigit() else 0
    return chosen if chosen > 0 else usable_cpus()
