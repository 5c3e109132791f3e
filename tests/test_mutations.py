"""Test the tester: planted mistakes that the suite must notice.

Each mutation rewrites one place of a copy of the package; the named tests, which pass on the package as
it is, must fail on the copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
NEEDS_JIT = pytest.mark.skipif(
    os.environ.get("FLAMBEAU_JIT") == "0", reason="the mistake is in generated machine code"
)
pytest.importorskip("torch", reason="most of the tests that must notice compare with PyTorch")


class Mutation(NamedTuple):
    """What is rewritten, and the tests that must notice."""

    what: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "wrong derivative of a product",
        "ops/arithmetic.py",
        "partials=(lambda m, other: other, lambda m, input: input),",
        "partials=(lambda m, input: input, lambda m, other: other),",
        "tests/autograd/test_backward.py",
    ),
    Mutation(
        "swapped arguments of a difference",
        "ops/arithmetic.py",
        "lambda m, x, y, alpha: x - y * alpha,",
        "lambda m, x, y, alpha: y - x * alpha,",
        "tests/ops/test_arithmetic.py",
    ),
    Mutation(
        "in-place change of a view not counted",
        "tensor/core.py",
        "        s.version += 1",
        "        s.version += 0",
        "tests/autograd/test_versions.py",
    ),
    Mutation(
        "in-place change not counted",
        "tensor/core.py",
        "        t._v += 1",
        "        t._v += 0",
        "tests/autograd/test_versions.py",
    ),
    Mutation(
        "wrong promotion of floats",
        "dtypes.py",
        "return a if _FLOAT_WIDTH[a] > _FLOAT_WIDTH[b] else b",
        "return b if _FLOAT_WIDTH[a] > _FLOAT_WIDTH[b] else a",
        "tests/tensor/test_dtypes.py",
    ),
    Mutation(
        "gradient of a broadcast input not summed",
        "autograd/node.py",
        "    if axes:",
        "    if not axes:",
        "tests/autograd/test_backward.py",
    ),
    Mutation(
        "views of views replayed backwards",
        "tensor/views.py",
        "return steps[::-1]",
        "return steps",
        "tests/autograd/test_view_chains.py",
    ),
    Mutation(
        "a dependency is not counted",
        "autograd/engine.py",
        """        e = n.e1
        if e is not None:
            if not e.dep:
                push(e)
            e.dep += 1""",
        """        e = n.e1
        if e is not None:
            if not e.dep:
                push(e)
            e.dep = 1""",
        "tests/autograd/test_backward.py",
    ),
    Mutation(
        "leaf gradients replaced instead of added up",
        "tensor/core.py",
        "held._d += g",
        "held._d[...] = g",
        "tests/autograd/test_backward.py",
    ),
    Mutation(
        "wrong tempering of the Mersenne Twister",
        "generator.py",
        "np.uint32(0x9D2C5680)",
        "np.uint32(0x8D2C5680)",
        "tests/test_generator.py",
    ),
    Mutation(
        "dropout keeps too many",
        "ops/dropout.py",
        "default_generator.bernoulli(1 - p, math.prod(shape))",
        "default_generator.bernoulli(p, math.prod(shape))",
        "tests/nn/test_layers.py",
    ),
    Mutation(
        "scheduler one epoch late",
        "optim/lr_scheduler/falling.py",
        "if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:",
        "if self.last_epoch == 0 or self.last_epoch % self.step_size != 1:",
        "tests/optim/test_lr_scheduler.py",
    ),
    Mutation(
        "wrong momentum",
        "optim/sgd.py",
        "momentum * velocity + gain * g",
        "momentum * velocity - gain * g",
        "tests/optim/test_algorithms.py",
    ),
    Mutation(
        "wrong key in a state_dict",
        "nn/modules/state.py",
        "destination[prefix + name] = param if",
        "destination[name + prefix] = param if",
        "tests/nn/test_state_dict.py",
    ),
    Mutation(
        "object code cached without the processor's name",
        "compiler/jit.py",
        """        host.cpu,
        host.features,
        repr(host),
""",
        "",
        "tests/compiler/test_jit.py",
    ),
    Mutation(
        "short last batch kept in spite of drop_last",
        "utils/data/sampler.py",
        "if len(batch) < self.batch_size and self.drop_last:",
        "if len(batch) > self.batch_size and self.drop_last:",
        "tests/data/test_samplers.py",
    ),
    Mutation(
        "running variance of a batch norm not unbiased",
        "ops/normalization.py",
        "var * (count / (count - 1)) if count > 1 else var",
        "var",
        "tests/ops/test_normalization.py",
    ),
    Mutation(
        "derivative of softmax without its second term",
        "backends/cpu/softmax.py",
        "r -= out * r.sum(axis, keepdims=True)",
        "r -= 0 * r.sum(axis, keepdims=True)",
        "tests/ops/test_activation.py",
    ),
    Mutation(
        "max pooling returns the smallest",
        "backends/cpu/pooling.py",
        "better = seen > part",
        "better = seen < part",
        "tests/ops/test_pooling.py",
    ),
    Mutation(
        "hook's new gradient ignored",
        "autograd/node.py",
        """            answer = fn(t)
            if answer is not None:
                t = answer""",
        """            answer = fn(t)
            if answer is not None:
                t = t""",
        "tests/autograd/test_hooks.py",
    ),
    Mutation(
        "recording left off after no_grad",
        "autograd/grad_mode.py",
        "        switch(grad, inference)",
        "        switch(False, inference)",
        "tests/autograd/test_grad_mode.py",
    ),
]
COMPILED = [
    Mutation(
        "loop kernels stop one element early",
        "compiler/loops.py",
        "return low, w.select(over, total, end)",
        'return low, w.emit(f"sub i64 {w.select(over, total, end).name}, 1", "i64")',
        "tests/compiler/test_elementwise_kernels.py",
    ),
    Mutation(
        "sums of blocks lose the last block",
        "compiler/loops.py",
        "%more = icmp slt i64 %next, %n",
        "%more = icmp slt i64 %at, 0",
        "tests/compiler/test_elementwise_kernels.py",
    ),
    Mutation(
        "exponential function with a wrong reduction",
        "compiler/scalar_ir.py",
        '"float": (0.693359375, -2.12194440054690581e-4),',
        '"float": (0.693359375, 2.12194440054690581e-4),',
        "tests/compiler/test_elementwise_kernels.py",
    ),
]


def run_tests(tree: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run `tests` of the copy at `tree`, in a cache of its own, up to the first failure."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package and of its tests."""
    folder = tmp_path_factory.mktemp("mutations")
    for part in ("flambeau", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def check_noticed(tree: Path, mutation: Mutation) -> None:
    """Plant `mutation`, see its tests fail, and take it out again."""
    path = tree / "flambeau" / mutation.file
    text = path.read_text()
    assert text.count(mutation.old) >= 1, f"{mutation.file} no longer says {mutation.old!r}"
    path.write_text(text.replace(mutation.old, mutation.new, 1))
    try:
        result = run_tests(tree, mutation.tests)
    finally:
        path.write_text(text)
    # 1: tests failed; a crash of the process is noticed too. 5 would mean that nothing was run.
    assert result.returncode not in (0, 2, 4, 5), f"not noticed: {mutation.what}\n{result.stdout}"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[m.what for m in MUTATIONS])
def test_the_suite_notices(tree, mutation):
    check_noticed(tree, mutation)


@NEEDS_JIT
@pytest.mark.parametrize("mutation", COMPILED, ids=[m.what for m in COMPILED])
def test_the_suite_notices_wrong_machine_code(tree, mutation):
    check_noticed(tree, mutation)
