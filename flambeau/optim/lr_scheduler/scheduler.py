"""`LRScheduler`: counts epochs, writes learning rates, saves and loads itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...tensor import Tensor
from ..optimizer import Optimizer

EPOCH_NOTE = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
    "possible: call `scheduler.step()` without it. While it is given, the closed form of the "
    "schedule is used where there is one."
)


def check_optimizer(optimizer: Any) -> None:
    """Raise TypeError unless `optimizer` is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def detach_value(value: Any) -> Any:
    """`value` itself, or a copy of it if it is a tensor that the schedule will write into."""
    return value.clone() if isinstance(value, Tensor) else value


def group_values(optimizer: Optimizer, key: str) -> list[Any]:
    """The option `key` of every group, tensors copied."""
    return [detach_value(group[key]) for group in optimizer.param_groups]


def set_group_value_(group: dict[str, Any], key: str, value: Any) -> None:
    """Write an option of a group; a tensor keeps its identity and is filled."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def one_per_group(name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """`value` for every group: itself, repeated, or the given sequence; ValueError if too short."""
    groups = optimizer.param_groups
    if not isinstance(value, (list, tuple)):
        return [detach_value(value) for _ in groups]
    if len(value) != len(groups):
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} "
            f"values, param_groups has {len(groups)}."
        )
    return [detach_value(v) for v in value]


class LRScheduler:
    """The base of all schedules; a subclass gives ``get_lr()``, the rates at ``last_epoch``.

    The initial rates are remembered as ``group["initial_lr"]``. With `last_epoch` other than -1 the
    schedule resumes and finds them there (KeyError if not). Raises TypeError for an `optimizer`
    that is none.
    """

    optimizer: Optimizer

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", detach_value(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0. Load the optimizer's state before making the "
                    "scheduler, or start with last_epoch=-1."
                )
        self.base_lrs: list[Any] = group_values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._watch_steps_()
        self._step_count = 0
        self._is_initial = False
        self._get_lr_called_within_step = False
        self._last_lr: list[Any] = []
        self._initial_step()

    def _watch_steps_(self) -> None:
        """Have the optimizer note that it has stepped, to warn when the order of calls is wrong."""
        optimizer = self.optimizer
        if optimizer._opt_called is None:
            optimizer._opt_called = False
            optimizer._own_step = optimizer.__dict__.get("step")

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The learning rates that were set last, one for each group."""
        return [detach_value(lr) for lr in self._last_lr]

    def get_lr(self) -> list[Any]:
        """The learning rates at ``last_epoch``, given those before; called by `step`."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or to `epoch`, and set the optimizer's learning rates."""
        if self._step_count == 1:
            self._check_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_NOTE, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _check_order(self) -> None:
        """Warn when the first call comes before the optimizer's, which skips a value."""
        optimizer = self.optimizer
        if optimizer.__dict__.get("step") is not optimizer._own_step:
            warnings.warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
                "initialization. Please, make sure to call `optimizer.step()` before "
                "`lr_scheduler.step()`.",
                UserWarning,
                stacklevel=3,
            )
        elif not optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in "
                "the opposite order: `optimizer.step()` before `lr_scheduler.step()`, or the first "
                "value of the learning rate schedule is skipped.",
                UserWarning,
                stacklevel=3,
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._computing():
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                closed_form = getattr(self, "_get_closed_form_lr", self.get_lr)
                values = closed_form()
        self._write_(values)

    def _write_(self, values: list[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, values, strict=False):
            set_group_value_(group, "lr", lr)
        self._last_lr = group_values(self.optimizer, "lr")

    @contextmanager
    def _computing(self) -> Iterator[None]:
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _current(self) -> list[Any]:
        """The rates as they stand; warns where `get_lr` is called from outside `step`."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )
        return group_values(self.optimizer, "lr")
