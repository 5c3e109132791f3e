"""Sizes, names and first lines of files: on the real tree, and on broken ones."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

from tests.house import plan
from tests.house.test_floors import build, show

PACKAGE = Path(__file__).parents[2] / plan.PACKAGE


@pytest.mark.parametrize("check", [plan.check_sizes, plan.check_file_names])
def test_the_house_keeps_the_rule(check):
    findings = check(PACKAGE)
    assert not findings, show(findings)


def test_functions_are_short():
    lengths = [length for path in plan.python_files(PACKAGE) for _, length in plan.functions(path)]
    assert statistics.median(lengths) <= 8


def test_each_folder_says_what_lives_in_it():
    silent = [
        str(path)
        for path in plan.python_files(PACKAGE)
        if path.name == "__init__.py" and not ast.get_docstring(plan.parse(path))
    ]
    assert not silent, show(silent)


def test_each_folder_is_a_package():
    folders = {path.parent for path in plan.python_files(PACKAGE)}
    bare = [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]
    assert not bare, show(bare)


LONG_FUNCTION = "def f():\n" + "    x = 1\n" * plan.MAX_FUNCTION_LINES
LONG_DOCSTRING = 'def f():\n    """One.\n' + "    more\n" * 99 + '    """\n    return 1\n'


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (plan.check_sizes, "nn/linear.py", "x = 1\n" * (plan.MAX_FILE_LINES + 1)),
        (plan.check_sizes, "nn/linear.py", LONG_FUNCTION),
        (plan.check_sizes, "nn/linear.py", "x = '" + "x" * plan.MAX_COLUMNS + "'"),
        (plan.check_file_names, "ops/helpers.py", ""),
        (plan.check_file_names, "ops/utils.py", ""),
        (plan.check_file_names, "ops/_common.py", ""),
        (plan.check_file_names, "graph/base/node.py", ""),
    ],
)
def test_a_broken_rule_is_found(check, name, text, tmp_path):
    assert check(build(tmp_path, {name: text}))


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (plan.check_sizes, "nn/linear.py", LONG_DOCSTRING),
        (plan.check_sizes, "nn/linear.py", "x = 1\n" * plan.MAX_FILE_LINES),
        (plan.check_file_names, "utils/data/sampler.py", ""),
        (plan.check_file_names, "nn/utils/clip_grad.py", ""),
        (plan.check_file_names, "utils/__init__.py", ""),
    ],
)
def test_what_keeps_the_rule_is_let_be(check, name, text, tmp_path):
    assert check(build(tmp_path, {name: text})) == []
