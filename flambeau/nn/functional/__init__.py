"""The functions behind the layers: `flambeau.nn.functional`.

Primitives (convolution, linear, average pooling, ...) are the library's own ops under the same
names; they are taken over when first asked for. What is written in terms of others lives in one
file per subject. A file enters if its functions are those of PyTorch's `torch.nn.functional`.
"""

from __future__ import annotations

from typing import Any

from ...tensor import functions as _functions
from . import (
    activations,
    attention,
    class_losses,
    distances,
    dropouts,
    embeddings,
    grids,
    normalizations,
    pooling,
    products,
    sequence_losses,
    spatial,
    value_losses,
    vector_losses,
)
from .activations import *  # noqa: F403
from .attention import *  # noqa: F403
from .class_losses import *  # noqa: F403
from .distances import *  # noqa: F403
from .dropouts import *  # noqa: F403
from .embeddings import *  # noqa: F403
from .grids import *  # noqa: F403
from .normalizations import *  # noqa: F403
from .pooling import *  # noqa: F403
from .products import *  # noqa: F403
from .sequence_losses import *  # noqa: F403
from .spatial import *  # noqa: F403
from .value_losses import *  # noqa: F403
from .vector_losses import *  # noqa: F403

_PRIMITIVES = (
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "bilinear",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_similarity",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "gelu",
    "hardshrink",
    "interpolate",
    "linear",
    "linear_cross_entropy",
    "native_channel_shuffle",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "scaled_dot_product_attention",
    "softplus",
    "softshrink",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
)
__all__ = [*_PRIMITIVES]  # noqa: PLE0604
__all__ += activations.__all__
__all__ += attention.__all__
__all__ += class_losses.__all__
__all__ += distances.__all__
__all__ += dropouts.__all__
__all__ += embeddings.__all__
__all__ += grids.__all__
__all__ += normalizations.__all__
__all__ += pooling.__all__
__all__ += products.__all__
__all__ += sequence_losses.__all__
__all__ += spatial.__all__
__all__ += value_losses.__all__
__all__ += vector_losses.__all__

_functions.offer({name: globals()[name] for name in __all__ if name not in _PRIMITIVES})


def __getattr__(name: str) -> Any:
    if name not in _PRIMITIVES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function = getattr(_functions, name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return __all__
