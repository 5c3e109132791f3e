"""What every test may use: the shared data, and the switch that takes the oracle away."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"

if os.environ.get("FLAMBEAU_TEST_NO_TORCH") == "1":
    # None in sys.modules makes `import torch` raise ModuleNotFoundError: parity tests skip as they
    # do where torch was never installed.
    sys.modules["torch"] = None  # type: ignore[assignment]


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
