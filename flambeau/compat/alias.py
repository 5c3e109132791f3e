"""``import torch`` finds flambeau: an import hook that renames, and nothing else.

>>> from flambeau.compat import install, uninstall
>>> install("lightyear")
>>> import lightyear.nn.functional as F
>>> F.__name__
'flambeau.nn.functional'
>>> uninstall("lightyear")
"""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_LIBRARY = __name__.split(".")[0]


class _Renamed(Loader):
    """Hands out a module that is imported already, and leaves it as it was."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    def __init__(self, alias: str) -> None:
        self.alias = alias

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        head, _, rest = name.partition(".")
        if head != self.alias:
            return None
        real = f"{_LIBRARY}.{rest}" if rest else _LIBRARY
        try:
            module = importlib.import_module(real)
        except ModuleNotFoundError as error:
            if error.name != real:
                raise
            raise ModuleNotFoundError(
                f"No module named {name!r}: flambeau has no {real!r}", name=name
            ) from None
        return ModuleSpec(name, _Renamed(module), is_package=hasattr(module, "__path__"))


def install(alias: str = "torch") -> None:
    """Make ``import <alias>`` and ``import <alias>.anything`` find flambeau's modules.

    RuntimeError if another package of that name has been imported already.
    """
    present = sys.modules.get(alias)
    if present is not None and present.__name__ != _LIBRARY:
        raise RuntimeError(f"{alias!r} is imported already, and is not flambeau")
    if not any(isinstance(f, _Finder) and f.alias == alias for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder(alias))


def uninstall(alias: str = "torch") -> None:
    """Undo `install`."""
    sys.meta_path[:] = [
        f for f in sys.meta_path if not (isinstance(f, _Finder) and f.alias == alias)
    ]
    for name in [n for n in sys.modules if n == alias or n.startswith(f"{alias}.")]:
        del sys.modules[name]


def run_script(path: str, arguments: Sequence[str] = ()) -> None:
    """Run the program at `path`, which says ``import torch``, on flambeau."""
    install("torch")
    sys.argv = [path, *arguments]
    sys.path.insert(0, str(path).rpartition("/")[0] or ".")
    runpy.run_path(path, run_name="__main__")
