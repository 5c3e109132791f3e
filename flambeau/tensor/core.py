"""The bare tensor: its slots, how one is made, and what the tape needs of it.

`Tensor` (in tensor.py) adds the public interface. A tensor is a NumPy array ``_d`` (its strides are
the tensor's) and a dtype ``_t``; ``_gf`` is its node on the tape (None: no gradient), ``_v`` its
own version counter until ``_s``, the storage shared with its views, takes over. A view remembers in
``_view`` the tensor it looks at, the op and the op's arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd import anomaly, node
from ..autograd.grad_mode import FAST, is_inference_mode_enabled
from ..autograd.node import AccumulateGrad, Node
from ..errors import VersionError
from .instances import allocator
from .storage import INFERENCE, Storage

ndarray = np.ndarray
new = object.__new__
_BY_NUMPY = dtypes._BY_NUMPY


class TensorCore:
    """Slots of a tensor; see the module's docstring."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_d",
        "_gf",
        "_grad",
        "_s",
        "_t",
        "_v",
        "_view",
    )
    _d: Any
    _t: dtypes.dtype
    _gf: Node | None
    _grad: Any
    _s: Storage | None
    _v: int
    _view: Any
    _interpret: Any = None
    """Set by classes of tensors that compute ops in their own way (dual tensors and the like)."""

    def _accumulate(self, g: Any) -> None:
        """Add the raw gradient `g` to ``grad``; the array is taken over if nobody else holds it."""
        held = self._grad
        if held is not None:
            try:
                if held._gf is None and held._d.shape == g.shape and held._d.flags.writeable:
                    held._d += g
                    bump(held)
                else:
                    self._grad = from_array(held._d + g)
            except AttributeError:  # of a composed tensor, whose array is behind a guard
                self._grad = accumulated(held, g)
            return
        if g.dtype is not self._d.dtype and g.dtype != self._d.dtype:
            g = g.astype(self._d.dtype)
        elif REFERENCES(g) > 4 or g.base is not None or not g.flags.writeable:
            g = g.copy()
        self._grad = from_array(g)


try:
    from sys import getrefcount as REFERENCES
except ImportError:  # an interpreter without reference counts: always copy

    def REFERENCES(_: object) -> int:
        """More owners than anything is taken over from."""
        return 1 << 30


Tensor: Any = TensorCore
"""The public class; tensor.py puts it here when it is defined."""


new_tensor: Any = allocator(TensorCore)
"""Makes a tensor with nothing in its slots."""
new_storage: Any = allocator(Storage)
"""Makes a storage record with nothing in its slots."""


def adopt(cls: type) -> None:
    """Make `cls` the class of new tensors."""
    global Tensor, new_tensor
    Tensor = cls
    new_tensor = FAST["new_tensor"] = allocator(cls)


array_of: Any = TensorCore.__dict__["_d"].__get__
"""The array of any tensor, of composed ones too, whose ``_d`` is guarded."""


def accumulated(held: Any, g: Any) -> Any:
    """The gradient `held`, a composed tensor, with the raw gradient `g` added to it."""
    total = array_of(held) + g
    if held._gf is not None or not hasattr(total, "with_values"):
        return from_array(total)
    array_of(held).assign(total)
    bump(held)
    return held


def from_array(d: Any) -> Any:
    """A tensor over the array `d` (not copied), of the matching dtype, without a gradient."""
    if d.__class__ is not ndarray:
        d = box(d)
        if hasattr(d, "with_values"):
            from .composed import tensor_over

            return tensor_over(d)
    out = new_tensor()
    out._d = d
    t = d.dtype
    out._t = _BY_NUMPY.get(t) or dtypes.from_numpy_dtype(t)
    out._gf = out._grad = out._s = out._view = None
    out._v = 0
    if not FAST["PLAIN"]:
        mark(out)
    return out


def box(d: Any) -> Any:
    """A NumPy scalar as a 0-d array; any array as it is."""
    if isinstance(d, np.generic):
        return np.asarray(d)
    if type(d) is not ndarray and isinstance(d, ndarray):
        return d.view(ndarray)
    if isinstance(d, (int, float, complex, bool)):
        return np.asarray(d)
    return d


def mark(out: Any) -> Any:
    """Mark a new tensor made in inference mode."""
    if is_inference_mode_enabled():
        out._s = INFERENCE
    return out


def is_tensor(x: Any) -> bool:
    """Whether `x` is a Tensor."""
    return isinstance(x, TensorCore)


def device_of(d: Any) -> devices.device:
    """The device that holds the array `d`."""
    return devices.CPU if d.__class__ is ndarray else d.device


def version(t: Any) -> int:
    """The tensor's version: how often its memory was changed in place."""
    s = t._s
    return int(t._v) if s is None else s.version


def storage_of(t: Any) -> Storage:
    """The storage record that `t` shares with its views, made when first asked for."""
    s = t._s
    if s is None:
        s = t._s = new_storage()
        s.version = t._v
        s.changed_at = None
    return s


def bump(t: Any) -> None:
    """Count an in-place change of `t`."""
    s = t._s
    if s is None:
        t._v += 1
    elif s is not INFERENCE:
        s.version += 1


def check_inference(t: Any) -> None:
    """Refuse to change a tensor of inference mode outside of that mode."""
    if t._s is INFERENCE and not is_inference_mode_enabled():
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. You can "
            "make a clone to get a normal tensor before doing inplace update."
        )


def base_of(t: Any) -> Any:
    """The tensor that the view `t` looks at in the end, or `t`."""
    while t._view is not None:
        t = t._view[0]
    return t


def raise_modified(saved: Any, expected: int, at: Any, node_name: str) -> None:
    """Report that `saved` was changed in place after the tape had saved it."""
    shape = f"{saved._t.title}Tensor {list(saved._d.shape)}"
    changed = None if saved._s is None else saved._s.changed_at
    changed = changed or saved.__dict__.get("_changed_at")
    message = (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: [torch.{shape}] is at version {version(saved)}; expected version "
        f"{expected} instead. It was saved by {node_name}"
    )
    if at is not None:
        message += f" at {anomaly.render_place(at)}"
    if changed is not None:
        message += f" and changed by {changed[0]} at {anomaly.render_place(changed[1])}"
    if at is None:
        message += (
            ". Hint: set torch.autograd.set_detect_anomaly(True) to have the line named at which "
            "it was saved"
        )
    raise VersionError(message + ".")


def raise_freed(node_name: str) -> None:
    """Report a second backward through a graph that is gone."""
    raise RuntimeError(
        "Trying to backward through the graph a second time (or directly access saved tensors "
        f"after they have already been freed; here in {node_name}). Saved intermediate values of "
        "the graph are freed when you call .backward() or autograd.grad(). Specify "
        "retain_graph=True if you need to backward through the graph a second time or if you need "
        "to access saved tensors after calling backward."
    )


def leaf_node(t: Any) -> AccumulateGrad:
    """A fresh accumulation node for the leaf `t`."""
    return AccumulateGrad(t)


def is_leaf_node(n: Node | None) -> bool:
    """Whether `n` belongs to a leaf."""
    return isinstance(n, AccumulateGrad)


node.wrap_gradient = from_array
node.unwrap_gradient = array_of
