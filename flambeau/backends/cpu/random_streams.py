"""The random generator's loops, compiled: bit for bit the same numbers, several times as fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from ... import generator
from ...compiler import jit, launch

_STATE = "a:uint32:cw"
_PARAMETERS = {
    "words": f"{_STATE} a:uint32:cw i",
    "uniform32": f"{_STATE} a:float32:cw i f f",
    "uniform64": f"{_STATE} a:float64:cw i f f",
    "normal32": "a:float32:cw i f f",
    "normal64": "a:float64:cw i f f",
    "pairs64": "a:float64:cw i",
    "affine64": "a:float64:cw i f f",
    "integers": f"{_STATE} a:int64:cw i i i",
    "shuffle": "a:int64:cw a:uint32:c i",
}


class _Kernels:
    """The compiled functions, by name."""

    words: Callable[..., None]
    uniform32: Callable[..., None]
    uniform64: Callable[..., None]
    normal32: Callable[..., None]
    normal64: Callable[..., None]
    pairs64: Callable[..., None]
    affine64: Callable[..., None]
    integers: Callable[..., None]
    shuffle: Callable[..., None]

    def __init__(self) -> None:
        from ...compiler import twister  # needed only until the machine code is on disk

        library = jit.load_or_build("random_streams", twister.key(), twister.render)
        self._samplers: dict[str, Callable[..., None]] = {}
        for name, parameters in _PARAMETERS.items():
            kernel = launch.bind(library.address(name), parameters, name=name)
            setattr(self, name, kernel)

    def sample(self, kind: str, *arguments: Any) -> None:
        """Run the sampler `kind` of `rejection`."""
        sampler = self._samplers.get(kind)
        if sampler is None:
            from . import rejection  # few programs draw such numbers

            sampler = self._samplers[kind] = rejection.sample.prepare(kind, *arguments)
        sampler(1, 1, 1, *arguments)


@cache
def load() -> generator.Kernels | None:
    """The compiled loops; None where nothing can be compiled."""
    return _Kernels() if jit.available() else None


generator.load_kernels = load
