"""Normal vectors."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Size, Tensor
from ..tensor import functions as fl
from . import constraints
from .distribution import Family, Shape
from .utils import lazy_property, standard_normal


def squared_distance(factor: Tensor, x: Tensor) -> Tensor:
    """x^T M^-1 x for vectors (..., n), where M = L L^T and L is the triangular `factor`."""
    if factor.dim() == 2:
        columns = x.reshape(-1, x.size(-1)).mT
        solved = fl.linalg_solve_triangular(factor, columns, upper=False)
        return solved.pow(2).sum(-2).reshape(x.shape[:-1])
    solved = fl.linalg_solve_triangular(factor, x.unsqueeze(-1), upper=False)
    return solved.pow(2).sum([-2, -1])


def times(matrix: Tensor, x: Tensor) -> Tensor:
    """Products of matrices (..., m, n) and vectors (..., n)."""
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)


def half_log_det(factor: Tensor) -> Tensor:
    """Half of log det M, where M = L L^T and L is the triangular `factor`."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def cholesky_of_inverse(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse of positive definite matrices."""
    # Factored from the last row up, precision = U U^T; then U^-T is the factor of the inverse.
    upper = fl.linalg_cholesky(precision.flip((-2, -1))).flip((-2, -1))
    unit = fl.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return fl.linalg_solve_triangular(upper.mT, unit, upper=False)


def only_matrix(**given: Any) -> tuple[str, Tensor]:
    """The name and value of the one matrix that is given; ValueError for none or several."""
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise ValueError(
            "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        )
    return found[0]


class ByMatrix(Family):
    """Given by a covariance matrix, by its inverse or by its Cholesky factor.

    `_factor` is that factor, with no more batch dimensions than were given.
    """

    _factor: Tensor

    def _set_factor(self, name: str, matrix: Tensor) -> None:
        if name == "scale_tril":
            self._factor = matrix
        elif name == "covariance_matrix":
            self._factor = fl.linalg_cholesky(matrix)
        else:
            self._factor = cholesky_of_inverse(matrix)

    def _matrix_shape(self) -> Size:
        return Size((*self._batch_shape, *self._factor.shape[-2:]))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        return self._factor.expand(self._matrix_shape())

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return (self._factor @ self._factor.mT).expand(self._matrix_shape())

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        return fl.cholesky_inverse(self._factor).expand(self._matrix_shape())


class MultivariateNormal(ByMatrix):
    """Normal vectors of mean `loc`, by a covariance matrix, its inverse or its Cholesky factor."""

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = only_matrix(
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )
        if matrix.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch = fl.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.loc = loc.expand((*batch, loc.shape[-1]))
        setattr(self, name, matrix.expand((*batch, *matrix.shape[-2:])))
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._set_factor(name, matrix)  # now that the matrix is known to have one

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        squares = self._factor.pow(2).sum(-1)
        return squares.expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        noise = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + times(self._factor, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        distance = squared_distance(self._factor, value - self.loc)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + distance) - half_log_det(self._factor)

    def entropy(self) -> Tensor:
        constant = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (constant + half_log_det(self._factor)).expand(self._batch_shape)


class LowRankMultivariateNormal(Family):
    """Normal vectors whose covariance is ``cov_factor @ cov_factor.mT + diag(cov_diag)``.

    With a factor of shape (..., n, r), inverses and determinants cost O(n r^2), by the formula of
    Sherman, Morrison and Woodbury and the matrix determinant lemma.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        cov_factor: Tensor,
        cov_diag: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, "
                "with optional leading batch dimensions"
            )
        if cov_factor.shape[-2:-1] != event:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event[0]} x m")
        if cov_diag.shape[-1:] != event:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event}")
        shapes = (loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        try:
            batch = fl.broadcast_shapes(*shapes)
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, "
                f"cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand((*batch, *event))
        self.cov_factor = cov_factor.expand((*batch, *cov_factor.shape[-2:]))
        self.cov_diag = cov_diag.expand((*batch, *event))
        self._factor, self._diag = cov_factor, cov_diag
        self._capacitance = capacitance_of(cov_factor, cov_diag)
        super().__init__(batch, event, validate_args=validate_args)

    def _matrix_shape(self) -> Size:
        return self._batch_shape + self._event_shape + self._event_shape

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @lazy_property
    def variance(self) -> Tensor:
        squares = self._factor.pow(2).sum(-1) + self._diag
        return squares.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        root = self._diag.sqrt().unsqueeze(-1)
        scaled = self._factor / root
        unit = fl.eye(scaled.shape[-2], dtype=scaled.dtype, device=scaled.device)
        return (root * fl.linalg_cholesky(scaled @ scaled.mT + unit)).expand(self._matrix_shape())

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        matrix = self._factor @ self._factor.mT + self._diag.diag_embed()
        return matrix.expand(self._matrix_shape())

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        scaled = self._factor.mT / self._diag.unsqueeze(-2)
        solved = fl.linalg_solve_triangular(self._capacitance, scaled, upper=False)
        matrix = self._diag.reciprocal().diag_embed() - solved.mT @ solved
        return matrix.expand(self._matrix_shape())

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        of_factor = standard_normal(shape[:-1] + self.cov_factor.shape[-1:], self.loc)
        of_diag = standard_normal(shape, self.loc)
        return self.loc + times(self._factor, of_factor) + self._diag.sqrt() * of_diag

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        parts = self._factor, self._diag, self._capacitance
        distance = low_rank_distance(*parts, value - self.loc)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + low_rank_log_det(*parts) + distance)

    def entropy(self) -> Tensor:
        log_det = low_rank_log_det(self._factor, self._diag, self._capacitance)
        constant = self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (0.5 * (constant + log_det)).expand(self._batch_shape)


def capacitance_of(factor: Tensor, diag: Tensor) -> Tensor:
    """The Cholesky factor of I + W^T D^-1 W."""
    inside = (factor.mT / diag.unsqueeze(-2)) @ factor
    unit = fl.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return fl.linalg_cholesky(inside + unit)


def low_rank_log_det(factor: Tensor, diag: Tensor, capacitance: Tensor) -> Tensor:
    """log det(W W^T + D)."""
    return 2 * half_log_det(capacitance) + diag.log().sum(-1)


def low_rank_distance(factor: Tensor, diag: Tensor, capacitance: Tensor, x: Tensor) -> Tensor:
    """x^T (W W^T + D)^-1 x."""
    inner = times(factor.mT / diag.unsqueeze(-2), x)
    return (x.pow(2) / diag).sum(-1) - squared_distance(capacitance, inner)
