"""Imports go downwards, third parties enter by one door: on the real tree, and on broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import plan

PACKAGE = Path(__file__).parents[2] / plan.PACKAGE


def show(findings: list[str]) -> str:
    return "\n".join(["", *findings])


@pytest.mark.parametrize(
    "check",
    [
        plan.check_floors,
        plan.check_absolute_imports,
        plan.check_doors,
        plan.check_environment,
        plan.check_private_names,
        plan.check_raw_arrays,
    ],
)
def test_the_house_keeps_the_rule(check):
    assert plan.python_files(PACKAGE)
    findings = check(PACKAGE)
    assert not findings, show(findings)


def build(root: Path, files: dict[str, str]) -> Path:
    package = root / plan.PACKAGE
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


BROKEN = [
    (plan.check_floors, "ops/pointwise.py", "from ..tensor import Tensor"),
    (plan.check_floors, "ops/pointwise.py", "def f():\n    from ..nn import Linear"),
    (plan.check_floors, "ops/deep/er.py", "from ...nn.functional import relu"),
    (plan.check_floors, "tensor/__init__.py", "from .. import nn"),
    (plan.check_floors, "compiler/jit.py", "import flambeau.ops.record"),
    (plan.check_floors, "nn/linear.py", "from .. import zeros"),
    (plan.check_floors, "nn/linear.py", "import flambeau"),
    (plan.check_floors, "__init__.py", "from . import examples"),
    (plan.check_floors, "stranger.py", "x = 1"),
    (plan.check_floors, "nn/linear.py", "from ..stranger import x"),
    (plan.check_absolute_imports, "nn/linear.py", "from flambeau.tensor import Tensor"),
    (plan.check_absolute_imports, "nn/linear.py", "import flambeau.tensor"),
    (plan.check_doors, "ops/pointwise.py", "import llvmlite.ir as ir"),
    (plan.check_doors, "backends/cpu/loops.py", "def f():\n    from llvmlite import binding"),
    (plan.check_doors, "nn/linear.py", "import cupy"),
    (plan.check_environment, "nn/linear.py", "import os\nos.environ['HOME']"),
    (plan.check_environment, "nn/linear.py", "import os\nos.getenv('HOME')"),
    (plan.check_environment, "nn/linear.py", "from os import environ"),
    (plan.check_private_names, "nn/linear.py", "from ..tensor.methods import _secret"),
    (plan.check_private_names, "nn/linear.py", "from .conv import Conv, _pad"),
    (plan.check_raw_arrays, "nn/linear.py", "def f(x):\n    return x._d.shape"),
]


@pytest.mark.parametrize(("check", "name", "text"), BROKEN)
def test_a_broken_rule_is_found(check, name, text, tmp_path):
    rooms = dict.fromkeys(("nn/__init__.py", "tensor/__init__.py", "examples/__init__.py"), "")
    package = build(tmp_path, rooms | {name: text})
    findings = check(package)
    assert findings
    assert name in findings[0].replace("\\", "/")


SOUND = {
    "dtypes.py": "import numpy as np\nfrom .errors import describe",
    "settings.py": "import os\nhome = os.environ.get('HOME')",
    "compiler/jit.py": "import llvmlite.binding\nfrom . import target\nfrom ..settings import home",
    "backends/cuda/arrays.py": "import cupy",
    "ops/pointwise.py": "from .record import op\nfrom .. import dtypes",
    "tensor/tensor.py": "from ..autograd import node\nx = node.y._d",
    "nn/linear.py": "import os.path\nfrom ..tensor import functions as fl\nos.path.join('a')",
    "autograd/node.py": "",
    "__init__.py": "from .nn import Linear\nfrom . import nn",
    "__main__.py": "import flambeau\nfrom flambeau.examples import digits",
    "examples/digits.py": "import flambeau as torch\nfrom flambeau import nn, zeros",
}


@pytest.mark.parametrize(
    "check",
    [
        plan.check_floors,
        plan.check_absolute_imports,
        plan.check_doors,
        plan.check_environment,
        plan.check_private_names,
        plan.check_raw_arrays,
    ],
)
def test_a_sound_tree_has_no_findings(check, tmp_path):
    assert check(build(tmp_path, SOUND)) == []
