"""The type stubs say what the records say, and a checker that reads them sees right and wrong."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau
from flambeau.ops.record import REGISTRY
from flambeau.tensor import functions
from tests.house import stubs

ROOT = Path(__file__).parents[2]

GOOD = """
import flambeau as torch
from flambeau import nn

x = torch.randn(2, 3, requires_grad=True)
y = torch.zeros((2, 3), dtype=torch.float32, device="cpu")
z: torch.Tensor = x.softmax(1) @ y.T + 2 * torch.add(x, 1.5, alpha=2).sum(dim=1, keepdim=True)
q = torch.cat([x, y], dim=0).reshape(-1, 3).relu_().clamp(min=0.0).to(torch.float64)
m: torch.Tensor = -x / y**2 > 0
values: torch.Tensor = torch.topk(x, 2).values
u, s, v = torch.linalg.svd(x)
x.sin().sum().backward()
p = nn.Linear(3, 4)(x)
r: torch.Tensor = torch.stack((x, y)).permute(2, 0, 1).mean(dim=(0, 1))
d: torch.dtype = torch.float32
b: bool = torch.allclose(x, y)
assert x.shape[0] == 2 and len(x) == 2 and x.dim() == 2
k: torch.Tensor = torch.add(nn.Parameter(torch.ones(3)), torch.rand(3, generator=torch.Generator()))
for row in x:
    torch.sin(row, out=torch.empty(3))
"""
BAD = """
import flambeau as torch

x = torch.randn(2, 3)
x.sofmax(1)
torch.sofmax(x)
torch.add(x, "1")
torch.softmax(x, dim="1")
torch.cat(3)
x + "a"
torch.sin(x, y=2)
n: int = torch.exp(x)
torch.topk(x, 2).vals
x.sum(keepdim="yes")
torch.zeros(2, dtype="float32")
torch.float32 + 1
"""


def test_the_stubs_are_fresh():
    """In a process of its own: tests declare ops."""
    program = (
        "from tests.house.stubs import STUBS\n"
        "print([p.name for p, f in STUBS.items() if p.read_text(encoding='utf-8') != f()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n", "stale: run python -m tests.house.stubs"


@pytest.mark.parametrize("path", stubs.STUBS, ids=lambda path: path.stem)
def test_the_stubs_are_python(path):
    """A name is declared once, and each has its place in the library."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owner, body = flambeau, tree.body
    if path.stem == "declared":
        owner = flambeau.Tensor
        (body,) = (
            n.body for n in body if isinstance(n, ast.ClassDef) and n.name == "DeclaredTensor"
        )
    names = [n.name for n in body if isinstance(n, ast.FunctionDef)]
    assert len(names) > 300
    assert len(names) == len(set(names))
    assert [n for n in names if not hasattr(owner, n)] == []


def test_a_checker_accepts_right_programs_and_refuses_wrong_ones(tmp_path):
    pytest.importorskip("mypy", reason="the checker is not installed")
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path / 'cache'}", "good.py", "bad.py"],
        env={**os.environ, "MYPYPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = re.findall(r"^(\w+)\.py:(\d+): error", done.stdout, flags=re.MULTILINE)
    assert {name for name, _ in found} == {"bad"}, done.stdout + done.stderr
    first = BAD.splitlines().index("x.sofmax(1)") + 1
    assert {int(line) for _, line in found} == set(range(first, len(BAD.splitlines()) + 1))


def tensors(x):
    """Return a sample's arguments with tensors for its arrays."""
    if isinstance(x, np.ndarray):
        return flambeau.from_numpy(np.array(x))
    if type(x) in (tuple, list):
        return type(x)(tensors(v) for v in x)
    if isinstance(x, dict):
        return {name: tensors(v) for name, v in x.items()}
    return x


def agrees(value, declared, op):
    if declared == "Any":
        return True
    if op.fields:
        return type(value)._fields == op.fields
    if declared == "Tensor":
        return isinstance(value, flambeau.Tensor)
    if declared.startswith("builtins.tuple["):
        inside = declared.removeprefix("builtins.tuple[")
        fixed = "..." not in declared
        return isinstance(value, tuple) and (not fixed or len(value) == inside.count(",") + 1)
    return type(value).__name__ == declared.removeprefix("builtins.")


def test_ops_return_what_is_declared():
    samples = pytest.importorskip("tests.ops.samples").SAMPLES
    wrong, seen = [], 0
    for name, calls in samples.items():
        op = REGISTRY[name]
        args, kwargs = calls[0]
        bound = op.signature.bind(*args, **kwargs)
        for given, x in bound.arguments.items():
            if given != "key" or given in op.tensors:  # arrays in the ops of indexing
                bound.arguments[given] = tensors(x)
        value = getattr(functions, name)(*bound.args, **bound.kwargs)
        seen += 1
        if not agrees(value, stubs.result_of(op), op):
            wrong.append(f"{name}: {stubs.result_of(op)}, but got {type(value).__name__}")
    assert seen > 500
    assert not wrong, "\n".join(wrong)
