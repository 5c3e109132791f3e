"""Writes the pages of the reference, one for each public module, from what the module exports."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx

MODULES = (
    "flambeau",
    "flambeau.nn",
    "flambeau.nn.functional",
    "flambeau.nn.init",
    "flambeau.nn.utils",
    "flambeau.optim",
    "flambeau.optim.lr_scheduler",
    "flambeau.utils.data",
    "flambeau.autograd",
    "flambeau.autograd.functional",
    "flambeau.autograd.graph",
    "flambeau.func",
    "flambeau.linalg",
    "flambeau.fft",
    "flambeau.special",
    "flambeau.distributions",
    "flambeau.xp",
    "flambeau.xp.linalg",
    "flambeau.xp.fft",
    "flambeau.cpu",
    "flambeau.settings",
)
# Classes whose methods are their meaning; of the others the class says it all.
WITH_MEMBERS = {"Tensor", "Module", "Optimizer", "Generator", "Function"}


def public_names(module: ModuleType) -> list[str]:
    """Return the names that a module exports, sorted, without modules and foreign objects."""
    # A module that makes its names when they are asked for lists them in __dir__ alone.
    listed = [] if "__dir__" in vars(module) else getattr(module, "__all__", [])
    return sorted(
        name
        for name in set(listed or dir(module))
        if not name.startswith("_")
        and callable(value := getattr(module, name, None))
        and str(getattr(value, "__module__", "")).startswith("flambeau")
        and inspect.getdoc(value)
    )


def entry(module: ModuleType, name: str) -> str:
    """Return the directive that documents one name."""
    if not inspect.isclass(getattr(module, name)):
        return f".. autofunction:: {module.__name__}.{name}\n"
    members = "   :members:\n" if name in WITH_MEMBERS else ""
    return f".. autoclass:: {module.__name__}.{name}\n{members}"


def page(module: ModuleType, seen: dict[int, str]) -> str:
    """Return a module's page; what ``seen`` knows from an earlier page is only referred to."""
    title = module.__name__
    names = public_names(module)
    known = {n: seen[id(getattr(module, n))] for n in names if id(getattr(module, n)) in seen}
    new = [n for n in names if n not in known]
    seen.update({id(getattr(module, n)): f"{title}.{n}" for n in new})
    classes = [n for n in new if inspect.isclass(getattr(module, n))]
    functions = [n for n in new if n not in classes]
    parts = [title, "=" * len(title), "", f".. automodule:: {title}", "   :no-members:", ""]
    for heading, group in (("Functions", functions), ("Classes", classes)):
        if group:
            parts += [heading, "-" * len(heading), ""]
            parts += [entry(module, name) for name in group]
    if known:
        places = ", ".join(f"``{n}`` (:py:obj:`{place}`)" for n, place in known.items())
        parts += [f"Also here: {places}.", ""]
    return "\n".join(parts)


def write_pages(app: Sphinx) -> None:
    """Write every page and the list of them, leaving alone what did not change."""
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    listing = ["Reference", "=========", "", ".. toctree::", "   :maxdepth: 1", ""]
    seen: dict[int, str] = {}
    present = [name for name in MODULES if importlib.util.find_spec(name)]
    for name in present:
        write(folder / f"{name}.rst", page(importlib.import_module(name), seen))
        listing.append(f"   {name}")
    write(folder / "index.rst", "\n".join(listing) + "\n")
    for path in folder.glob("*.rst"):
        if path.stem not in (*present, "index"):
            path.unlink()


def write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
