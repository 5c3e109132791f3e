"""What a program can ask the namespace about itself."""

from __future__ import annotations

from typing import Any

from ..devices import CPU, device
from ..dtypes import dtype, get_default_dtype, int64
from .data_types import KINDS, isdtype


class __array_namespace_info__:
    """Capabilities, devices and data types, as the array API standard wants them told.

    >>> from flambeau import xp
    >>> xp.__array_namespace_info__().default_dtypes()["integral"]
    torch.int64
    """

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks index, shapes may depend on data, and NumPy has up to 64 axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> device:
        """The device of new tensors."""
        return CPU

    def devices(self) -> list[device]:
        """The devices that hold values."""
        return [CPU]

    def default_dtypes(self, *, device: Any = None) -> dict[str, dtype]:
        """The data types of new tensors, by kind."""
        real = get_default_dtype()
        return {
            "real floating": real,
            "complex floating": real.to_complex(),
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, dtype]:
        """The standard's data types by name: all, or those of one kind or several."""
        wanted = ("bool", "numeric") if kind is None else kind
        known = KINDS["bool"] + KINDS["numeric"]
        return {t.name: t for t in known if isdtype(t, wanted)}


__all__ = ["__array_namespace_info__"]
