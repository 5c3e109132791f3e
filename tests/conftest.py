"""What every test may use: the shared data, and the switch that takes the oracle away."""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


class NoTorch(MetaPathFinder):
    """Makes ``import torch`` fail as it does where PyTorch was never installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse torch and its submodules; leave everything else to others."""
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if os.environ.get("FLAMBEAU_TEST_NO_TORCH") == "1":
    sys.meta_path.insert(0, NoTorch())


def pytest_report_header() -> str:
    try:
        import torch

        oracle = f"torch {torch.__version__}"
    except ModuleNotFoundError:
        oracle = "none (parity tests skip)"
    jit = "off" if os.environ.get("FLAMBEAU_JIT") == "0" else "on"
    return f"oracle: {oracle}; JIT: {jit}; data: {DATA if DATA.is_dir() else 'none'}"


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real data sets beside the checkout, or skip where there is none."""
    if not DATA.is_dir():
        pytest.skip(f"no data sets at {DATA}")
    return DATA
