"""The benchmarks compare what they say they compare; no time is judged here."""

from __future__ import annotations

import json
import math
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import machine, report
from benchmarks.cases import Case, cases
from benchmarks.rivals import Rival, Workbench, agree, arrays

DOCS = Path(__file__).parents[2] / "docs"
ALL = list(cases())
MATMUL = "matmul: 64x64"
ADD = Case("overhead", "add", "x = torch.ones(3)", "x + 1", count=2)


def label(case):
    return f"{case.group}: {case.name}"


def test_the_cases_have_names_of_their_own():
    assert len({label(case) for case in ALL}) == len(ALL) > 60


@pytest.mark.parametrize("case", ALL, ids=label)
def test_a_case_computes_what_torch_computes(case):
    _, ours = Workbench("flambeau").prepare(case)
    assert all(np.isfinite(array).all() for array in ours)
    if case.group.endswith("process"):
        return  # two other processes, and nothing to compare
    pytest.importorskip("torch")
    _, theirs = Workbench("torch").prepare(case)
    assert ours
    assert agree(ours, theirs)


def test_a_difference_is_found():
    ones = [np.ones(3, np.float32)]
    assert agree(ones, [np.ones(3, np.float32) + np.float32(1e-6)])
    assert not agree(ones, [np.ones(3, np.float32) + np.float32(1e-3)])
    assert not agree(ones, [np.ones(3)])
    assert not agree(ones, [np.ones((3, 1), np.float32)])
    assert not agree(ones, [])
    assert not agree(ones, [np.full(3, np.nan, np.float32)])


def test_a_result_is_a_copy():
    case = Case("overhead", "in place", "x = torch.zeros(2)", "[x.add_(1), 2.0]")
    bench = Workbench("flambeau")
    _, result = bench.prepare(case)
    bench.measure(0.0)
    assert [array.tolist() for array in result] == [[1.0, 1.0], 2.0]
    assert bench.names["x"][0].item() > 1.0
    assert arrays([]) == []


def test_a_figure_is_per_operation_or_a_value():
    bench = Workbench("flambeau")
    bench.prepare(ADD)
    figure, worked = bench.measure(0.0)
    assert 0.0 < figure < math.inf
    assert worked >= 0.0
    bench.prepare(Case("memory", "constant", "", "7.5", unit="MB"))
    assert bench.measure(0.0)[0] == 7.5


def test_a_process_answers_complains_and_is_replaced():
    rival = Rival("flambeau")
    try:
        _, (array,) = rival.ask("prepare", ADD)
        assert array.tolist() == [2.0, 2.0, 2.0]
        with pytest.raises(RuntimeError, match="flambeau: NameError"):
            rival.ask("prepare", Case("overhead", "wrong", "", "nothing"))
        with pytest.raises(RuntimeError, match="flambeau: "):
            rival.ask("prepare", Case("overhead", "fatal", "import os", "os._exit(1)"))
        assert rival.ask("prepare", ADD)[1][0].tolist() == [2.0, 2.0, 2.0]
    finally:
        rival.stop()


class Scripted:
    """A rival whose figures are known, and which uses no CPU."""

    def __init__(self, *figures):
        self.figures = list(figures)

    def ask(self, name, argument):
        return (0.5, [np.ones(2)]) if name == "prepare" else (self.figures.pop(0), 0.0)


@pytest.mark.parametrize(("per_reading", "disturbed"), [(0.0, False), (60.0, True)])
def test_ratios_are_those_of_paired_rounds(monkeypatch, per_reading, disturbed):
    readings = iter(range(1, 100))
    monkeypatch.setattr(machine, "busy_seconds", lambda: per_reading * next(readings))
    rivals = {"flambeau": Scripted(1.0, 10.0, 3.0), "torch": Scripted(2.0, 40.0, 2.0)}
    result = {"unit": "s", **command.measure(ADD, rivals, 3, 0.0)}
    assert (result["flambeau"], result["torch"]) == (3.0, 2.0)
    assert (result["ratio"], result["spread"]) == (0.5, 6.0)
    assert result["agrees"]
    assert report.is_disturbed(result) == disturbed


def test_a_machine_that_does_not_tell_is_not_called_quiet(monkeypatch):
    monkeypatch.setattr(machine, "busy_seconds", lambda: math.nan)
    rivals = {"flambeau": Scripted(1.0), "torch": Scripted(1.0)}
    result = {"name": "add", "unit": "s", **command.measure(ADD, rivals, 1, 0.0)}
    assert result["others"] is None
    assert "Nobody watched" in report.verdict([result])


def make(name, ratio, **changes):
    fields = {"group": "g", "name": name, "unit": "s", "flambeau": ratio * 2e-6, "torch": 2e-6}
    return {**fields, "ratio": ratio, "spread": 1.5, "agrees": True, "others": 0.0, **changes}


def test_the_summary_is_of_sound_cases():
    results = [make("a", 0.5), make("b", 2.0), make("c", 9.0, agrees=False)]
    results.append(make("e", 0.01, others=0.4))
    results.append({"group": "g", "name": "d", "unit": "s", "error": "torch: no"})
    cells = re.findall(r"[\w.]+(?: of \d)?", report.summary(results).splitlines()[-1])
    assert cells == ["g", "1.00", "0.50", "2.00", "1 of 2"]
    assert report.verdict(results).endswith("INVALID, and in no mean: c; d.")
    assert "RESULTS DIFFER" in report.row(results[2])
    assert "torch: no" in report.row(results[4])


def test_a_disturbed_case_is_marked():
    results = [make("a", 0.5), make("b", 2.0, others=0.5)]
    verdict = report.verdict(results)
    assert "up to 50% of the machine" in verdict
    assert "1 of 2 cases (*)" in verdict
    assert ["*" in report.row(result) for result in results] == [False, True]
    assert not report.is_disturbed(make("m", 0.5, others=0.5, unit="MB"))
    assert report.verdict(results[:1]) == "No other process disturbed the run."


def test_times_are_written_in_fitting_units():
    values = [(2.5, "s"), (0.0125, "s"), (1e-6, "s"), (3e-10, "s"), (41.26, "MB")]
    written = [report.amount(value, unit) for value, unit in values]
    assert written == ["2.5 s", "12.5 ms", "1 us", "0.3 ns", "41.3 MB"]


def test_the_command_measures_writes_and_shows(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch")
    for name in command.THREADS:
        monkeypatch.setenv(name, "1")  # the command sets them: restored afterwards
    path = tmp_path / "run.json"
    assert command.main(["--quick", "--only", MATMUL, "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    record = json.loads(path.read_text(encoding="utf-8"))
    (result,) = record["results"]
    assert result["agrees"]
    assert result["ratio"] > 0
    assert record["machine"].keys() >= {"cpu", "features", "cores"}
    assert record["versions"].keys() >= {"flambeau", "torch", "numpy", "llvmlite", "python"}
    assert command.main(["--show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert report.row(result) in printed
    assert sorted(shown.split()) == sorted(printed.split())


def test_without_torch_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        command.main([])
    assert "pip install torch==2.13.0" in capsys.readouterr().err


def test_the_page_shows_what_is_recorded(tmp_path):
    pytest.importorskip("sphinx")
    spec = spec_from_file_location("recorded_runs", DOCS / "recorded_runs.py")
    page = module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.text(tmp_path) == "No run is recorded.\n"
    record = {
        "date": "2025-01-01",
        "machine": machine.describe(),
        "versions": {"flambeau": "1"},
        "method": {"threads": 1, "rounds": 2, "seconds": 0.5},
        "results": [make("a", 0.5)],
    }
    (tmp_path / "benchmarks-2.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "other.json").write_text("[]", encoding="utf-8")
    assert report.row(make("a", 0.5)) in page.text(tmp_path)
    assert "1 threads" in page.text(tmp_path)
    assert page.text(DOCS / "figures")  # whatever is recorded can be rendered
