"""`DataParallel`: a batch shared out among the accelerators; there are none, so it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..modules.module import Module

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Runs ``module``, whose parameters keep the prefix ``module.`` in the state.

    Args:
        device_ids, output_device: numbers of accelerators, which are ignored as there are none.
        dim: the dimension of the batch.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[Any] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module makes of the arguments."""
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: Any = None,
) -> Any:
    """``module(*inputs)`` on accelerators: always RuntimeError, as there are none."""
    raise RuntimeError("data_parallel: there is no accelerator to share the batch among")
