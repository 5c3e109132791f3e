"""The directive `recorded-runs`: the tables of the benchmark runs kept in docs/figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import report  # noqa: E402


def text(folder: Path) -> str:
    """Return every run in a folder as Markdown, or a sentence that says there is none."""
    runs = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("benchmarks*.json"))
    ]
    return "\n".join(map(report.render, runs)) or "No run is recorded.\n"


class RecordedRuns(SphinxDirective):
    """Takes no arguments; stands in a Markdown page."""

    def run(self) -> list[Node]:
        self.env.note_reread()
        return self.parse_text_to_nodes(text(Path(self.env.srcdir) / "figures"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("recorded-runs", RecordedRuns)
    return {"parallel_read_safe": True}
