"""The Tensor: data, views, in-place changes, indexing, printing, and functions derived from ops.

Enter here: what is about tensors in general. What is about one op belongs into its record.
"""

from __future__ import annotations

import warnings

from .. import ops
from .core import from_array, is_tensor
from .functions import publish
from .methods import install_methods
from .parameter import Buffer, Parameter
from .shape import Size
from .tensor import Tensor

from . import (  # isort: skip
    arrangement,
    autocasting,
    constructors,
    conversion,
    creation,
    eigenpairs,
    exchange,
    layouts,
    members,
    modes,
    operators,
    process,
    random,
    ranges,
    storages,
    strides,
    windows,
)

install_methods()

# A division by zero or an overflow is a value here, not an event; NumPy would report each one of
# those that its functions meet when this library calls them.
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"flambeau\.")

__all__ = [
    "Buffer",
    "Parameter",
    "Size",
    "Tensor",
    "arrangement",
    "autocasting",
    "constructors",
    "conversion",
    "creation",
    "eigenpairs",
    "exchange",
    "from_array",
    "is_tensor",
    "layouts",
    "members",
    "modes",
    "operators",
    "ops",
    "process",
    "publish",
    "random",
    "ranges",
    "storages",
    "strides",
    "windows",
]
