"""Test the tester: each planted mistake must be found by a small, named part of the suite.

The package is copied; a mistake is one line of text replaced in the copy. The tests named with it
must pass on the copy as it is, and fail on the copy with the mistake.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[1]


class Mutation(NamedTuple):
    """A mistake: the file below ``flambeau``, a text in it and what takes its place; who finds it."""

    file: str
    old: str
    new: str
    tests: str


DERIVED = "tests/ops/test_derived.py::test_"
TAPE = "tests/autograd/test_"

MUTATIONS = {
    # ------------------------------------------------------------ derivatives and formulas
    "wrong derivative": Mutation(
        "ops/unary.py",
        "lambda m, input: m.cos(input),",
        "lambda m, input: -m.cos(input),",
        DERIVED + "gradients_are_the_slopes[sin]",
    ),
    "wrong second derivative": Mutation(
        "ops/softmax.py",
        " - grad * m.sum(g * output, (dim,), True)",
        " - g * m.sum(g * output, (dim,), True)",
        DERIVED + "second_derivatives_are_the_slopes_of_the_first[softmax]",
    ),
    "swapped arguments": Mutation(
        "ops/arithmetic.py",
        "lambda m, x, y, alpha: x - y * alpha",
        "lambda m, x, y, alpha: y - x * alpha",
        DERIVED + "as_in_torch_for_every_dtype[sub]",
    ),
    "transposed product": Mutation(
        "ops/matmul.py",
        '"mat2": lambda m, g, input: m.matmul(adjoint(m, input), g)',
        '"mat2": lambda m, g, input: m.matmul(input, g)',
        DERIVED + "gradients_are_the_slopes[mm]",
    ),
    "dropped sum in softmax": Mutation(
        "backends/cpu/softmax_kernels.py",
        "        mean = T(total)\n",
        "        mean = T(total) - 1\n",
        DERIVED + "gradients_are_the_slopes[softmax]",
    ),
    "ignored targets counted": Mutation(
        "backends/cpu/cross_entropy_kernels.py",
        "    if t == ignored:\n",
        "    if t == ignored and t < 0:\n",
        "tests/ops/test_loss.py::test_all_ignored_gives_nan",
    ),
    "biased running variance": Mutation(
        "backends/cpu/batch_norm_kernels.py",
        "variance * (f64(count) / max(count - 1, 1))",
        "variance * (f64(count) / max(count, 1))",
        "tests/ops/test_normalization.py::test_running_statistics_move",
    ),
    "input overwritten": Mutation(
        "backends/cpu/softmax.py",
        "    out = np.empty(y.shape, y.dtype)\n",
        "    out = y\n",
        DERIVED + "inputs_are_never_modified[log_softmax_back]",
    ),
    # ------------------------------------------------------------ the tensor
    "wrong promotion": Mutation(
        "dtypes.py",
        "return a if a.itemsize > b.itemsize else b",
        "return a if a.itemsize < b.itemsize else b",
        "tests/tensor/test_dtypes.py::test_as_in_torch[promotion_of_types]",
    ),
    "number promoted as a tensor": Mutation(
        "tensor/apply.py",
        "return Operand(dtypes.scalar_dtype(x), 0)",
        "return Operand(dtypes.scalar_dtype(x), 2)",
        "tests/tensor/test_dtypes.py::test_promotion_of_tensors_numbers_and_scalars[mul]",
    ),
    "missing version bump": Mutation(
        "tensor/inplace.py",
        "    bump(t)\n    if t._s is not None:\n",
        "    if t._s is not None:\n",
        TAPE + "versions.py::test_a_changed_input_or_output_is_noticed[mul]",
    ),
    "wrong view replay": Mutation(
        "tensor/views.py",
        "    return steps[::-1]\n",
        "    return steps\n",
        TAPE + "inplace_history.py::test_as_in_torch[view_of_a_view]",
    ),
    "history of a changed view lost": Mutation(
        "tensor/views.py",
        "                    part[...] = r\n",
        "                    pass\n",
        TAPE + "inplace_history.py::test_as_in_torch[view_changed]",
    ),
    "views of a changed base forgotten": Mutation(
        "tensor/inplace.py",
        "        renew_views(t, owned=int(saved))\n",
        "        pass\n",
        TAPE + "inplace_history.py::test_as_in_torch[stale_view]",
    ),
    "negative step allowed": Mutation(
        "tensor/indexing.py",
        "if s.step is not None and s.step <= 0:",
        "if s.step is not None and s.step == 0:",
        "tests/tensor/test_indexing_core.py::test_as_in_torch[negative_step]",
    ),
    # ------------------------------------------------------------ the tape
    "dropped broadcasting sum": Mutation(
        "autograd/node.py",
        "        g = g.sum(axes, keepdims=True)\n",
        "        g = g[tuple(slice(0, 1) if i in axes else slice(None) for i in range(g.ndim))]\n",
        TAPE
        + "inplace_history.py::test_as_in_torch[in_place_under_broadcasting] "
        + DERIVED
        + "gradients_are_the_slopes[mul] "
        + DERIVED
        + "gradients_are_the_slopes[hypot]",
    ),
    "reversed hooks": Mutation(
        "autograd/node.py",
        "for fn in list(hooks.pre.values()):",
        "for fn in list(hooks.pre.values())[::-1]:",
        TAPE + "hooks.py::test_as_in_torch[hooks_run_in_order_and_pass_on]",
    ),
    "lost dependency count": Mutation(
        "autograd/engine.py",
        "        e = n.e1\n        if e is not None:\n            if not e.dep:\n"
        "                push(e)\n            e.dep += 1\n",
        "        e = n.e1\n        if e is not None:\n            if not e.dep:\n"
        "                push(e)\n                e.dep += 1\n",
        TAPE + "backward.py::test_as_in_torch[every_use_of_a_leaf_counts]",
    ),
    "one of two gradients lost": Mutation(
        "autograd/node.py",
        "node.g[self.index] = g if held is None else held + g",
        "node.g[self.index] = g",
        TAPE + "function.py::test_as_in_torch[second_derivative_through_two_saved_outputs]",
    ),
    "gradient shared with a caller": Mutation(
        "tensor/core.py",
        "            g = g.copy()\n",
        "            pass\n",
        TAPE + "memory.py::test_the_gradient_given_is_not_taken_over",
    ),
    "recording left off": Mutation(
        "autograd/grad_mode.py",
        "        (grad, inference), self._before = self._before\n        switch(grad, inference)\n",
        "        (grad, inference), self._before = self._before\n",
        TAPE + "grad_mode.py::test_as_in_torch[contexts_nest]",
    ),
    "graph kept after backward": Mutation(
        "tensor/elementwise.py",
        'lines += ["if not keep:",',
        'lines += ["if False:",',
        TAPE + "memory.py::test_backward_frees_what_was_saved",
    ),
    # ------------------------------------------------------------ kernels
    "off-by-one loop bound": Mutation(
        "compiler/loops.py",
        "add nsw i64 %{label}.i, 1",
        "add nsw i64 %{label}.i, 2",
        "tests/compiler/test_loops.py::test_flat_loops_touch_their_elements_and_no_others[17-float]",
    ),
    "last element read twice": Mutation(
        "compiler/loops.py",
        "icmp slt i64 %{label}.next, {high.name}",
        "icmp sle i64 %{label}.next, {high.name}",
        "tests/compiler/test_loops.py::test_a_chunk_leaves_the_others_alone",
    ),
    "inexact exponential": Mutation(
        "compiler/scalar_ir.py",
        "0.0416662042, 0.166665183",
        "0.0416662042, 0.166565183",
        "tests/compiler/test_elementwise_kernels.py::test_accuracy_of_every_primitive[exp-float-moderate]",
    ),
    "broadcast kernel with a wrong step": Mutation(
        "backends/cpu/elementwise.py",
        'return "fixed" if step == 0 else',
        'return "fixed" if step != itemsize else',
        "tests/compiler/test_elementwise_kernels.py::test_any_shapes_strides_and_broadcasts",
    ),
    "object code shared between CPUs": Mutation(
        "compiler/jit.py",
        "        host.cpu,\n        host.features,\n        repr(host),\n",
        "",
        "tests/compiler/test_loops.py::test_object_code_belongs_to_one_cpu",
    ),
    "wrong tempering": Mutation(
        "words.py",
        "np.uint32(0x9D2C5680)",
        "np.uint32(0x9D2D5680)",
        "tests/test_generator.py::test_words_do_not_depend_on_how_they_are_taken "
        "tests/test_generator.py::test_published_values",
    ),
    "wrong tempering in the kernel": Mutation(
        "compiler/twister.py",
        "0x9D2C5680",
        "0x9D2D5680",
        "tests/test_generator.py::test_published_values",
    ),
    # ------------------------------------------------------------ what is built on them
    "scheduler off by one": Mutation(
        "optim/lr_scheduler/falling.py",
        "self.last_epoch % self.step_size != 0",
        "(self.last_epoch + 1) % self.step_size != 0",
        "tests/optim/test_lr_scheduler.py::test_sequence",
    ),
    "wrong momentum": Mutation(
        "optim/sgd.py",
        "velocity = g if first else momentum * velocity + gain * g",
        "velocity = gain * g if first else momentum * velocity + gain * g",
        "tests/optim/test_algorithms.py::test_ten_steps",
    ),
    "missing bias correction": Mutation(
        "optim/adam.py",
        '"step_size": lr / (1 - beta1**key),',
        '"step_size": lr,',
        "tests/optim/test_algorithms.py::test_ten_steps",
    ),
    "wrong key in a state_dict": Mutation(
        "nn/modules/state.py",
        'prefix=f"{prefix}{name}."',
        'prefix=f"{prefix}{name}_"',
        "tests/nn/test_state_dict.py",
    ),
    "fan in and fan out exchanged": Mutation(
        "nn/init.py",
        "return tensor.size(1) * area, tensor.size(0) * area",
        "return tensor.size(0) * area, tensor.size(1) * area",
        "tests/nn/test_init.py::test_layers_start_as_torch_starts_them",
    ),
    "short last batch dropped": Mutation(
        "utils/data/sampler.py",
        "if len(batch) < self.batch_size and self.drop_last:",
        "if len(batch) < self.batch_size:",
        "tests/data/test_samplers.py::test_batches",
    ),
    "unsafe global allowed": Mutation(
        "serialization/names.py",
        "    value = _user_names[key]\n",
        "    import importlib\n\n"
        "    value = _user_names.get(key) or getattr(importlib.import_module(module), name)\n",
        "tests/test_serialization.py::test_other_names_are_refused",
    ),
}


class Workshop:
    """A copy of the package, and a warm process that runs tests against it."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "flambeau"
        shutil.copytree(
            REPOSITORY / "flambeau", self.package, ignore=shutil.ignore_patterns("__pycache__")
        )
        environment = {
            **os.environ,
            "FLAMBEAU_JIT": "1",
            "FLAMBEAU_CACHE_DIR": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": "",
        }
        program = [sys.executable, str(Path(__file__).with_name("mutants.py"))]
        self.process = subprocess.Popen(
            [*program, str(folder), str(REPOSITORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        compiled = [sys.executable, "-m", "compileall", "-q", str(self.package)]
        subprocess.run(compiled, check=True)

    def run(self, tests: str) -> tuple[int, str]:
        """The exit code of pytest over these tests, and the end of its output."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(tests.split()) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], answer["output"]

    def run_mutated(self, m: Mutation) -> tuple[int, str]:
        """`run` with one mistake in the copy."""
        path = self.package / m.file
        text = path.read_text()
        assert text.count(m.old) == 1, f"{m.file} holds {m.old!r} {text.count(m.old)} times"
        facts = path.stat()
        path.write_text(text.replace(m.old, m.new))
        # Compiled code is told apart by times in whole seconds.
        os.utime(path, (facts.st_atime + 100, facts.st_mtime + 100))
        try:
            return self.run(m.tests)
        finally:
            path.write_text(text)
            os.utime(path, (facts.st_atime, facts.st_mtime))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("llvmlite")
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    made = Workshop(tmp_path_factory.mktemp("mutants"))
    yield made
    made.process.stdin.close()
    made.process.wait(30)
    made.process.stdout.close()


def test_the_tests_pass_without_a_mistake(workshop):
    named = dict.fromkeys(t for m in MUTATIONS.values() for t in m.tests.split())
    code, output = workshop.run(" ".join(named))
    assert code == 0, output
    assert " passed" in output


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_mistake_is_found(workshop, name):
    code, output = workshop.run_mutated(MUTATIONS[name])
    # 1: tests failed; below 0: a signal ended them. Anything else is a mistake of this file.
    assert code == 1 or code < 0, f"pytest ended with {code}\n{output}"
