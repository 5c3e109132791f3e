"""One module on several accelerators; without any, the module runs as it is.

What enters has PyTorch's path ``torch.nn.parallel``.
"""

from __future__ import annotations

from .data_parallel import DataParallel, data_parallel

__all__ = ["DataParallel", "data_parallel"]
