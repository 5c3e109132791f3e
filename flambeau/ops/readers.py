"""The raw reader: every op as a function of arrays, for derivative rules and composites.

``RAW.softmax(x, 1)`` computes on arrays what ``flambeau.softmax`` computes on tensors; nothing is
recorded and no dtype is promoted beyond what NumPy does. Half-precision floats are computed in
float32 and rounded once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..backends import sparse
from ..backends.cpu import selection
from ..backends.cpu.scalars import SPECIAL, numpy_function
from ..compiler.expressions import PRIMITIVES, render_python
from .record import COMPARE, Op, find

_HALF = tuple(t.numpy_dtype for t in dtypes.HALF)


def evaluator(op: Op) -> Callable[..., Any]:
    """The formula of a pointwise op as a Python function of arrays, in signature order."""
    made = _EVALUATORS.get(op)
    if made is None:
        names = list(op.signature.parameters)
        rendered = render_python(op.expression, {n: n for n in names}, "N_")
        body = "".join(f"    {line}\n" for line in rendered.statements)
        source = f"def {op.name}({', '.join(names)}):\n{body}    return {rendered.text}\n"
        space = NumpyNames()
        exec(compile(source, f"<formula of {op.name}>", "exec"), space)
        made = _EVALUATORS[op] = space[op.name]
    return made


_EVALUATORS: dict[Op, Callable[..., Any]] = {}


class NumpyNames(dict[str, Any]):
    """Globals for rendered formulas: ``N_exp`` is the NumPy function behind ``exp``."""

    def __init__(self) -> None:
        super().__init__(__name__=__name__, __builtins__=__builtins__)
        for name in PRIMITIVES:
            if name not in _LAZY:
                self[f"N_{name}"] = numpy_function(name)
        for name in _LAZY:
            self[f"N_{name}"] = functools.partial(_late, name)


_LAZY = SPECIAL


def _late(name: str, *args: Any) -> Any:
    return numpy_function(name)(*args)


def _evaluate_raw(op: Op, *args: Any, **kwargs: Any) -> Any:
    bound = op.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    values = list(bound.arguments.values())
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    half = next((a.dtype for a in arrays if a.dtype in _HALF), None)
    if half is None:
        return np.asarray(evaluator(op)(*values))
    wide = [
        v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype in _HALF else v
        for v in values
    ]
    result = np.asarray(evaluator(op)(*wide))
    return result if op.promote == COMPARE else result.astype(half)


def number_array(value: Any, like: Any = None) -> Any:
    """A Python number as a 0-d array of the dtype it takes beside the array `like`."""
    operands = [dtypes.Operand(dtypes.scalar_dtype(value), 0)]
    if like is not None:
        operands.append(dtypes.Operand(dtypes.from_numpy_dtype(like.dtype), 2 if like.ndim else 1))
    return np.asarray(value).astype(dtypes.result_dtype(operands).numpy_dtype)


class RawReader:
    """Looks every op up by name; see the module's docstring."""

    recorded = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        op = find(name)
        if op is None:
            if name not in PRIMITIVES:
                raise AttributeError(f"no op is called {name!r}")
            function = numpy_function(name)
        elif op.family == "pointwise":
            function = functools.partial(_evaluate_raw, op)
        elif op.family == "composite" and name in PRIMITIVES:
            function = numpy_function(name)
        elif op.family == "composite":
            function = functools.partial(op.forward, self)
        elif op.extras:
            function = functools.partial(_without_extras, op)
        else:
            function = op.forward
        setattr(self, name, function)
        return function

    @staticmethod
    def cast(x: Any, dtype: dtypes.dtype) -> Any:
        """`x` in another dtype."""
        return x.astype(dtype.numpy_dtype, copy=False)

    @staticmethod
    def constant(x: Any) -> Any:
        """`x`, through which no derivative flows."""
        return x

    @staticmethod
    def from_numpy(x: Any) -> Any:
        """A constant array as this reader's kind of value."""
        return x

    @staticmethod
    def number(value: Any, like: Any = None) -> Any:
        """A Python number as a 0-d array of the dtype it takes beside `like`."""
        return number_array(value, like)

    @staticmethod
    def where(condition: Any, x: Any, y: Any) -> Any:
        """`x` where `condition` holds, else `y`."""
        is_array = isinstance(condition, np.ndarray)
        return selection.where(condition, x, y) if is_array else np.where(condition, x, y)

    @staticmethod
    def sparse_rows(rows: Any, indices: Any, shape: Any, padding_idx: int) -> Any:
        """A sparse array of `shape` with `rows` added at the rows `indices`, but the padding's."""
        at, kept = sparse.row_places(indices, padding_idx)
        flat = rows.reshape(-1, shape[1])
        return sparse.Coordinates(at, flat if kept is None else flat[kept], shape, False)

    @staticmethod
    def sparse_elements(values: Any, dim: int, index: Any, shape: Any) -> Any:
        """A sparse array of `shape` with `values` added at `index` along `dim`."""
        at = sparse.element_places(index, dim, len(shape))
        return sparse.Coordinates(at, values.reshape(-1), shape, False)

    @staticmethod
    def dtype(x: Any) -> dtypes.dtype:
        """The dtype of `x`."""
        return dtypes.from_numpy_dtype(x.dtype)


def _without_extras(op: Op, *args: Any, **kwargs: Any) -> Any:
    results = op.forward(*args, **kwargs)[: op.outputs]
    return results[0] if op.outputs == 1 else results


RAW = RawReader()
