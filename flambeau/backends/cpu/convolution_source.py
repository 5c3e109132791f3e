"""Where convolutions read: shapes, the input's planes and taps, and the kernels by name.

A stride is taken apart by phases: the input is copied to one plane for each phase that a tap
meets, and there every tap is a mere shift.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...compiler import jit, launch, target, threads
from ...compiler.geometry import Tap, strides_of

Array = np.ndarray
Sizes = tuple[int, ...]
# Takes weights, input, result and bias or None.
Launch = Callable[[Array, Array, Array, Array | None], None]

NAMES = {np.dtype(name): name for name in ("float32", "float64")}
# The IR is scheduled by hand: LLVM's passes over it cost time and gain nothing.
_OPTIONS = jit.Options(level=0, vectorize=False, slp=False, unroll=False)


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
    from ...compiler.convolution import build_convolution
    from ...compiler.depthwise import build_depthwise
    from ...compiler.winograd import build_winograd
    from ...compiler.winograd_weight import build_winograd_weight

    families = {
        "direct": build_depthwise, "winograd": build_winograd, "conv": build_convolution,
        "filtering": build_winograd_weight,
    }  # fmt: skip
    build = families[name.split("_")[0]]
    title = f"{build.__name__.removeprefix('build_')}_{dtype}"
    library = jit.load_or_build(
        title, "1", lambda: str(build(dtype, target.host())), options=_OPTIONS
    )
    return launch.bind(library.address(name), arrays, name=f"{name}_{dtype}", parallel=True)


def list_words(names: Sequence[str], values: dict[str, int]) -> Array:
    """The integers of a plan, in the order of `names`."""
    return np.array([values[name] for name in names], np.int64)


def find_lanes(dtype: str) -> int:
    """How many elements a vector of this machine holds."""
    return target.host().lanes(np.dtype(dtype).itemsize)


def find_panel(dtype: str) -> int:
    """How many vectors a panel holds."""
    from ...compiler.microkernel import tile_for

    return tile_for(dtype, target.host()).vectors


# Sources: the input's planes, and the taps as shifts in them --------------------------------------


class Source(NamedTuple):
    """Where a convolution without a stride reads: planes per channel, their extents, the taps."""

    planes: int
    extents: Sizes
    taps: list[Tap]
    phases: list[Sizes]

    @property
    def plane(self) -> int:
        return math.prod(self.extents)

    def offsets(self) -> Array:
        """Where each tap reads, from a pixel's own place in the first plane."""
        steps = strides_of(self.extents)
        return np.array(
            [
                t.plane * self.plane + sum(a * b for a, b in zip(t.shift, steps, strict=True))
                for t in self.taps
            ],
            np.int64,
        )


def read_input(c: Convolution) -> Source:
    """The input as `conv_forward` reads it: one plane for each phase of the stride in use."""
    phases: dict[Sizes, int] = {}
    taps = []
    for number, position in enumerate(itertools.product(*map(range, c.w[2:]))):
        places = [k * d - p for k, d, p in zip(position, c.dilation, c.padding, strict=True)]
        phase = tuple(q % s for q, s in zip(places, c.stride, strict=True))
        shift = tuple(q // s for q, s in zip(places, c.stride, strict=True))
        taps.append(Tap(phases.setdefault(phase, len(phases)), shift, number))
    extents = tuple(-(-e // s) for e, s in zip(c.x[2:], c.stride, strict=True))
    return Source(len(phases), extents, taps, list(phases))


def plan_split(c: Convolution, source: Source, dtype: str) -> Callable[[Array], Array] | None:
    """The function that takes an input apart by phases, if its stride asks for that."""
    if all(s == 1 for s in c.stride):
        return None
    shape = (*c.x[:2], source.planes, *source.extents)
    if len(c.stride) > 2:
        return lambda x: _split_by_numpy(c, source, x.reshape(c.x), shape)
    height, width = c.x[2:]
    (sh, sw), row = c.stride, source.extents[1]
    jobs = [
        (a * width + b, sh * width, sw, f * source.plane, row, 1,
         max(0, -(-(height - a) // sh)), max(0, -(-(width - b) // sw)))
        for f, (a, b) in enumerate(source.phases)
    ]  # fmt: skip
    # A plane that is not covered wholly is zeroed first.
    gaps = any(job[6] * job[7] != source.plane for job in jobs)
    result = source.planes * source.plane
    copy = plan_copy(c.x[0] * c.x[1], height * width, result, result * gaps, jobs, dtype)

    def split(x: Array) -> Array:
        planes = np.empty(shape, x.dtype)
        copy(x, planes)
        return planes

    return split


def _split_by_numpy(c: Convolution, source: Source, x: Array, shape: Sizes) -> Array:
    planes = np.zeros(shape, x.dtype)
    for f, phase in enumerate(source.phases):
        part = x[(..., *(slice(a, None, s) for a, s in zip(phase, c.stride, strict=True)))]
        planes[(slice(None), slice(None), f, *map(slice, part.shape[2:]))] = part
    return planes


def plan_copy(
    planes: int, source: int, result: int, cleared: int, jobs: list[Sizes], dtype: str
) -> Callable[[Array, Array], None]:
    """The function that does `jobs` for planes `source` and `result` elements apart."""
    from ...compiler.planes import COPY_PLAN

    busy = planes * max(source, result) > 20_000
    parts = min(planes, 4 * threads.get_num_threads()) if busy else 1
    head = list_words(COPY_PLAN, {
        "planes": planes, "parts": parts, "source_plane": source, "result_plane": result,
        "cleared": cleared, "jobs": len(jobs),
    })  # fmt: skip
    words = np.concatenate([head, np.array(jobs, np.int64).ravel()])
    kernel = find_kernel("conv_copy", dtype, "aaa")
    return lambda x, y: kernel(parts, x, y, words)
