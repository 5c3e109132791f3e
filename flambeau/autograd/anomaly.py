"""Anomaly mode, and the source lines that errors about the tape quote.

A node notes where it was recorded as ``(code, instruction)``; turning that into file and line is
left until an error needs it. In anomaly mode the whole stack is kept and every gradient is checked.
"""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import numpy as np

from .grad_mode import FAST

# Files of the library, and the names its generated code goes by.
_OURS = (os.path.dirname(os.path.dirname(__file__)) + os.sep, "<flambeau ")
_IS_OURS: dict[str, bool] = {}
_frame = sys._getframe
_enabled = False
_check_nan = True
FAST["TRACE"] = None
_packing: Callable[[FrameType], None] | None = None


def is_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _enabled


def set_enabled(mode: bool, check_nan: bool = True) -> tuple[bool, bool]:
    """Switch anomaly mode; returns the state before."""
    global _enabled, _check_nan
    before = (_enabled, _check_nan)
    _enabled, _check_nan = mode, check_nan
    choose_trace()
    return before


def choose_trace(packing: Callable[[FrameType], None] | None = None) -> None:
    """Decide what new nodes call to note where they are made.

    `packing` is given the frame in which a node has just been filled, when saved tensors are to be
    packed; the last one given stands until another call.
    """
    global _packing
    _packing = packing if packing is not None else _packing
    where = _stack if _enabled else None
    if _packing is None:
        FAST["TRACE"] = where
        return
    pack = _packing

    def trace() -> Any:
        pack(sys._getframe(1))
        return caller() if where is None else where()

    FAST["TRACE"] = trace


def stop_packing() -> None:
    """Let new nodes keep what they save as it is."""
    global _packing
    _packing = None
    choose_trace()


class set_detect_anomaly:
    """Switch anomaly mode at once, and back when used as a context manager."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = set_enabled(mode, check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        set_enabled(*self._before)


class detect_anomaly:
    """Inside, backward names the forward line of a failing node and refuses NaN gradients."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._before = (False, True)

    def __enter__(self) -> None:
        self._before = set_enabled(True, self._check_nan)

    def __exit__(self, *_: object) -> None:
        set_enabled(*self._before)


def _stack() -> traceback.StackSummary:
    return traceback.extract_stack(sys._getframe(2))


def caller() -> tuple[CodeType, int] | None:
    """Where the user's code called into the library, as ``(code, instruction)``."""
    frame: FrameType | None = _frame(2)
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        ours = _IS_OURS.get(file)
        if ours is None:
            ours = _IS_OURS[file] = file.startswith(_OURS)
        if not ours:
            return (code, frame.f_lasti)
        frame = frame.f_back
    return None


def render_place(at: Any) -> str:
    """Where an operation was called: file, line and source text."""
    if at is None:
        return "(place unknown)"
    if isinstance(at, traceback.StackSummary):
        return "".join(traceback.format_list(at))
    code, instruction = at
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    text = linecache.getline(code.co_filename, line).strip()
    return f'File "{code.co_filename}", line {line}, in {code.co_name}: {text}'


def place_of(node: Any) -> Any:
    """Where `node` was recorded, or None."""
    return getattr(node, "at", None)


def _has_nan(g: Any) -> bool:
    array = getattr(g, "_d", g)
    return (
        isinstance(array, np.ndarray) and array.dtype.kind in "fcV" and bool(np.isnan(array).any())
    )


def run_checked(n: Any, g: Any, push: Any, keep: bool, create: bool) -> None:
    """Run one node as the engine does, naming its forward call when it fails or makes a NaN."""
    edges = [e for e in n.edges() if e is not None]
    before = [e.g for e in edges]
    try:
        (n.bwg if create else n.bw)(g, push, keep)
    except Exception as error:
        error.add_note(
            f"Error detected in {n.name()}. Forward call that caused the error:\n"
            f"{render_place(place_of(n))}"
        )
        raise
    if not _check_nan:
        return
    for number, (e, old) in enumerate(zip(edges, before, strict=True)):
        if e.g is not None and e.g is not old and _has_nan(e.g):
            raise RuntimeError(
                f"Function '{n.name()}' returned nan values in its {number}th output. "
                f"Forward call:\n{render_place(place_of(n))}"
            )
