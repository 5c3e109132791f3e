"""The plan of the house, and the checks that hold every file of it to the plan.

Each check takes the package's folder and returns its findings as lines of text, so that the tests
can run it on the real tree and on small trees that break one rule each.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "flambeau"

# Lower floors first. What is not named here has no floor, which is a finding.
FLOORS: tuple[tuple[str, ...], ...] = (
    (
        *("dtypes", "devices", "errors", "settings", "generator", "variates", "words"),
        *("box_muller", "version"),
    ),
    ("compiler",),
    ("backends",),
    ("ops",),
    ("tensor", "autograd", "serialization"),
    (
        *("nn", "optim", "distributions", "utils", "amp", "linalg", "fft", "special", "func"),
        *("random", "signal", "masked", "cpu", "cuda", "sparse", "testing", "overrides", "types"),
        *("nested", "storage", "_C", "xp", "accelerator"),
    ),
    ("graph", "compat", "jit", "export", "quantize", "distributed"),
    ("vision", "text", "audio", "serve", "hub", "visual"),
    ("__init__",),
    ("examples", "__main__"),
)
ROOF = next(i for i, floor in enumerate(FLOORS) if "__init__" in floor)
FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor}

# One door for each: the only places that may import a third party or touch a name.
DOORS = {
    "llvmlite": ("compiler",),
    "cupy": ("backends/cuda",),
    "jax": ("backends/xla",),
}
ENVIRONMENT_DOOR = "settings.py"
RAW_ARRAY_FLOOR = 4  # the last floor that may read a tensor's `_d`

FORBIDDEN_NAMES = {"utils", "helpers", "helper", "common", "base", "impl", "manager", "misc"}
# PyTorch has these paths, so they are its names and not ours.
PYTORCH_UTILS = {"utils", "nn/utils", "distributions/utils"}

# Private to a file in spirit, but programs import them from PyTorch's modules.
PYTORCH_NAMES = {"_BatchNorm", "_ConvNd", "_InstanceNorm", "_Loss", "_LRScheduler", "_NormBase"}

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
MAX_COLUMNS = 100


@dataclass(frozen=True)
class Import:
    """One imported module, absolute: ``flambeau.nn.functional`` or ``numpy``; names from it."""

    module: str
    names: tuple[str, ...]
    line: int


def python_files(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*.py") if "__pycache__" not in path.parts)


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def resident(package: Path, path: Path) -> str:
    """Return the file or folder directly below the package that ``path`` belongs to."""
    return path.relative_to(package).parts[0].removesuffix(".py")


@cache
def residents(package: Path) -> frozenset[str]:
    return frozenset(resident(package, path) for path in python_files(package))


def imports(package: Path, path: Path) -> Iterator[Import]:
    """Yield every import of a file, inside functions too, with relative ones resolved."""
    parts = (PACKAGE, *path.relative_to(package).with_suffix("").parts)
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the file's own folder, for a package's __init__ as for any other file.
            start = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(filter(None, (start, node.module)))
            yield Import(module, tuple(alias.name for alias in node.names), node.lineno)


def targets(package: Path, found: Import) -> list[str]:
    """Return the residents of the house that an import reaches; ``__init__`` is the roof."""
    parts = found.module.split(".")
    if parts[0] != PACKAGE:
        return []
    if len(parts) > 1:
        return [parts[1]]
    # `from flambeau import nn` or `from . import nn`: the package itself, or what lives in it.
    here = residents(package)
    return [name if name in here else "__init__" for name in found.names] or ["__init__"]


def check_floors(package: Path) -> list[str]:
    """Find imports that go upwards, reach the roof from below, or touch what has no floor."""
    findings = []
    for path in python_files(package):
        home = resident(package, path)
        if home not in FLOOR_OF:
            findings.append(f"{path}: {home} has no floor: give it one in tests/house/plan.py")
            continue
        for found in imports(package, path):
            for target in targets(package, found):
                where = f"{path}:{found.line}"
                if target not in FLOOR_OF:
                    findings.append(f"{where}: imports {target}, which has no floor")
                elif FLOOR_OF[target] > FLOOR_OF[home]:
                    findings.append(
                        f"{where}: {home} (floor {FLOOR_OF[home]}) imports {target} "
                        f"(floor {FLOOR_OF[target]})"
                    )
    return findings


def check_absolute_imports(package: Path) -> list[str]:
    """Find files below the roof that name ``flambeau`` instead of importing relatively."""
    return [
        f"{path}:{found.line}: imports {found.module} by its full name"
        for path in python_files(package)
        if FLOOR_OF.get(resident(package, path), 0) < ROOF
        for node in ast.walk(parse(path))
        for found in _absolute(node)
    ]


def _absolute(node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == PACKAGE:
                yield Import(alias.name, (), node.lineno)
    elif (
        isinstance(node, ast.ImportFrom)
        and node.level == 0
        and (node.module or "").split(".")[0] == PACKAGE
    ):
        yield Import(node.module or "", (), node.lineno)


def check_doors(package: Path) -> list[str]:
    """Find third parties imported anywhere but at their one door."""
    findings = []
    for path in python_files(package):
        place = path.relative_to(package).as_posix()
        for found in imports(package, path):
            doors = DOORS.get(found.module.split(".")[0])
            if doors is not None and not any(
                place == f"{door}.py" or place.startswith(f"{door}/") for door in doors
            ):
                findings.append(f"{path}:{found.line}: {found.module} only enters by {doors}")
    return findings


def check_environment(package: Path) -> list[str]:
    """Find reads of environment variables outside the settings."""
    findings = []
    for path in python_files(package):
        if path.relative_to(package).as_posix() == ENVIRONMENT_DOOR:
            continue
        for node in ast.walk(parse(path)):
            name = None
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = node.attr if node.value.id == "os" else None
            elif isinstance(node, ast.ImportFrom) and node.module == "os":
                name = next((a.name for a in node.names if a.name in _ENVIRONMENT), None)
            if name in _ENVIRONMENT:
                line = getattr(node, "lineno", 0)
                findings.append(f"{path}:{line}: os.{name} outside {ENVIRONMENT_DOOR}")
    return findings


_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}


def check_private_names(package: Path) -> list[str]:
    """Find private names that are imported into another file."""
    return [
        f"{path}:{found.line}: imports {name} from {found.module}"
        for path in python_files(package)
        for found in imports(package, path)
        if found.module.split(".")[0] == PACKAGE
        for name in found.names
        if name.startswith("_") and not name.startswith("__") and name not in PYTORCH_NAMES
    ]


def check_raw_arrays(package: Path) -> list[str]:
    """Find reads of a tensor's private array on the floors that have only its public face."""
    return [
        f"{path}:{node.lineno}: reads ._d; above floor {RAW_ARRAY_FLOOR} use .numpy()"
        for path in python_files(package)
        if FLOOR_OF.get(resident(package, path), 0) > RAW_ARRAY_FLOOR
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr == "_d"
    ]


def check_file_names(package: Path) -> list[str]:
    """Find files and folders whose name says nothing about what lives in them."""
    findings = []
    for path in python_files(package):
        place = path.relative_to(package).with_suffix("")
        for depth, part in enumerate(place.parts, start=1):
            prefix = "/".join(place.parts[:depth])
            if part.strip("_") in FORBIDDEN_NAMES and prefix not in PYTORCH_UTILS:
                findings.append(f"{path}: {part} is no name for a place in the house")
    return findings


def check_sizes(package: Path) -> list[str]:
    """Find files and functions that are too long, and lines that are too wide."""
    findings = []
    for path in python_files(package):
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_FILE_LINES:
            findings.append(f"{path}: {len(lines)} lines, at most {MAX_FILE_LINES}")
        findings += [
            f"{path}:{number}: {len(line)} columns, at most {MAX_COLUMNS}"
            for number, line in enumerate(lines, start=1)
            if len(line) > MAX_COLUMNS
        ]
        findings += [
            f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"
            for node, length in functions(path)
            if length > MAX_FUNCTION_LINES
        ]
    return findings


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Yield each function of a file with its length in lines, its docstring not counted."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            is_docstring = (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            )
            spared = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1 - spared
