"""Orthogonal weights: a parametrization by skew-symmetric matrices or by reflections."""

from __future__ import annotations

from ...dtypes import finfo
from ...tensor import Tensor
from ...tensor import functions as fl
from ..modules.module import Module
from .parametrize import register_parametrization

__all__ = ["orthogonal"]

MAPS = ("matrix_exp", "cayley", "householder")


def _is_orthogonal(matrix: Tensor) -> bool:
    gram = matrix.mH @ matrix
    identity = fl.eye(matrix.size(-1), dtype=matrix.dtype)
    tolerance = 10 * matrix.size(-2) * finfo(matrix.dtype).eps
    return bool(fl.allclose(gram, identity.expand_as(gram), atol=tolerance))


def _orthogonalized(matrix: Tensor) -> Tensor:
    """The orthogonal factor of ``matrix`` whose triangular factor has a positive diagonal."""
    packed, tau = fl.geqrf(matrix)
    signs = packed.diagonal(dim1=-2, dim2=-1).sgn()
    return fl.linalg_householder_product(packed, tau) * signs.unsqueeze(-2)


class _Orthogonal(Module):
    """Maps any matrix (..., m, n) to one with orthonormal columns, or rows where m < n."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError(
                "The householder parametrization does not support complex tensors: use "
                "matrix_exp or cayley."
            )
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.size(-2) < X.size(-1)
        tall = X.mT if wide else X
        reflected = self.orthogonal_map == "householder"
        Q = self._by_reflections(tall) if reflected else self._by_rotation(tall)
        if getattr(self, "base", None) is not None:
            Q = self.base @ Q
        return Q.mT if wide else Q

    def _by_rotation(self, X: Tensor) -> Tensor:
        n, k = X.shape[-2:]
        lower = X.tril()
        if n != k:
            lower = fl.cat([lower, X.new_zeros(*X.shape[:-2], n, n - k)], -1)
        skew = lower - lower.mH
        if self.orthogonal_map == "matrix_exp":
            return fl.matrix_exp(skew)[..., :k]
        identity = fl.eye(n, dtype=X.dtype)
        return fl.linalg_solve(identity - skew / 2, identity + skew / 2)[..., :k]

    def _by_reflections(self, X: Tensor) -> Tensor:
        below = X.tril(-1)
        tau = 2 / (1 + (below * below).sum(-2))
        signs = X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        return fl.linalg_householder_product(below, tau) * signs

    def right_inverse(self, Q: Tensor) -> Tensor:
        """An original that gives ``Q``, or what ``Q`` becomes when it is made orthogonal."""
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of "
                f"shape {Q.shape}."
            )
        wide = Q.size(-2) < Q.size(-1)
        tall = Q.mT if wide else Q
        if not hasattr(self, "base"):
            return self._reflections(tall, wide)
        n, k = tall.shape[-2:]
        if n != k:
            tall = fl.cat([tall, fl.randn(*tall.shape[:-2], n, n - k, dtype=tall.dtype)], -1)
        done = n == k and _is_orthogonal(tall)
        self.base = tall.clone() if done else _orthogonalized(tall)
        start = fl.zeros_like(Q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)  # every map takes it to the identity
        return start

    def _reflections(self, tall: Tensor, wide: bool) -> Tensor:
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        packed, tau = fl.geqrf(tall)
        signs = packed.diagonal(dim1=-2, dim2=-1)
        # Where the factorization left a column as it was, `forward` reflects it: tau is 2 there.
        signs.copy_(fl.where((signs < 0) ^ (tau == 0), -1.0, 1.0))
        return packed.mT if wide else packed


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Parametrizes a weight (..., m, n) so that it has orthonormal columns (rows where m < n).

    ``orthogonal_map`` is "matrix_exp" or "cayley", of a skew-symmetric matrix, or "householder",
    a product of reflections; by default the first for square and complex weights and else the
    last. ``use_trivialization`` multiplies by a constant matrix in front, ``base`` (Lezcano
    Casado, 2019), which makes every orthogonal matrix assignable. Raises ValueError for an unknown
    name or map and for weights of fewer than two dimensions.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
            f"{orthogonal_map}"
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
