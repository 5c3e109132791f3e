"""Modes: contexts that see every function (or every op) that a thread calls inside them."""

from __future__ import annotations

from typing import Any

from .. import devices
from . import interception
from .functions import publish
from .interception import CREATION, LOCAL, hold, release


class TorchFunctionMode:
    """A context whose ``__torch_function__`` sees every public function called inside.

    The method gets the function, the overriding classes among its arguments, the arguments and the
    keyword arguments; while it runs, the mode is off and the one around it is in charge.
    """

    _needed: Any = None
    """The functions that the mode must see; None: all."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __torch_function__")

    def __enter__(self) -> Any:
        if self._needed is None:
            interception.arm()
        else:
            interception.arm_some(self._needed)
        LOCAL.modes.append(self)
        hold()
        return self

    def __exit__(self, *_: object) -> None:
        LOCAL.modes.pop()
        release()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Any:
        """A new instance of the mode, to be entered."""
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that lets every function do what it does."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


class TorchDispatchMode:
    """A context whose ``__torch_dispatch__`` sees every op called inside, below the functions.

    Here an op is what its public function computes: it is recorded for autograd inside, and what
    backward computes is not seen.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __torch_dispatch__")

    def __enter__(self) -> Any:
        interception.arm()
        LOCAL.dispatch_modes.append(self)
        hold()
        return self

    def __exit__(self, *_: object) -> None:
        LOCAL.dispatch_modes.pop()
        release()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Any:
        """A new instance of the mode, to be entered."""
        return cls(*args, **kwargs)


# ---------------------------------------------------------------- the default device
class DeviceContext(TorchFunctionMode):
    """Inside, tensors are made on `device` unless the call names one."""

    _needed = CREATION

    def __init__(self, device: Any) -> None:
        self.device = devices.device(device)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("device") is None and _makes_tensors(func):
            kwargs = {**kwargs, "device": self.device}
        return func(*args, **kwargs)


def _makes_tensors(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name in CREATION and interception.GATES.get(func) is not None


_default: dict[str, Any] = {"context": None}


@publish
def set_default_device(device: Any) -> None:
    """Set the device on which this thread makes tensors unless it is told otherwise.

    None: the CPU again.
    """
    before = _default["context"]
    if before is not None and before in LOCAL.modes:
        LOCAL.modes.remove(before)
        release()
    _default["context"] = None
    if device is None:
        return
    context = DeviceContext(device)
    interception.arm_some(CREATION)
    LOCAL.modes.insert(0, context)
    hold()
    _default["context"] = context


@publish
def get_default_device() -> devices.device:
    """The device on which tensors are made here: the CPU unless a program says otherwise."""
    for mode in reversed(LOCAL.modes):
        if isinstance(mode, DeviceContext):
            return mode.device
    return devices.CPU


devices.entered_by(DeviceContext)
