"""Softmax and its kin on NumPy arrays, along one axis; floats of single or double precision."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def softmax(x: Array, axis: int) -> Array:
    """exp(x) divided by its sum along `axis`."""
    e = _shifted(x, axis)
    np.exp(e, out=e)
    e /= e.sum(axis, keepdims=True)
    return e


def log_softmax(x: Array, axis: int) -> Array:
    """x minus the logarithm of the sum of exp(x) along `axis`."""
    e = _shifted(x, axis)
    e -= np.log(np.exp(e).sum(axis, keepdims=True))
    return e


def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The logarithm of the sum of exp(x) over `axes`."""
    if not all(x.shape[axis] for axis in axes):
        return np.log(np.asarray(np.exp(x).sum(axes, keepdims=keepdims)))
    highest = x.real.max(axes, keepdims=True)
    # An infinite maximum would give inf - inf; the sum of exponentials is right without a shift.
    highest = np.where(np.isfinite(highest), highest, 0)
    total = np.log(np.exp(x - highest).sum(axes, keepdims=keepdims))
    return total + (highest if keepdims else highest.reshape(np.shape(total)))


def softmax_back(g: Array, out: Array, axis: int) -> Array:
    """The gradient of `softmax` from that of its result `out`."""
    r = g * out
    r -= out * r.sum(axis, keepdims=True)
    return r


def log_softmax_back(g: Array, out: Array, axis: int) -> Array:
    """The gradient of `log_softmax` from that of its result `out`."""
    r = np.exp(out)
    r *= g.sum(axis, keepdims=True)
    return np.subtract(g, r, out=r)


def _shifted(x: Array, axis: int) -> Array:
    """`x` minus its maximum along `axis`, in a new array."""
    if not x.shape[axis]:
        return x.copy()
    return np.subtract(x, x.max(axis, keepdims=True))
