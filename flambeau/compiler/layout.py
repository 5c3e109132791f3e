"""Named words inside one block of memory that machine code and Python share."""

from __future__ import annotations

import re
from collections.abc import Mapping


def place_names(ir: str, block: str, offsets: Mapping[str, int]) -> str:
    """Return `ir` with every `@name` of `offsets` turned into that many bytes after `@block`.

    >>> place_names("load i32, ptr @busy", "state", {"busy": 64})
    'load i32, ptr getelementptr (i8, ptr @state, i64 64)'
    """
    names = re.compile("@(" + "|".join(map(re.escape, offsets)) + r")\b")

    def place(match: re.Match[str]) -> str:
        return f"getelementptr (i8, ptr @{block}, i64 {offsets[match[1]]})"

    return names.sub(place, ir)
