"""What PyTorch keeps in ``torch.distributions.utils``: arguments, probabilities, triangles."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any

from ..autograd import enable_grad
from ..dtypes import finfo, get_default_dtype
from ..tensor import Tensor
from ..tensor import functions as fl

euler_constant = 0.57721566490153286060
"""The limit of the harmonic numbers less the logarithm."""


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the first tensor's dtype.

    ValueError for anything else.
    """
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects "
            "implementing __torch_function__."
        )
    like = next((v for v in values if isinstance(v, Tensor)), None)
    dtype = get_default_dtype() if like is None else like.dtype
    device = None if like is None else like.device
    made = [
        v if isinstance(v, Tensor) else fl.tensor(v, dtype=dtype, device=device) for v in values
    ]
    return tuple(fl.broadcast_tensors(*made))


def standard_normal(shape: Any, like: Tensor) -> Tensor:
    """Standard normal numbers, in the dtype of `like`."""
    return fl.empty(shape, dtype=like.dtype, device=like.device).normal_()


def sum_rightmost(value: Any, dims: int) -> Any:
    """`value` with its last `dims` dimensions summed away; as it is for a number or 0."""
    if dims == 0:
        return value
    return value.reshape((*value.shape[: value.dim() - dims], -1)).sum(-1)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """The probabilities of (unnormalised) log-odds, along the last dimension unless binary."""
    return logits.sigmoid() if is_binary else fl.softmax(logits, -1)


def clamp_probs(probs: Tensor) -> Tensor:
    """`probs` kept an epsilon away from 0 and 1."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The log-odds (binary) or logarithms of probabilities, which are first clamped."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


class lazy_property:
    """A property that is computed when first read, and then is an attribute of the instance."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__
        self.__name__ = wrapped.__name__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.__name__, value)
        return value


def is_lazy(owner: type, name: str) -> bool:
    """Whether attribute `name` of `owner`'s instances is computed when first read."""
    return isinstance(getattr(owner, name, None), lazy_property)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The entries (..., k) of matrices (..., n, n) up to diagonal `diag`, row by row."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = fl.tril_indices(n, n, diag, device=mat.device)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The inverse of `tril_matrix_to_vec`; ValueError where no size of matrix fits."""
    d = vec.shape[-1]
    # n rows up to diagonal `diag` hold d = n (n + 1 + 2 diag) / 2 less a corner that fell off
    n = (((1 + 2 * diag) ** 2 + 8 * d + 4 * abs(diag) * (diag + 1)) ** 0.5 - 1 - 2 * diag) / 2
    if not round(n, 6).is_integer():
        raise ValueError(
            f"The size of last dimension is {d} which cannot be expressed as the lower triangular "
            "part of a square D x D matrix."
        )
    size = round(n)
    mat = vec.new_zeros((*vec.shape[:-1], size, size))
    rows, columns = fl.tril_indices(size, size, diag, device=vec.device)
    mat[..., rows, columns] = vec
    return mat
