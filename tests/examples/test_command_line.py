"""The `flambeau` command itself: its version, its help, and programs that say `import torch`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flambeau.__main__ import main

PROGRAM = """
import sys
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

print(torch.__name__, DataLoader.__module__.split(".")[0])
print(F.relu(torch.tensor([-1.0, 2.0])).tolist(), sys.argv[1:], __name__)
sys.exit(7)
"""


def test_run_gives_a_program_flambeau_for_torch(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "flambeau", "run", str(script), "--lr", "0.1", "data"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == [
        "flambeau flambeau",
        "[0.0, 2.0] ['--lr', '0.1', 'data'] __main__",
    ], done.stderr
    assert done.returncode == 7


def test_run_without_a_file(tmp_path, capsys):
    missing = tmp_path / "train.py"
    assert main(["run", str(missing)]) == 2
    assert capsys.readouterr().err == f"flambeau run: there is no file {missing}\n"


def test_no_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "demo" in shown
    assert "run" in shown
    assert "warm-up" in shown
