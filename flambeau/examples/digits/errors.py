"""The one error that the demo shows as a single line."""

from __future__ import annotations


class DemoError(Exception):
    """Something the user can put right: its text is the whole message."""
