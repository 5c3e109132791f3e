"""Whether operations are recorded: `no_grad`, `enable_grad`, `inference_mode`, `set_grad_enabled`.

The state belongs to a thread. Generated operator code runs with `FAST` as its globals and reads
only ``PLAIN``: True while no thread has left the ordinary state (recording on), so the ordinary
case costs one global look-up.
"""

from __future__ import annotations

import functools
import inspect
import threading
from _thread import get_ident
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

FAST: dict[str, Any] = {"PLAIN": True}
"""The globals of all generated operator functions."""


class _State(threading.local):
    grad = True
    inference = False
    multithreading = True


_state = _State()
_special: set[int] = set()
"""The threads that have left the ordinary state."""


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require a gradient are recorded in this thread."""
    return _state.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return _state.inference


def switch(grad: bool, inference: bool = False) -> tuple[bool, bool]:
    """Set this thread's state and return the one before."""
    before = (_state.grad, _state.inference)
    _state.grad, _state.inference = grad, inference
    if grad and not inference:
        if _special:
            _special.discard(get_ident())
            FAST["PLAIN"] = not _special
            if _special:  # a thread that left meanwhile may have been overwritten
                FAST["PLAIN"] = False
    else:
        _special.add(get_ident())
        FAST["PLAIN"] = False
    return before


class GradMode:
    """A context manager and decorator that sets the recording state of this thread."""

    grad = True
    inference: bool | None = None
    """Whether inference mode is on inside; None leaves it as it is."""

    _before: Any = None

    def __enter__(self) -> None:
        inference = _state.inference if self.inference is None else self.inference
        # The states before form a chain, because one object may be entered again inside itself.
        self._before = (switch(self.grad and not inference, inference), self._before)

    def __exit__(self, *_: object) -> None:
        (grad, inference), self._before = self._before
        switch(grad, inference)

    def clone(self) -> GradMode:
        """A fresh context of the same setting."""
        return type(self)()

    def __call__(self, f: F) -> F:
        if inspect.isclass(f):
            f.__init__ = self(f.__init__)  # type: ignore[misc]
            return f
        if inspect.isgeneratorfunction(f):
            return self._wrap_generator(f)  # type: ignore[return-value]

        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return f(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

    def _wrap_generator(self, f: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = f(*args, **kwargs)
            step, answer = generator.send, None
            while True:
                try:
                    with self.clone():
                        value = step(answer)
                except StopIteration as stop:
                    return stop.value
                try:
                    step, answer = generator.send, (yield value)
                except BaseException as error:  # pass it on into the generator
                    step, answer = generator.throw, error

        return wrapped


class no_grad(GradMode):
    """Operations are not recorded: ``with no_grad(): ...`` or ``@no_grad()``."""

    grad = False

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        """``@no_grad`` without parentheses works too."""
        self = object.__new__(cls)
        return self if orig_func is None else self(orig_func)


class enable_grad(no_grad):
    """Operations are recorded again, inside `no_grad`."""

    grad = True


class set_multithreading_enabled(GradMode):
    """Whether backward may run in threads of its own; the choice is kept and changes nothing.

    Backward runs in the calling thread here, its kernels in all threads.
    """

    def __init__(self, mode: bool) -> None:
        self.prev, _state.multithreading = _state.multithreading, mode
        self.mode = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _state.multithreading = self.prev

    def clone(self) -> set_multithreading_enabled:
        return type(self)(self.mode)


class set_grad_enabled(GradMode):
    """Record or not, as `mode` says; acts at once, and as a context manager or decorator too."""

    def __init__(self, mode: bool) -> None:
        self.mode = self.grad = mode
        self._created = switch(mode, _state.inference)

    def __enter__(self) -> None:
        # The switch happened when the object was made.
        self._before = (self._created, self._before)
        switch(self.mode, _state.inference)

    def __call__(self, f: F) -> F:
        switch(*self._created)
        return super().__call__(f)

    def clone(self) -> GradMode:
        return type(self)(self.mode)


class inference_mode(GradMode):
    """Like `no_grad`; tensors made inside can never take part in autograd."""

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if isinstance(mode, bool):
            return self
        self.__init__(True)
        return self(mode)

    def __init__(self, mode: bool = True) -> None:
        self.mode = self.inference = bool(mode)
        self.grad = not mode

    def clone(self) -> GradMode:
        return type(self)(self.mode)
