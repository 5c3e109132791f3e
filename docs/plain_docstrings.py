"""Reads docstrings as the plain text they are: paragraphs, lists, `names` and `>>>` examples.

Sphinx takes a docstring for reStructuredText, where a lone asterisk or an indented formula is a
mistake. Here such characters mean themselves.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(:\w+:)?(`{1,2})(.+?)\2")
SPECIAL = re.compile(r"([\\*_|`])")
BULLET = re.compile(r"^[-*] ")


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """Split lines at blank ones; a list and an example start a block of their own."""
    block: list[str] = []
    for line in lines:
        starts = line.startswith(">>>") and not (block and block[0].startswith(">>>"))
        if not line.strip() or starts:
            if block:
                yield block
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield block


def plain(text: str) -> str:
    """Escape what reStructuredText would read something into; `names` become code."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        parts.append(SPECIAL.sub(r"\\\1", text[end : match.start()]))
        parts.append(f"\\ ``{match[3].strip()}``\\ ")
        end = match.end()
    parts.append(SPECIAL.sub(r"\\\1", text[end:]))
    return "".join(parts)


def render(block: list[str]) -> list[str]:
    """Return one block as reStructuredText."""
    first, *rest = block
    if first.startswith(">>>"):
        return [*block, ""]
    if first.startswith("|"):
        return render_table(block)
    if rest and first.endswith(":") and all(line.startswith(" ") for line in rest):
        # A heading such as "Shape:" with its entries indented below it.
        items = render_items(inspect.cleandoc("\n".join(rest)).splitlines(), r"^(?! )", "- ")
        return [f"**{plain(first[:-1])}**", "", *items]
    if first.startswith(" ") or any("  " in line.strip() for line in rest):
        return ["::", "", *("    " + line for line in block), ""]
    return render_items(block, r"^[-*] ", "")


def render_items(lines: list[str], start: str, mark: str) -> list[str]:
    """Return a list, or one paragraph if no line but the first matches ``start``."""
    items: list[list[str]] = []
    for line in lines:
        if not items or re.match(start, line):
            items.append([])
        items[-1].append(line.strip())
    rendered = []
    for item in items:
        text = " ".join(item)
        found = BULLET.match(text)
        text = text[2:] if found else text
        rendered += [("- " if found else mark) + plain(text), ""]
    return rendered


def render_table(lines: list[str]) -> list[str]:
    """Return a table that was drawn with ``|``; its second line is a rule."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rendered = [".. list-table::", "   :header-rows: 1", ""]
    for head, *cells in rows[:1] + rows[2:]:
        rendered += [f"   * - {plain(head)}", *(f"     - {plain(cell)}" for cell in cells)]
    return [*rendered, ""]


def convert(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replace a docstring's lines in place."""
    text = inspect.cleandoc("\n".join(lines)).splitlines()
    lines[:] = [line for block in blocks(text) for line in render(block)]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", convert)
    return {"parallel_read_safe": True}
