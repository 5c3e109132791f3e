"""Where convolutions read: shapes, the input's planes and taps, and the kernels by name.

A stride is taken apart by phases: the input is copied to one plane for each phase that a tap
meets, and there every tap is a mere shift.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...compiler import launch, target, threads
from ...compiler.geometry import Reads, Tap, strides_of

if TYPE_CHECKING:
    from ...compiler.microkernel import Tile

Array = np.ndarray
Sizes = tuple[int, ...]
# Takes weights, input, result, bias or None, and whether results below zero become zero.
Launch = Callable[[Array, Array, Array, Array | None, bool], None]

NAMES = {np.dtype(name): name for name in ("float32", "float64")}
# A word of two bfloat16, in a float32 (see `compiler.vectors`).
PAIRS = "bfloat16x2"


class Convolution(NamedTuple):
    """The shapes of input, weight and output extents, and how the kernel moves."""

    x: Sizes
    w: Sizes
    out: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int


# Launching ----------------------------------------------------------------------------------------


@functools.cache
def find_kernel(name: str, dtype: str, arrays: str) -> Callable[..., None]:
    """The launcher of a chunk function; `arrays` gives a letter for each pointer it takes."""
    from ...compiler import convolution, depthwise, routines

    if name.startswith("direct"):
        library = routines.load(
            "depthwise", dtype, lambda: depthwise.build_depthwise(dtype, target.host())
        )
    else:
        library = routines.load(
            "convolution", dtype, lambda: convolution.build_convolution(dtype, target.host()),
            convolution.ROUTINES,
        )  # fmt: skip
    return launch.bind(library.address(name), arrays, name=f"{name}_{dtype}", parallel=True)


def list_words(names: Sequence[str], values: dict[str, int]) -> Array:
    """The integers of a plan, in the order of `names`."""
    return np.array([values[name] for name in names], np.int64)


def list_both(names: Sequence[str], values: dict[str, int]) -> tuple[Array, Array]:
    """The integers of a plan without and with a bound of zero for its results."""
    first, second = (list_words(names, values | {"relu": relu}) for relu in (0, 1))
    return first, second


def find_tile(kind: str) -> Tile:
    """The register tile for elements of `kind`: a dtype by name, or `PAIRS`."""
    from ...compiler.microkernel import tile_for

    return tile_for(kind, target.host())


def find_size(kind: str) -> int:
    """Bytes of an element."""
    return find_tile(kind).form.size


def find_lanes(kind: str) -> int:
    """How many elements a vector of this machine holds."""
    return find_tile(kind).lanes


def find_panel(kind: str) -> int:
    """How many vectors a panel holds."""
    return find_tile(kind).vectors


# Sources: the input's planes, and the taps as shifts in them --------------------------------------


class Source(NamedTuple):
    """Where a convolution without a stride reads: the phases it reads of each plane, and how.

    A plane is what the last two dimensions span; the phases of one lie side by side.
    """

    phases: tuple[Sizes, ...]
    plane: Sizes
    channel: int
    reads: Reads


def read_whole(extents: Sizes, taps: Sequence[Tap]) -> Source:
    """An input that is read where it lies, by taps that are mere shifts."""
    steps, ones = strides_of(extents), (1,) * len(extents)
    reads = Reads(extents, steps, ones, 0, taps)
    return Source(((0, 0),), extents[-2:], math.prod(extents), reads)


def read_input(c: Convolution) -> Source:
    """The input as `conv_forward` reads it: apart by those phases of the stride that are in use."""
    found = []
    for number, position in enumerate(itertools.product(*map(range, c.w[2:]))):
        places = [k * d - p for k, d, p in zip(position, c.dilation, c.padding, strict=True)]
        last = list(zip(places[-2:], c.stride[-2:], strict=True))
        shift = (*places[:-2], *(q // s for q, s in last))
        found.append((tuple(q % s for q, s in last), shift, number))
    phases = tuple(sorted({phase for phase, _, _ in found}))
    taps = [Tap(phases.index(phase), shift, number) for phase, shift, number in found]
    # The phases of a volume are those of its planes: down its depth it is read where it lies.
    depth = c.x[2:-2]
    plane = tuple(-(-e // s) for e, s in zip(c.x[-2:], c.stride[-2:], strict=True))
    steps = (*strides_of((*depth, len(phases) * math.prod(plane)))[:-1], plane[1], 1)
    scales = (*c.stride[:-2], 1, 1)
    reads = Reads((*depth, *plane), steps, scales, math.prod(plane), taps)
    return Source(phases, plane, math.prod(depth) * len(phases) * math.prod(plane), reads)


def plan_split(c: Convolution, source: Source, dtype: str) -> Callable[[Array], Array] | None:
    """The function that takes an input apart by phases, if its stride asks for that."""
    if all(s == 1 for s in c.stride[-2:]):
        return None
    return _plan_split(
        math.prod(c.x[:-2]), c.x[-2:], c.stride[-2:], source.phases, source.plane, dtype,
        threads.get_num_threads(),
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _plan_split(
    planes: int, size: Sizes, stride: Sizes, phases: tuple[Sizes, ...], plane: Sizes, dtype: str,
    count: int,
) -> Callable[[Array], Array]:  # fmt: skip
    """The function that takes apart `planes` planes; one for all convolutions that need the same.

    The number of threads, `count`, is what it is made for.
    """
    from ...compiler.planes import SPLIT_STEPS

    (height, width), (sh, sw), area = size, stride, math.prod(plane)
    covered = [(max(0, -(-(height - a) // sh)), max(0, -(-(width - b) // sw))) for a, b in phases]
    # A plane that is not covered wholly is zeroed first.
    cleared = len(phases) * area * any(math.prod(extents) != area for extents in covered)
    if sw in SPLIT_STEPS:
        copy = _plan_fast_split(planes, size, stride, phases, plane, cleared, dtype)
    else:
        jobs = [
            (a * width + b, sh * width, sw, f * area, plane[1], 1, *covered[f])
            for f, (a, b) in enumerate(phases)
        ]
        copy = plan_copy(planes, height * width, len(phases) * area, cleared, jobs, dtype)

    def split(x: Array) -> Array:
        result = np.empty(planes * len(phases) * area, x.dtype)
        copy(x, result)
        return result

    return split


def _plan_fast_split(
    planes: int, size: Sizes, stride: Sizes, phases: tuple[Sizes, ...], plane: Sizes,
    cleared: int, dtype: str,
) -> Callable[[Array, Array], None]:  # fmt: skip
    """The function that takes planes apart, all phases of a row at once."""
    from ...compiler.planes import SPLIT_PLAN

    (height, width), (sh, sw), area = size, stride, math.prod(plane)
    parts = _count_parts(planes, max(height * width, len(phases) * area))
    words = list_words(SPLIT_PLAN, {
        "planes": planes, "parts": parts, "height": height, "width": width, "row_step": sh,
        "result_plane": len(phases) * area, "cleared": cleared, "plane": area, "row": plane[1],
    })  # fmt: skip
    numbers = np.full(sh * sw, -1, np.int64)
    for f, (a, b) in enumerate(phases):
        numbers[a * sw + b] = f
    kernel = find_kernel(f"conv_split_{sw}", dtype, "aaaa")
    return lambda x, y: kernel(parts, x, y, words, numbers)


def _count_parts(planes: int, size: int) -> int:
    """In how many chunks to copy so many planes."""
    return min(planes, 4 * threads.get_num_threads()) if planes * size > 20_000 else 1


def plan_copy(
    planes: int, source: int, result: int, cleared: int, jobs: list[Sizes], dtype: str
) -> Callable[[Array, Array], None]:
    """The function that does `jobs` for planes `source` and `result` elements apart."""
    from ...compiler.planes import COPY_PLAN

    parts = _count_parts(planes, max(source, result))
    head = list_words(COPY_PLAN, {
        "planes": planes, "parts": parts, "source_plane": source, "result_plane": result,
        "cleared": cleared, "jobs": len(jobs),
    })  # fmt: skip
    words = np.concatenate([head, np.array(jobs, np.int64).ravel()])
    kernel = find_kernel("conv_copy", dtype, "aaa")
    return lambda x, y: kernel(parts, x, y, words)


def plan_merge(
    planes: int, size: Sizes, stride: Sizes, plane: int, row: int,
    parts: list[tuple[int, Sizes, Sizes]], dtype: str,
) -> Callable[[Array, Array], None]:  # fmt: skip
    """The function that puts `planes` planes together from their phases, `row` elements a plane.

    A part is the number of a phase, `plane` elements each, its place, and its extents; what no part
    covers is zero.
    """
    steps, jobs = strides_of(size), []
    row_step, col_step = (s * step for s, step in zip(stride[-2:], steps[-2:], strict=True))
    for f, phase, extents in parts:
        start = sum(a * step for a, step in zip(phase, steps, strict=True))
        # A volume is put together slice by slice.
        for i, place in enumerate(np.ndindex(*extents[:-2])):
            at = sum(p * s * n for p, s, n in zip(place, stride, steps, strict=False))
            first = f * plane + i * math.prod(extents[-2:])
            jobs.append((first, extents[-1], 1, start + at, row_step, col_step, *extents[-2:]))
    whole = math.prod(size)
    covered = sum(math.prod(extents) for _, _, extents in parts)
    return plan_copy(planes, row, whole, whole if covered < whole else 0, jobs, dtype)
