"""Schedules given by the user as functions of the epoch."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from ..optimizer import Optimizer
from .scheduler import LRScheduler

Factor = Callable[[int], float]


class LambdaLR(LRScheduler):
    """Multiplies the initial rates by ``lr_lambda(epoch)``; one function, or one for each group.

    Functions are not saved by `state_dict`; callable objects are, by their attributes. Raises
    ValueError when there is another number of functions than of groups.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Factor | list[Factor], last_epoch: int = -1
    ) -> None:
        self.lr_lambdas: list[Any] = _per_group(optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        del state["lr_lambdas"]
        state["lr_lambdas"] = [
            None if isinstance(f, types.FunctionType) else f.__dict__.copy()
            for f in self.lr_lambdas
        ]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; functions stay as they were given."""
        kept = {key: value for key, value in state_dict.items() if key != "lr_lambdas"}
        super().load_state_dict(kept)
        for f, saved in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if saved is not None:
                f.__dict__.update(saved)

    def get_lr(self) -> list[Any]:
        self._current()
        return [
            base * factor(self.last_epoch)
            for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]


class MultiplicativeLR(LambdaLR):
    """Multiplies the rates by ``lr_lambda(epoch)`` at every epoch after the first."""

    def get_lr(self) -> list[Any]:
        lrs = self._current()
        if self._is_initial:
            return lrs
        return [
            lr * factor(self.last_epoch) for lr, factor in zip(lrs, self.lr_lambdas, strict=True)
        ]


def _per_group(optimizer: Optimizer, functions: Factor | list[Factor]) -> list[Factor]:
    groups = getattr(optimizer, "param_groups", ())
    if not isinstance(functions, (list, tuple)):
        return [functions] * len(groups)
    if len(functions) != len(groups):
        raise ValueError(f"Expected {len(groups)} lr_lambdas, but got {len(functions)}")
    return list(functions)
