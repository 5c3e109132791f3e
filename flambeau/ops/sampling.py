"""Random draws through which (zero) gradients flow."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.cpu.layout import in_memory_order
from .record import Array, random


@random(method=False, node="BernoulliBackward0", grad={"input": lambda m, g: m.mul(g, 0)})
def bernoulli_of(input: Array, p: float | None, generator: Any) -> Array:
    """Ones with the probabilities in `input`, or with probability `p`, zeros else."""
    out = np.empty_like(input)
    if p is None:
        # PyTorch goes through the elements by index here, whatever their order in memory.
        out[...] = generator.bernoulli_array(input.reshape(-1)).reshape(input.shape)
    else:
        ordered = in_memory_order(out)
        ordered[...] = generator.bernoulli(float(p), out.size).reshape(ordered.shape)
    return out
