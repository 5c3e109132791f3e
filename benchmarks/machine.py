"""What a run was measured on, and how much that machine works."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flambeau
from flambeau.compiler import target


def describe() -> dict[str, Any]:
    """Return the CPU's name, LLVM's name and features for it, its cores, and the system."""
    host, name = target.host(), platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        name = next(named, name)
    features = [item[1:] for item in host.features.split(",") if item.startswith("+")]
    system = f"{platform.system()} {platform.release()}"
    return {
        "cpu": name,
        "llvm_cpu": host.cpu,
        "features": " ".join(sorted(features)),
        "cores": host.cores,
        "system": system,
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that computes."""
    others = {name: version(name) for name in ("torch", "numpy", "llvmlite")}
    return {"flambeau": flambeau.__version__, **others, "python": platform.python_version()}


def busy_seconds() -> float:
    """Return the CPU seconds worked since the start of the machine, those stolen from it included.

    NaN where the system does not tell; Linux does.
    """
    try:
        ticks = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]
    except OSError:
        return math.nan
    user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, ticks)
    busy = user + nice + system + interrupts + soft + stolen
    return busy / os.sysconf("SC_CLK_TCK") if busy else math.nan
