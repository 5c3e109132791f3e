"""Run as a program: tests against a copy of the package, each run in a fork of one warm process.

``python mutants.py COPY REPOSITORY`` reads lists of test ids from standard input, one JSON list a
line, and answers each with a JSON object: the exit code and the end of pytest's output.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
from pathlib import Path

SECONDS = 60
BROKEN = 99  # not one of pytest's exit codes
HEAVY = ("numpy", "scipy.special", "ml_dtypes", "torch", "pytest", "hypothesis", "llvmlite.binding")


def main() -> None:
    copy, repository = sys.argv[1:]
    sys.dont_write_bytecode = True
    sys.path[:0] = [copy, repository]
    for name in HEAVY:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line), copy, repository)) + "\n")
        sys.stdout.flush()


def run(tests: list[str], copy: str, repository: str) -> dict[str, object]:
    """Run pytest over `tests` in a child process; a child that hangs is killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(reading)
        code = BROKEN
        try:
            code = run_pytest(tests, copy, repository)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        output = stream.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "output": output[-3000:]}


def run_pytest(tests: list[str], copy: str, repository: str) -> int:
    import pytest

    import flambeau

    assert Path(flambeau.__file__).is_relative_to(copy), flambeau.__file__
    os.chdir(repository)
    options = ["-x", "-q", "--tb=line", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # imported before pytest's hook
    return int(pytest.main([*options, "--rootdir", repository, *tests]))


if __name__ == "__main__":
    main()
