"""`Size`, the tuple that a tensor's shape is."""

from __future__ import annotations

import math
from typing import Any

_item = tuple.__getitem__


class Size(tuple[int, ...]):
    """The sizes of a tensor's dimensions: a tuple with ``numel()``."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements of a tensor of this size."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index: Any) -> Any:
        part = _item(self, index)
        return Size(part) if part.__class__ is tuple else part

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __mul__(self, n: Any) -> Size:
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __reduce__(self) -> Any:
        return (Size, (tuple(self),))
