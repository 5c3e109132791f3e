"""What is written is true: examples run, links lead somewhere, tables match the tree."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import flambeau
from tests.house import plan

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / plan.PACKAGE
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def blocks(path, language):
    """Return the fenced blocks of a page that are in one language."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def run_example(example):
    """Run one doctest and fail with its own account of what differs."""
    account = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    runner.run(example, out=account.append, clear_globs=False)
    assert runner.failures == 0, "".join(account)


def test_there_are_pages():
    assert len(PAGES) >= 8


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    dead = [
        link
        for link in links
        if not re.match(r"[a-z]+:", link) and not (path.parent / link).exists()
    ]
    assert not dead


# A page declares ops, which stay declared: each runs in a process of its own.
RUN_PAGE = """
import doctest, sys
options = doctest.NORMALIZE_WHITESPACE
example = doctest.DocTestParser().get_doctest(sys.stdin.read(), {}, "page", "page", 0)
runner = doctest.DocTestRunner(optionflags=options)
runner.run(example)
print(runner.tries, "examples")
sys.exit(runner.failures)
"""


@pytest.mark.parametrize(("name", "at_least"), [("quickstart", 20), ("ops", 12)])
def test_the_examples_of_a_page_run(name, at_least):
    source = "\n".join(blocks(ROOT / "docs" / f"{name}.md", "python"))
    done = subprocess.run(
        [sys.executable, "-c", RUN_PAGE],
        input=source,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-2]) >= at_least


def test_the_readme_program_learns():
    (program,) = blocks(ROOT / "README.md", "python")
    names = {}
    flambeau.manual_seed(0)
    exec(compile(program, "README.md", "exec"), names)
    assert names["loss"].item() < 5e-3


def test_the_readme_commands_are_one_line_each_and_name_real_extras():
    demo, tests, *_ = blocks(ROOT / "README.md", "sh")
    assert demo.strip().endswith("flambeau demo")
    assert tests.strip().endswith("-m pytest -q")
    for command in (demo, tests):
        assert command.count("\n") == 1
        for word in shlex.split(command):
            if word.startswith(".["):
                assert set(word[2:-1].split(",")) <= PROJECT["optional-dependencies"].keys()


def test_every_extra_is_explained():
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert explained == PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("path", [*PAGES, ROOT / ".ci" / "run"], ids=name_of)
def test_settings_that_are_named_exist(path):
    named = set(re.findall(r"FLAMBEAU_[A-Z_]+", path.read_text(encoding="utf-8")))
    known = (PACKAGE / "settings.py").read_text(encoding="utf-8")
    known += (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    assert named <= set(re.findall(r"FLAMBEAU_[A-Z_]+", known))


def modules_with_examples():
    for path in plan.python_files(PACKAGE):
        if ">>>" in path.read_text(encoding="utf-8"):
            parts = (plan.PACKAGE, *path.relative_to(PACKAGE).with_suffix("").parts)
            yield ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    parser = doctest.DocTestParser()
    path = Path(module.__file__)
    found = 0
    for docstring, line in docstrings(path):
        example = parser.get_doctest(docstring, names_for(docstring, module), name, path.name, line)
        if example.examples:
            found += 1
            flambeau.manual_seed(0)
            run_example(example)
    assert found


def names_for(docstring, module):
    """Return what an example may use: what its file knows, and what the library offers."""
    names = {"torch": flambeau, "flambeau": flambeau, "fl": flambeau, "np": np}
    names |= {"nn": flambeau.nn, "F": flambeau.nn.functional}
    for word in set(re.findall(r"[A-Za-z_]\w*", docstring)) - set(dir(builtins)):
        for place in (module, flambeau, flambeau.nn, flambeau.optim):
            if hasattr(place, word):
                names.setdefault(word, getattr(place, word))
    return names


def docstrings(path):
    """Yield each string that stands alone in a file, declarations' included, with its line."""

    for node in ast.walk(plan.parse(path)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.search(r"^\s*>>> ", node.value, flags=re.MULTILINE)
        ):
            yield node.value, node.lineno - 1


def test_a_wrong_example_is_found():
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    with pytest.raises(AssertionError, match="Expected"):
        run_example(example)
