"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler, set_group_value_


class SequentialLR(LRScheduler):
    """Runs each of `schedulers` up to its milestone, then the next from its beginning.

    Raises ValueError unless there is one more scheduler than milestones, for schedulers of another
    optimizer and for `ReduceLROnPlateau`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        _check_members("SequentialLR", "at least one scheduler", schedulers, optimizer)
        for i, member in enumerate(schedulers):
            if isinstance(member, ReduceLROnPlateau):
                raise ValueError(
                    "SequentialLR does not support `ReduceLROnPlateau` scheduler as it requires "
                    "additional kwargs to be specified when calling `step`, but got one at index "
                    f"{i} in the given schedulers sequence."
                )
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than "
                f"the number of milestone points, but got number of schedulers {len(schedulers)} "
                f"and the number of milestones to be equal to {len(milestones)}"
            )
        self._schedulers = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # Every member took its first step when it was made. Take those back, then begin the first.
        for group in optimizer.param_groups:
            set_group_value_(group, "lr", group["initial_lr"])
        self.recursive_undo()
        self._schedulers[0]._initial_step()
        self._last_lr = schedulers[0].get_last_lr()

    def recursive_undo(self, sched: LRScheduler | None = None) -> None:
        """Take back one epoch of every simple scheduler in `sched`, by default all members."""
        target = self if sched is None else sched
        members = getattr(target, "_schedulers", None)
        if members is None:
            target.last_epoch -= 1
            return
        for member in members:
            self.recursive_undo(member)

    def step(self) -> None:  # type: ignore[override]
        """Go to the next epoch."""
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        member = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            _begin_(member)
        else:
            member.step()
        self._last_lr = member.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, with the members' own states."""
        return _state_with_members(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        _load_with_members_(self, state_dict)


class ChainedScheduler(LRScheduler):
    """Steps all of `schedulers` at every step.

    Raises ValueError for none, or for schedulers of different optimizers.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if len(schedulers) < 1:
            raise ValueError(
                "ChainedScheduler expects at least one scheduler to be chained, but got no "
                "scheduler."
            )
        optimizer = optimizer or getattr(schedulers[0], "optimizer", None)
        _check_members("ChainedScheduler", "", schedulers, optimizer)
        self._schedulers = schedulers
        self.optimizer = optimizer  # type: ignore[assignment]
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:  # type: ignore[override]
        """Step every member."""
        for member in self._schedulers:
            member.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, with the members' own states."""
        return _state_with_members(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        _load_with_members_(self, state_dict)


def _check_members(
    owner: str, expected: str, schedulers: Sequence[Any], optimizer: Optimizer | None
) -> None:
    if len(schedulers) < 1:
        raise ValueError(f"{owner} expects {expected}, but got no scheduler.")
    for i, member in enumerate(schedulers):
        if not hasattr(member, "optimizer"):
            raise TypeError(f"{owner} at index {i} should have `optimizer` as its attribute.")
        if member.optimizer is not optimizer:
            raise ValueError(
                f"{owner} expects all schedulers to belong to the same optimizer, but got "
                f"scheduler {type(member).__name__} at index {i} has {member.optimizer}, which is "
                f"different from {type(optimizer).__name__}."
            )


def _begin_(member: LRScheduler) -> None:
    """Put a member at its own epoch 0."""
    members = getattr(member, "_schedulers", None)
    if members is None:
        member._update_lr(0)
    elif isinstance(member, SequentialLR):
        member.last_epoch = 0
        _begin_(members[0])
        member._last_lr = members[0].get_last_lr()
    else:
        for part in members:
            _begin_(part)
        member._last_lr = [group["lr"] for group in member.optimizer.param_groups]


def _state_with_members(scheduler: Any) -> dict[str, Any]:
    left_out = ("optimizer", "_schedulers")
    state = {k: v for k, v in scheduler.__dict__.items() if k not in left_out}
    state["_schedulers"] = [member.state_dict() for member in scheduler._schedulers]
    return state


def _load_with_members_(scheduler: Any, state: dict[str, Any]) -> None:
    scheduler.__dict__.update({k: v for k, v in state.items() if k != "_schedulers"})
    for member, saved in zip(scheduler._schedulers, state["_schedulers"], strict=True):
        member.load_state_dict(saved)
