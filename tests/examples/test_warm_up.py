"""`flambeau warm-up`: kernels are in the cache before a program asks for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from flambeau import settings
from flambeau.__main__ import main
from flambeau.compiler import jit
from flambeau.examples import warm_up

compiled = pytest.mark.skipif(not jit.available(), reason="nothing is compiled here")


def start(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


@compiled
def test_what_is_warm_is_not_compiled_again(tmp_path):
    cache = {"FLAMBEAU_CACHE_DIR": str(tmp_path)}
    done = start("flambeau", "warm-up", "updates", **cache)
    assert done.returncode == 0, done.stderr
    found = re.search(r"\] 1/1  updates: (\d+) kernels", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 0
    assert f"{found[1]} kernels compiled in " in done.stdout
    assert str(tmp_path) in done.stdout
    again = start("flambeau.examples.warm_up", "updates", **cache)
    assert again.stdout == "0\n", again.stderr


@pytest.mark.parametrize("name", sorted(set(warm_up.WORKLOADS) - {"arithmetic", "convolutions"}))
def test_a_workload_runs(name):
    """In this process and from the usual cache; the two left out take longest."""
    before = warm_up.torch.get_num_threads()
    try:
        assert warm_up.run_workload(name) >= 0
    finally:
        warm_up.torch.set_num_threads(before)


def test_senseless_requests_are_refused(capsys, monkeypatch):
    assert main(["warm-up", "everything"]) == 2
    assert capsys.readouterr().err == "flambeau warm-up: there is no workload everything\n"
    monkeypatch.setattr(settings, "cache", False)
    assert main(["warm-up", "updates"]) == 1
    assert "are off" in capsys.readouterr().err


def test_a_failing_workload_says_why(monkeypatch):
    with pytest.raises(RuntimeError, match="the workload nothing failed(.|\n)*KeyError"):
        list(warm_up.run_all(["nothing"]))


def test_the_bar_fills(capsys):
    warm_up.show(1, 4, "products: 3 kernels")
    assert capsys.readouterr().out.startswith(
        "[######..................] 1/4  products: 3 kernels "
    )
