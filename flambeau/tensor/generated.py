"""Generated Python: compiled under a readable name, kept for whoever wants to see it."""

from __future__ import annotations

import linecache
from typing import Any

_SOURCES: dict[str, str] = {}


def source_of(name: str) -> str:
    """The generated Python of an op's function and node."""
    return _SOURCES[name]


def compile_source(name: str, source: str, space: dict[str, Any]) -> None:
    """Run generated `source` of the op `name` with `space` as its globals."""
    file = f"<flambeau {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    _SOURCES[name] = _SOURCES.get(name, "") + source
    exec(compile(source, file, "exec"), space)
