"""How the documentation is built: `sphinx-build docs docs/_build/html`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "flambeau"
author = "The flambeau authors"
copyright = "The flambeau authors"
release = version = installed_version("flambeau")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "plain_docstrings",
    "reference_pages",
    "recorded_runs",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = f"flambeau {release}"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#b8420a", "color-brand-content": "#b8420a"},
    "dark_css_variables": {"color-brand-primary": "#ff8a4c", "color-brand-content": "#ff8a4c"},
}
