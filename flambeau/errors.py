"""The few exceptions that are flambeau's own, and the sentences that several floors share."""

from __future__ import annotations


class OutOfMemoryError(RuntimeError):
    """An allocation was refused by the system or by a memory limit."""


class LinAlgError(RuntimeError):
    """A matrix is singular, not positive-definite, or an iteration did not converge."""


class VersionError(RuntimeError):
    """A tensor needed for backward was changed in place after it was saved."""


class ArgumentError(ValueError):
    """A mistake for which PyTorch raises ValueError; NumPy's own become RuntimeErrors."""
