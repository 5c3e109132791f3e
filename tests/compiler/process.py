"""A Python of its own: what depends on the environment is tested in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(code: str, path: Path = ROOT, **environment: str) -> subprocess.Popen[str]:
    """Start Python on `code` with flambeau from the folder `path`."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=path,
        env={**os.environ, "PYTHONPATH": str(path), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what the process wrote to its two streams; it must have ended well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, f"exit status {process.returncode}\n{err}"
    return out, err


def run(code: str, path: Path = ROOT, **environment: str) -> tuple[str, str]:
    return finish(start(code, path, **environment))
