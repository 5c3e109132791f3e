"""Modules of vector kernels as libraries, and the routines that several of these call.

A routine is compiled once for each kind of element, in a library of its own; a module that calls it
only declares it. Every module would have its copy otherwise, and the copies were most of the
machine code of a network's first step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llvmlite import ir

from . import jit, target
from .microkernel import Tile, tile_for
from .vectors import VOID

# The IR is scheduled by hand: LLVM's passes over it cost time and gain nothing.
_OPTIONS = jit.Options(level=0, vectorize=False, slp=False, unroll=False)


class Routine(NamedTuple):
    """A function that other modules may call: its name, what it takes, and what writes it."""

    name: str
    takes: Callable[[Tile], Sequence[ir.Type]]
    build: Callable[[ir.Module, Tile], ir.Function]


def declare(module: ir.Module, tile: Tile, routine: Routine) -> ir.Function:
    """Make the routine known in `module`, which `load` links with it if it is told of it."""
    return ir.Function(module, ir.FunctionType(VOID, list(routine.takes(tile))), routine.name)


def load(
    title: str, kind: str, build: Callable[[], ir.Module], needs: Sequence[Routine] = ()
) -> jit.Library:
    """Return the library of a module of kernels for elements of `kind`.

    `build` writes the module, which `title` and `kind` tell from all others; it declares the
    routines that it `needs`.
    """
    return jit.load_or_build(
        f"{title}_{kind}", "1", lambda: str(build()), options=_OPTIONS,
        bindings={routine.name: _find(routine, kind) for routine in needs},
    )  # fmt: skip


@functools.cache
def _find(routine: Routine, kind: str) -> int:
    """The address of a routine."""

    def build() -> ir.Module:
        module = ir.Module(routine.name)
        routine.build(module, tile_for(kind, target.host())).linkage = ""
        return module

    return load(routine.name, kind, build).address(routine.name)
