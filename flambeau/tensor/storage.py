"""What tensors that share memory share: the version counter."""

from __future__ import annotations

from typing import Any


class Storage:
    """Made when a tensor is first viewed (or its output saved); until then it needs none.

    ``version`` counts in-place changes; ``changed_at`` is where the last one was made.
    """

    __slots__ = ("changed_at", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.changed_at: Any = None


class InferenceStorage(Storage):
    """Shared by all tensors made in inference mode: they count no versions.

    Saving a tensor for backward reads its version, so that no other place has to test for these.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.changed_at = None

    @property
    def version(self) -> int:  # type: ignore[override]
        """Always an error."""
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
            "inference mode in computation tracked by autograd. To work around this, you can make "
            "a clone to get a normal tensor and use it in autograd."
        )


INFERENCE = InferenceStorage()
