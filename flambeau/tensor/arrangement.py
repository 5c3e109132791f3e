"""Methods and properties about shape that are no ops: ``view``, ``T``, ``unsqueeze_``..."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..autograd.grad_mode import FAST, is_grad_enabled
from ..ops.shape import common_shape, view_as_size
from ..ops.shape import transpose as transpose_op
from . import core
from .core import ndarray
from .functions import publish
from .inplace import become, check_leaf, note_change
from .methods import method
from .shape import Size
from .tensor import Tensor
from .views import view_outside_tape


@method
def view(self: Any, *shape: Any, size: Any = None, dtype: Any = None) -> Any:
    """The same memory in another shape (sizes one by one or as a sequence) or of another dtype."""
    if size is None and dtype is None and self.__class__ is Tensor and self._gf is None:
        d = self._d
        if d.__class__ is ndarray and d.flags.c_contiguous:  # the ordinary call, made short
            try:
                v = d.reshape(shape)
                if v.shape == shape or -1 in shape:  # other negative sizes are mistakes
                    return view_outside_tape(self, v, view_as_size, (shape,))
            except (ValueError, TypeError):
                pass  # the general way below says what is wrong, or knows what is meant
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], dtypes.dtype)):
        return FAST["F"].view_as_dtype(self, shape[0] if dtype is None else dtype)
    if size is not None:
        shape = size
    elif len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = shape[0]
    elif not shape:
        raise TypeError('view() missing 1 required positional arguments: "size"')
    return FAST["F"].view_as_size(self, tuple(shape))


@method
def transpose(self: Any, dim0: int, dim1: int) -> Any:
    """This tensor with two dimensions exchanged, as a view."""
    if self.__class__ is Tensor and self._gf is None and self._d.__class__ is ndarray:
        try:
            d = self._d.swapaxes(dim0, dim1)
        except (ValueError, TypeError):
            pass  # the general way below says what is wrong, or knows what is meant
        else:
            return view_outside_tape(self, d, transpose_op, (dim0, dim1))
    return FAST["F"].transpose(self, dim0, dim1)


@method
def squeeze(self: Any, dim: Any = None, *more: int, axis: Any = None) -> Any:
    """This tensor without its dimensions of size one, or without those in `dim`, as a view."""
    dim = dim if axis is None else axis
    return FAST["F"].squeeze(self, (dim, *more) if more else dim)


@method
def count_nonzero(self: Any, dim: Any = None, *more: int, axis: Any = None) -> Any:
    """How many elements along `dim` are not zero, int64."""
    dim = dim if axis is None else axis
    return FAST["F"].count_nonzero(self, (dim, *more) if more else dim)


def _numpy_split(name: str) -> None:
    """Define the method `name`, which takes a number of parts or places, one by one or listed."""

    def cut(self: Any, *places: Any, sections: Any = None, indices: Any = None) -> Any:
        given: Any = places[0] if len(places) == 1 else places
        if not places:
            given = sections if indices is None else indices
        return getattr(FAST["F"], name)(self, given)

    cut.__name__ = cut.__qualname__ = name
    cut.__doc__ = f"This tensor cut into parts; see :func:`{name}`."
    method(cut)


for _name in ("hsplit", "vsplit", "dsplit"):
    _numpy_split(_name)


@method
def norm(
    self: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Any:
    """The p-norm over `dim`; see :func:`norm`."""
    return FAST["F"].norm(self, p, dim, keepdim, dtype=dtype)


@publish
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of all the given shapes broadcast to."""
    return Size(common_shape([(s,) if isinstance(s, int) else s for s in shapes]))


# ---------------------------------------------------------------- transposes
def _transposed(self: Any) -> Any:
    """The tensor with its dimensions in reverse order, as a view."""
    if self._d.ndim == 2:
        return FAST["F"].t(self)
    return FAST["F"].permute(self, tuple(range(self._d.ndim - 1, -1, -1)))


def _matrices_transposed(self: Any) -> Any:
    """The tensor with its last two dimensions exchanged, as a view."""
    if self._d.ndim < 2:
        if not self._d.ndim:
            return self
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {self._d.ndim}-D "
            "tensor."
        )
    return FAST["F"].transpose(self, -2, -1)


def _hermitian(self: Any) -> Any:
    """The conjugate transpose of a matrix."""
    if self._d.ndim not in (0, 2):
        raise RuntimeError(
            "tensor.H is only supported on matrices (2-D tensors). Got "
            f"{self._d.ndim}-D tensor. For batches of matrices, consider using tensor.mH"
        )
    return _conjugated(_transposed(self) if self._d.ndim else self)


def _matrices_hermitian(self: Any) -> Any:
    """The conjugate transposes of the matrices in the last two dimensions."""
    return _conjugated(_matrices_transposed(self))


def _conjugated(t: Any) -> Any:
    return FAST["F"].conj(t) if t._t.is_complex else t


@publish
@method
def adjoint(input: Any) -> Any:
    """The conjugate transposes of the matrices in the last two dimensions."""
    return _matrices_hermitian(input)


def _real(self: Any) -> Any:
    """The real part, as a view."""
    return FAST["F"].real(self)


def _imag(self: Any) -> Any:
    """The imaginary part of a complex tensor, as a view."""
    return FAST["F"].imag(self)


def _set_real(self: Any, value: Any) -> None:
    _real(self).copy_(value)


def _set_imag(self: Any, value: Any) -> None:
    _imag(self).copy_(value)


Tensor.T = property(_transposed)
Tensor.mT = property(_matrices_transposed)
Tensor.H = property(_hermitian)
Tensor.mH = property(_matrices_hermitian)
Tensor.real = property(_real, _set_real)
Tensor.imag = property(_imag, _set_imag)


def _divided(self: Any, other: Any) -> Any:
    """``other / self``, under Python 2's name of the operator."""
    return other / self


Tensor.__rdiv__ = _divided


# ---------------------------------------------------------------- in-place views
def _inplace_view(name: str) -> None:
    """Define ``name_``: the tensor itself becomes the view that ``name`` gives."""

    def change(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._gf is not None and (FAST["PLAIN"] or is_grad_enabled()):
            check_leaf(self, f"{name}_")
        try:
            before = core.from_array(self._d)
        except AttributeError:  # a tensor inside a transformation
            return become(self, getattr(FAST["F"], name)(self, *args, **kwargs))
        before._gf, before._s, before._view = self._gf, core.storage_of(self), self._view
        out = getattr(FAST["F"], name)(before, *args, **kwargs)
        self._d, self._gf = out._d, out._gf
        if self._view is not None:
            self._view = out._view
        note_change(self, f"{name}_")
        return self

    change.__name__ = change.__qualname__ = f"{name}_"
    change.__doc__ = (
        f"In-place version of :func:`{name}`: changes shape and strides, copies nothing."
    )
    method(change)


for _name in ("squeeze", "unsqueeze", "transpose", "t", "swapaxes", "swapdims", "as_strided"):
    _inplace_view(_name)


@method
def polygamma(self: Any, n: int) -> Any:
    """The derivative of order `n` of digamma."""
    return FAST["F"].polygamma(n, self)


@method
def polygamma_(self: Any, n: int) -> Any:
    """In-place version of `polygamma`."""
    return self.copy_(FAST["F"].polygamma(n, self))
