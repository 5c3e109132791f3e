"""Real and imaginary parts, conjugates, and tensors that pair them up."""

from __future__ import annotations

from typing import Any

import numpy as np

from .promotion import floated, is_half, title
from .record import Array, structured, view


@view(retypes=True, grad={"input": lambda m, g: g})
def real(input: Array) -> Array:
    """The real part, as a view; a real tensor is its own real part.

    >>> flambeau.real(flambeau.tensor([1 + 2j, 3 - 4j]))
    tensor([1., 3.])
    """
    return input.real


@view(retypes=True, grad={"input": lambda m, g: g * 1j})
def imag(input: Array) -> Array:
    """The imaginary part of a complex tensor, as a view.

    >>> flambeau.imag(flambeau.tensor([1 + 2j, 3 - 4j]))
    tensor([ 2., -4.])
    """
    if input.dtype.kind != "c":
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return input.imag


@structured(grad={"input": lambda m, g: m.conj(g)}, inplace=True, out=True,
            aliases=("conj_physical",))  # fmt: skip
def conj(input: Array) -> Array:
    """The complex conjugate; a real tensor is its own.

    >>> flambeau.conj(flambeau.tensor([1 + 2j, 3 - 4j])).resolve_conj()
    tensor([1.-2.j, 3.+4.j])
    """
    return np.conjugate(input) if input.dtype.kind == "c" else input


@structured(grad={"input": lambda m, g: g}, aliases=("resolve_neg",))
def resolve_conj(input: Array) -> Array:
    """`input`: conjugates are computed at once, so there is nothing to resolve.

    >>> flambeau.resolve_conj(flambeau.tensor([2j]).conj())
    tensor([0.-2.j])
    """
    return input


def _angle_gradient(m: Any, g: Any, z: Any) -> Any:
    if not m.dtype(z).is_complex:
        return m.mul(g, 0)
    square = m.square(m.abs(z))
    zero = m.eq(square, 0)
    return m.where(zero, 0, g * z * 1j / m.where(zero, 1, square))


@structured(grad={"input": lambda m, g, input: _angle_gradient(m, g, input)}, out=True)
def angle(input: Array) -> Array:
    """The angle of each complex number in (-pi, pi]; 0 or pi for real numbers.

    >>> flambeau.angle(flambeau.tensor([1 + 1j, 2j, -3 + 0j]))
    tensor([0.7854, 1.5708, 3.1416])
    """
    x = floated(input)
    if x.dtype.kind == "c":
        return np.angle(x)
    out = np.where(x < 0, x.dtype.type(np.pi), x.dtype.type(0))
    return np.where(np.isnan(x), x, out)


@view(retypes=True, grad={"input": lambda m, g: m.view_as_complex(m.contiguous_copy(g))})
def view_as_real(input: Array) -> Array:
    """A complex tensor as a real one with a last dimension of size 2, as a view.

    >>> flambeau.view_as_real(flambeau.tensor([1 + 2j, 3 - 4j]))
    tensor([[ 1.,  2.],
            [ 3., -4.]])
    """
    if input.dtype.kind != "c":
        raise RuntimeError("view_as_real is only supported for complex tensors")
    part = np.dtype(f"f{input.dtype.itemsize // 2}")
    return input[..., None].view(part)


@view(retypes=True, grad={"input": lambda m, g: m.view_as_real(g)})
def view_as_complex(input: Array) -> Array:
    """A real tensor whose last dimension has size 2 as a complex one, as a view.

    >>> flambeau.view_as_complex(flambeau.tensor([[1.0, 2.0], [3.0, -4.0]]))
    tensor([1.+2.j, 3.-4.j])
    """
    if input.dtype.kind != "f" or is_half(input):
        raise RuntimeError(
            f"view_as_complex is only supported for half, float and double tensors, but got a "
            f"tensor of scalar type: {title(input)}"
        )
    if not input.ndim:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    size = input.dtype.itemsize
    if input.strides[-1] != size:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % (2 * size) for s, n in zip(input.strides, input.shape, strict=True) if n > 2):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    return input.view(np.dtype(f"c{2 * size}"))[..., 0]


@structured(method=False, grad={"input": lambda m, g: g})
def contiguous_copy(input: Array) -> Array:
    """`input` in row-major order; itself if it is so already."""
    return np.ascontiguousarray(input) if input.ndim else input


def _check_parts(name: str, a: Array, b: Array) -> None:
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        raise RuntimeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {title(a)} and "
            f"{title(b)}"
        )
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {title(a)} but got scalar type {title(b)} for second "
            f"argument of {name}"
        )


@structured(
    method=False,
    out=True,
    grad={"real": lambda m, g: m.real(g), "imag": lambda m, g: m.imag(g)},
)
def complex(real: Array, imag: Array) -> Array:
    """The complex tensor real + i imag; both float32 or both float64.

    >>> flambeau.complex(flambeau.tensor([1.0, 3.0]), flambeau.tensor([2.0, -4.0]))
    tensor([1.+2.j, 3.-4.j])
    """
    _check_parts("complex", real, imag)
    a, b = np.broadcast_arrays(real, imag)
    out = np.empty(a.shape, np.result_type(real.dtype, np.complex64))
    out.real, out.imag = a, b
    return out


def _turn(m: Any, angle: Any) -> Any:
    return m.complex(m.cos(angle), m.sin(angle))


@structured(
    method=False,
    out=True,
    grad={
        "abs": lambda m, g, angle: m.real(g * m.conj(_turn(m, angle))),
        "angle": lambda m, g, out: m.imag(g * m.conj(out)),
    },
)
def polar(abs: Array, angle: Array) -> Array:
    """The complex tensor abs * exp(i angle).

    >>> flambeau.polar(flambeau.tensor([2.0, 3.0]), flambeau.tensor([0.0, 0.5]))
    tensor([2.0000+0.0000j, 2.6327+1.4383j])
    """
    _check_parts("polar", abs, angle)
    return complex.forward(abs * np.cos(angle), abs * np.sin(angle))
