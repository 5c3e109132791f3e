"""What all distributions share: shapes, checks, sampling without gradients, expansion."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ..autograd import no_grad
from ..tensor import Size, Tensor
from . import constraints
from .utils import is_lazy

Shape = Sequence[int]


class Distribution:
    """A batch of distributions of one family.

    A sample has shape ``sample_shape + batch_shape + event_shape``; `log_prob` folds the event
    away. A subclass names its parameters and what they must satisfy in `arg_constraints`, and the
    set its samples come from in `support`.
    """

    has_rsample: Any = False
    has_enumerate_support: Any = False
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check parameters and values if they are not told."""
        if value not in (True, False):
            raise ValueError(f"expected True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(
        self,
        batch_shape: Shape = (),
        event_shape: Shape = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()
        super().__init__()

    def _check_parameters(self) -> None:
        try:
            wanted = self.arg_constraints
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `arg_constraints`. Please set `arg_constraints = "
                "{}` or initialize the distribution with `validate_args=False` to turn off "
                "validation.",
                stacklevel=3,
            )
            return
        for name, constraint in wanted.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and is_lazy(type(self), name):
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape "
                    f"{tuple(value.shape)}) of distribution {self!r} to satisfy the constraint "
                    f"{constraint!r}, but found invalid values:\n{value}"
                )

    # ------------------------------------------------------------ what a family declares
    @property
    def arg_constraints(self) -> Mapping[str, constraints.Constraint]:
        """For each parameter's name what it must satisfy."""
        raise NotImplementedError

    @property
    def support(self) -> Any:
        """The set that samples come from, as a constraint."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The expected value."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The most probable value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw samples through which gradients flow to the parameters."""
        raise NotImplementedError

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density or probability at `value`."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values up to `value`."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The number up to which values have probability `value`: the inverse of `cdf`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Every value of a discrete distribution, along a new first dimension.

        The result has shape ``(values,) + batch_shape + event_shape``; unless `expand`, the batch's
        dimensions have size 1.
        """
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy, in nats."""
        raise NotImplementedError

    def expand(self, batch_shape: Shape, _instance: Any = None) -> Any:
        """The same distributions, their parameters expanded to `batch_shape`."""
        raise NotImplementedError

    # ------------------------------------------------------------ what follows from it
    @property
    def batch_shape(self) -> Size:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw of one distribution."""
        return self._event_shape

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw samples, outside the tape."""
        with no_grad():
            return self.rsample(sample_shape)

    def sample_n(self, n: int) -> Tensor:
        """Draw `n` samples; `sample` does the same for ``(n,)``."""
        warnings.warn(
            "`sample_n(n)` will be deprecated. Use `sample((n,))` instead.",
            FutureWarning,
            stacklevel=2,
        )
        return self.sample((n,))

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return self.entropy().exp()

    def _extended_shape(self, sample_shape: Shape = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        event, shape = self._event_shape, value.size()
        tail = shape[max(0, len(shape) - len(event)) :]
        if tail != event:
            raise ValueError(
                f"The right-most size of value must match event_shape: {shape} vs {event}."
            )
        expected = self._batch_shape + event
        for i, j in zip(reversed(shape), reversed(expected), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape: "
                    f"{shape} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `support` to enable sample validation. Please "
                "initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if not bool(support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(shape)}) to be "
                f"within the support ({support!r}) of the distribution {self!r}, but found "
                f"invalid values:\n{value}"
            )

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """A distribution to fill in `expand`: `_instance`, or a new one of this one's class.

        NotImplementedError where a subclass has another constructor than `cls`, since its `expand`
        cannot be that of `cls`.
        """
        if _instance is None and type(self).__init__ is not cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom "
                "__init__ method must also define a custom .expand() method."
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def __repr__(self) -> str:
        names = [n for n in self.arg_constraints if n in self.__dict__]
        inside = ", ".join(f"{n}: {_short(self.__dict__[n])}" for n in names)
        return f"{type(self).__name__}({inside})"


def _short(value: Any) -> str:
    return f"{value}" if value.numel() == 1 else str(value.size())


class Family(Distribution):
    """A distribution of this library, whose declaration says how it is expanded.

    Every tensor that `arg_constraints` names has the batch's dimensions before those of one value
    of its constraint.
    """

    @property
    def _parameters(self) -> Mapping[str, constraints.Constraint]:
        return self.arg_constraints

    def _check_value(self, value: Any) -> None:
        if self._validate_args:
            self._validate_sample(value)

    def expand(self, batch_shape: Shape, _instance: Any = None) -> Any:
        """The same distributions, their parameters expanded to `batch_shape`."""
        here = __name__.rpartition(".")[0]
        declared = next(c for c in type(self).__mro__ if c.__module__.startswith(here))
        new = self._get_checked_instance(declared, _instance)
        shape = Size(batch_shape)
        for name, value in self.__dict__.items():
            derived = name not in self._parameters and is_lazy(type(self), name)
            if not derived and name not in new.__dict__:
                new.__dict__[name] = self._expanded(name, value, shape)
        new._batch_shape = shape
        return new

    def _expanded(self, name: str, value: Any, batch_shape: Size) -> Any:
        """What attribute `name` is in a copy of another batch shape."""
        constraint = self._parameters.get(name)
        if constraint is not None:
            own = value.dim() - constraint.event_dim
            return value.expand(batch_shape + value.shape[own:])
        return value.expand(batch_shape) if isinstance(value, Distribution) else value
