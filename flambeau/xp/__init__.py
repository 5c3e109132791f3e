"""The Python array API standard, version 2024.12, over flambeau's tensors.

A library that is written against the standard takes this module for its arrays' namespace:
``x.__array_namespace__()`` returns it. Names, argument lists and type promotion are the standard's
(https://data-apis.org/array-api/2024.12); what computes is the rest of this library, so gradients
flow through. Operators between tensors, such as ``x + y``, keep PyTorch's promotion, and `size` and
`__array__` PyTorch's meaning.

>>> from flambeau import xp
>>> xp.concat([xp.ones(2, dtype=xp.float32), xp.zeros(1, dtype=xp.float64)])
tensor([1., 1., 0.], dtype=torch.float64)
"""

from __future__ import annotations

from math import e, inf, nan, pi

from ..devices import device as Device
from . import (
    creation,
    data_types,
    elementwise,
    fft,
    inspection,
    linalg,
    manipulation,
    searching,
    statistics,
)

__array_api_version__ = "2024.12"
SUPPORTED = frozenset(["2021.12", "2022.12", "2023.12", __array_api_version__])
newaxis = None

_DTYPES = {t.name: t for t in data_types.KINDS["bool"] + data_types.KINDS["numeric"]}
_LINEAR = ["matmul", "matrix_transpose", "tensordot", "vecdot"]
_PARTS = (creation, data_types, elementwise, inspection, manipulation, searching, statistics)
_FUNCTIONS = {name: getattr(part, name) for part in _PARTS for name in part.__all__}
_FUNCTIONS.update({name: getattr(linalg, name) for name in _LINEAR})
globals().update(_DTYPES)
globals().update(_FUNCTIONS)

__all__ = ["Device", "e", "fft", "inf", "linalg", "nan", "newaxis", "pi"]
__all__ += list(_FUNCTIONS)
__all__ += list(_DTYPES)
