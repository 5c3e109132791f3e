"""The machine that kernels are compiled for."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from typing import Any

from .. import settings


@dataclass(frozen=True)
class Target:
    """What a code generator may know of a machine: sizes are in bytes, `features` is LLVM's."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    l1: int
    l2: int
    l3: int
    cores: int

    def lanes(self, itemsize: int) -> int:
        """Return how many elements of `itemsize` bytes one vector register holds."""
        return self.vector_bytes // itemsize

    def has(self, feature: str) -> bool:
        """Tell whether LLVM's `feature` (such as "avx512bf16") is listed as present.

        Features that a CPU asked for by name implies are not listed.
        """
        if feature.startswith("avx512") and self.vector_bytes < 64:
            return False
        mentions = [item[0] for item in self.features.split(",") if item[1:] == feature]
        return mentions[-1:] == ["+"]

    @property
    def architecture(self) -> str:
        """The first part of the triple: x86_64, aarch64, riscv64..."""
        return self.triple.split("-", 1)[0]


@functools.lru_cache(maxsize=1)
def host() -> Target:
    """Return the machine this process runs on, as FLAMBEAU_CPU and FLAMBEAU_CPU_FEATURES alter it.

    Imports llvmlite unless FLAMBEAU_JIT is 0.
    """
    triple, cpu, features = _llvm_host() if settings.jit else (_plain_triple(), "generic", "")
    width = _listed_vector_bytes(triple, features)
    if settings.jit and (settings.cpu or settings.cpu_features):
        width = _probed_vector_bytes(triple, cpu, features)
    registers = 32 if width == 64 or not _is_x86(triple) else 16
    l1, l2, l3 = _cache_sizes()
    return Target(triple, cpu, features, width, registers, l1, l2, l3, settings.usable_cpus())


def create_machine(target: Target) -> Any:
    """Return an llvmlite TargetMachine that emits position-independent code for `target`."""
    return _create_machine(target.triple, target.cpu, target.features)


def _create_machine(triple: str, cpu: str, features: str) -> Any:
    import llvmlite.binding as llvm

    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small"
    )


def _llvm_host() -> tuple[str, str, str]:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.get_process_triple()
    # A CPU that was asked for brings its own features; else LLVM lists the host's one by one.
    cpu = settings.cpu or llvm.get_host_cpu_name()
    parts = [] if settings.cpu else [llvm.get_host_cpu_features().flatten()]
    if _is_x86(triple):
        parts.append("-prefer-256-bit")
    if settings.cpu_features:
        parts.append(settings.cpu_features)
    return triple, cpu, ",".join(part for part in parts if part)


def _plain_triple() -> str:
    machine = platform.machine().lower() or "unknown"
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    return f"{machine}-unknown-{platform.system().lower() or 'unknown'}"


def _is_x86(triple: str) -> bool:
    return triple.startswith(("x86_64", "i386", "i586", "i686", "amd64"))


def _listed_vector_bytes(triple: str, features: str) -> int:
    listed = features.split(",")
    if _is_x86(triple):
        if {"+avx512f", "+avx512vl", "+avx512bw", "+avx512dq"} <= set(listed):
            return 64
        return 32 if "+avx2" in listed and "+fma" in listed else 16
    return 16


def _probed_vector_bytes(triple: str, cpu: str, features: str) -> int:
    """Ask LLVM which registers it uses for a wide addition: CPU names imply features."""
    if not _is_x86(triple):
        return 16
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(
        "define <16 x i32> @f(<16 x i32> %a, <16 x i32> %b) {\n"
        "  %c = add <16 x i32> %a, %b\n  ret <16 x i32> %c\n}\n"
    )
    module.triple = triple
    assembly = _create_machine(triple, cpu, features).emit_assembly(module)
    return 64 if "%zmm" in assembly else 32 if "%ymm" in assembly else 16


def _cache_sizes() -> tuple[int, int, int]:
    """Return the sizes of one core's L1 data, L2 and L3 caches, with common ones where unknown."""
    sizes = _sysfs_caches("/sys/devices/system/cpu/cpu0/cache")
    for level, name in (
        (1, "SC_LEVEL1_DCACHE_SIZE"),
        (2, "SC_LEVEL2_CACHE_SIZE"),
        (3, "SC_LEVEL3_CACHE_SIZE"),
    ):
        if not sizes.get(level) and name in getattr(os, "sysconf_names", {}):
            sizes[level] = max(os.sysconf(name), 0)
    l1 = sizes.get(1) or 32 << 10
    l2 = sizes.get(2) or 512 << 10
    return l1, l2, sizes.get(3) or max(l2, 4 << 20)


def _sysfs_caches(folder: str) -> dict[int, int]:
    sizes: dict[int, int] = {}
    try:
        for entry in sorted(os.listdir(folder)):
            if not entry.startswith("index"):
                continue
            kind, level, size = (
                _read(os.path.join(folder, entry, field)) for field in ("type", "level", "size")
            )
            if kind != "Instruction":
                sizes[int(level)] = _parse_size(size)
    except (OSError, ValueError):
        pass
    return sizes


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _parse_size(text: str) -> int:
    """Turn "48K" or "32M" into bytes."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)
