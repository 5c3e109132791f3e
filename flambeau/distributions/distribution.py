"""What all distributions share: batch and event shapes, sampling without gradients, checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import no_grad
from ..tensor import Size, Tensor
from ..tensor import functions as fl


class Distribution:
    """A batch of distributions of one family.

    A sample has shape ``sample_shape + batch_shape + event_shape``; `log_prob` folds the event
    away. Subclasses declare `checks`: for each argument a condition that must hold everywhere.
    """

    has_rsample = False
    checks: dict[str, tuple[str, Any]] = {}

    def __init__(
        self,
        batch_shape: Sequence[int] = (),
        event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is False:
            return
        for name, (wanted, holds) in self.checks.items():
            value = getattr(self, name, None)
            if value is not None and not bool(holds(value).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape "
                    f"{tuple(value.shape)}) of distribution {self!r} to be {wanted}, but found "
                    f"invalid values:\n{value}"
                )

    @property
    def batch_shape(self) -> Size:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw of one distribution."""
        return self._event_shape

    @property
    def mean(self) -> Tensor:
        """The expected value."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw samples, outside the tape."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw samples through which gradients flow to the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no reparameterised samples")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density or probability at `value`."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy, in nats."""
        raise NotImplementedError

    def _shape(self, sample_shape: Sequence[int]) -> tuple[int, ...]:
        return (*sample_shape, *self._batch_shape, *self._event_shape)

    def __repr__(self) -> str:
        parts = [f"{n}: {_short(getattr(self, n))}" for n in self.checks if hasattr(self, n)]
        return f"{type(self).__name__}({', '.join(parts)})"


def _short(value: Any) -> str:
    return str(value) if value.numel() == 1 else str(value.size())


def broadcast(*values: Any) -> list[Any]:
    """Numbers and tensors as tensors of one shape and dtype."""
    tensors = [v for v in values if isinstance(v, Tensor)]
    like = tensors[0] if tensors else None
    dtype = None if like is None else like.dtype
    made = [v if isinstance(v, Tensor) else fl.tensor(float(v), dtype=dtype) for v in values]
    return list(fl.broadcast_tensors(*made))


def positive(x: Tensor) -> Tensor:
    """Where `x` is positive."""
    return x > 0


def unit(x: Tensor) -> Tensor:
    """Where `x` is a probability."""
    return (x >= 0) & (x <= 1)


def anything(x: Tensor) -> Tensor:
    """Where `x` is a number."""
    return x == x
